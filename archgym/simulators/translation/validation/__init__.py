"""Validation of the translation simulator against other tools and published results."""
