"""Simulators, one folder each; the folder's name is the registered name."""

from typing import Final

DEFAULT: Final = "dram"
"""Simulator of a task that names none."""
