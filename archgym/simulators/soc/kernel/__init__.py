"""Kernel of the SoC simulator: task graphs, systems and their canonical form."""
