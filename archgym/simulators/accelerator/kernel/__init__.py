"""Kernel of the accelerator simulator: layers, accelerators, counts of accesses and energies."""
