"""Adapters for the libraries people already train with; each module imports its library itself."""
