"""Kernel of the training cluster: events, networks, collectives and graphs of iterations."""
