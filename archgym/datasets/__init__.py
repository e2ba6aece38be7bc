"""Datasets made of logged evaluations."""
