"""The tutorials run, and their notebooks hold the same cells as their Markdown."""

import ast
import json
import os
import re
import shlex
import shutil
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from archgym.cli.app import app

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


def commands_of(name: str) -> list[list[str]]:
    """Return the command lines of ArchGym in a tutorial's shell cells."""
    text = (DOCS / "tutorials" / f"{name}.md").read_text()
    lines = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("archgym ")]


@pytest.mark.parametrize("name", NAMES)
def test_tutorial_names_commands_and_options_that_exist(name: str) -> None:
    for arguments in commands_of(name):
        command: Any = get_command(app)
        left = arguments
        while hasattr(command, "commands"):
            command, left = command.commands[left[0]], left[1:]
        options = {text for each in command.params for text in each.opts}
        own = left[: left.index("--")] if "--" in left else left
        assert {word for word in own if word.startswith("-")} <= options, arguments


@pytest.mark.parametrize("name", NAMES)
def test_python_of_tutorial_imports_what_exists(name: str) -> None:
    text = (DOCS / "tutorials" / f"{name}.md").read_text()
    for cell in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archgym"):
                module = import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names), node.module


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
