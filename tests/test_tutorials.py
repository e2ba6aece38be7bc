"""The tutorials run, and their notebooks hold the same cells as their Markdown."""

import json
import os
import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
NAMES = sorted(path.stem for path in (DOCS / "tutorials").glob("*.md"))
# Programs and packages that single tutorials need.
NEEDS = {
    "c-program-to-dram": ("gcc", "valgrind"),
    "onnx-to-accelerator": ("onnx",),
    "agent-and-team": ("stable_baselines3", "pettingzoo"),
}


@pytest.fixture(scope="module")
def notebooks() -> Any:
    sys.path.insert(0, str(DOCS))
    try:
        return import_module("notebooks")
    finally:
        sys.path.remove(str(DOCS))


def test_there_are_eight_tutorials() -> None:
    assert len(NAMES) == 8


@pytest.mark.parametrize("name", NAMES)
def test_notebook_has_the_cells_of_its_markdown_and_outputs(name: str, notebooks: Any) -> None:
    pytest.importorskip("jupytext")
    notebook = json.loads((DOCS / "tutorials" / f"{name}.ipynb").read_text())
    expected = notebooks.cells(DOCS / "tutorials" / f"{name}.md")

    found = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]

    assert found == [(cell.cell_type, cell.source) for cell in expected.cells]
    assert any(cell.get("outputs") for cell in notebook["cells"])


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_tutorial_runs(name: str, notebooks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(module)
    for need in NEEDS.get(name, ()):
        if shutil.which(need) is None and find_spec(need) is None:
            pytest.skip(f"needs {need}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DOCS.parent), *sys.path]))

    notebook = notebooks.executed(DOCS / "tutorials" / f"{name}.md")

    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")
