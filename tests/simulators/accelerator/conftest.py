"""What the accelerator's tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def timeloop() -> Path:
    """Folder with a few of Timeloop's recorded results."""
    return Path(__file__).parent / "timeloop"
