"""Learning from clips with negatives in space and in time: ``python -m examples.video.train``."""
