"""Compiled kernels, signals, plug-ins and the Ray session."""
