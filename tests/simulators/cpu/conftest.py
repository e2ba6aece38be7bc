"""Fixtures of the CPU simulator's tests."""

import os
from pathlib import Path

import pytest

from archgym.simulators.cpu import CpuSimulator


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the folder with ChampSim's results and traces."""
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    return Path(folder) / "cpu"


@pytest.fixture(scope="session")
def simulator() -> CpuSimulator:
    """Return the simulator of the default space."""
    return CpuSimulator()
