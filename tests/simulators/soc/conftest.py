"""Fixtures that the SoC simulator's tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the folder with FARSI's recorded results."""
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    return Path(folder) / "soc"
