"""What the DRAM simulator's tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with the recorded results and traces of the real simulator."""
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    return Path(folder) / "dram"


@pytest.fixture(scope="session")
def recorded() -> Path:
    """Return the folder of results recorded from Ramulator 2.1 and DRAMPower 6.2."""
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder or not (Path(folder) / "dram2").is_dir():
        pytest.skip("ARCHGYM_REFERENCE does not name a folder with recorded results dram2")
    return Path(folder) / "dram2"
