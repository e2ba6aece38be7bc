"""Workloads of the CPU simulator."""
