"""Detection on top of learned features: a Faster R-CNN, fine-tuned: ``python -m examples.detection.train``."""
