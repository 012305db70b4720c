"""Complete trainings that use nda_augment; each folder is one, run as a module from the repository's root."""
