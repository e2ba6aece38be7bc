"""DNN accelerators: Timeloop's counts, a mapper, and spaces of hardware and mappings."""
