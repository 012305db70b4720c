"""Notebooks that show the package at work, on data that ships in other packages."""
