"""Tests that any agent and any simulator should pass, ours and other people's.

They need no test framework: a fault raises `ConformanceError`, which says what failed and how to
see it again.
"""

from archgym.testing.agents import check_agent
from archgym.testing.proving import ProvingSimulator, proving_tasks
from archgym.testing.simulators import check_simulator

__all__ = ["ProvingSimulator", "check_agent", "check_simulator", "proving_tasks"]
