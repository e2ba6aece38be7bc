"""Mappings of layers on accelerators, their spaces, and searches for the best one."""
