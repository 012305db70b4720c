"""MoCo-v2 and SimCLR with negatives and without: ``python -m examples.contrastive.train``."""
