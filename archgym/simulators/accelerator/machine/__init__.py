"""Accelerators: levels of storage, energies of their parts, and mappings of loops on them."""
