"""The core and its caches in front of the controllers of the DRAM simulator."""
