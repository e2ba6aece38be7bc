"""Workloads: requests, and routing of their tokens."""
