"""A working folder with a small study, shared by tests that only read it or are refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archgym.mcp.tools import Toolbox
from archgym.mcp.workspace import Workspace


@pytest.fixture
def toolbox(tmp_path: Path) -> Iterator[Toolbox]:
    """Tools over an empty working folder that grants 60 evaluations in all."""
    workspace = Workspace(tmp_path / "work", budget=60)
    yield Toolbox(workspace)
    workspace.close()
