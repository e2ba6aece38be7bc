"""Simulators, one folder each; the folder's name is the registered name."""
