"""A small vision transformer that learns what belongs to no class: ``python -m examples.classification.train``."""
