"""Measures real images and negatives of them: tensors in, numbers out."""
