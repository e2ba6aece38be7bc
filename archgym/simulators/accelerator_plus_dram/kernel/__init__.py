"""Phases of a layer and the controllers of the DRAM simulator, advanced together."""
