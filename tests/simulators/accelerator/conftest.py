"""What the accelerator's tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with the recorded results of the real tools."""
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    return Path(folder) / "accelerator"


@pytest.fixture(scope="session")
def timeloop() -> Path:
    """Folder with a few of Timeloop's recorded results."""
    return Path(__file__).parent / "timeloop"
