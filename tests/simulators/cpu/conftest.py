"""Fixtures of the CPU simulator's tests."""

import pytest

from archgym.simulators.cpu import CpuSimulator


@pytest.fixture(scope="session")
def simulator() -> CpuSimulator:
    """Return the simulator of the default space."""
    return CpuSimulator()
