"""Fixtures that the tests of the evidence share."""

import os
from pathlib import Path

import pytest


def _folder(name: str) -> Path:
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"ARCHGYM_REFERENCE does not name a folder of recorded results with {name}")
    return Path(folder) / name


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> Path:
    """Return the folder of recorded results of the simulator that the test's folder names."""
    return _folder(request.path.parent.name)


@pytest.fixture
def recorded() -> Path:
    """Return the folder of results recorded from Ramulator 2.1 and DRAMPower 6.2."""
    return _folder("dram2")
