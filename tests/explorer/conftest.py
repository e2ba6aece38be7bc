"""Sweeps that tests of the page share with those of sweeps."""

from tests.sweep.conftest import plan, plugin, swept, write_plan

__all__ = ["plan", "plugin", "swept", "write_plan"]
