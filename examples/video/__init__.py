"""Contrastive learning of clips, with negatives in space and in time: ``python -m examples.video.train``."""
