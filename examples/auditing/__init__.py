"""The audit on images whose answers are known, and beside trainings: ``python -m examples.auditing``."""
