"""The sweep of `tests.sweep`, for reports."""

from tests.sweep.conftest import plan, plugin, swept, write_plan

__all__ = ["plan", "plugin", "swept", "write_plan"]
