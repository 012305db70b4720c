"""What the trainings share: ``settings``, ``data``, ``randomness``, ``photographs``, ``corruptions``, ``pictures``."""
