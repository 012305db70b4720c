"""Anomaly detection with negatives: ``python -m examples.anomaly``."""
