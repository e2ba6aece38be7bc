"""What the translation simulator's tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with results of independent tools and the traces that they ran."""
    folder = os.environ.get("ARCHGYM_REFERENCE")
    if not folder:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    return Path(folder) / "translation"
