"""Compiled model of the core, its caches, its TLBs and its DRAM, and runs of it."""
