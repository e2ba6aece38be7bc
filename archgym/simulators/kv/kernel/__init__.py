"""Compiled kernels of prefix caches."""
