"""Execute the tutorials: `python docs/notebooks.py [NAME…]` writes their notebooks with outputs.

A tutorial is a Markdown file in docs/tutorials that jupytext pairs with a notebook of the same
name. People edit the Markdown; the notebook holds the same cells and their outputs.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "tutorials"
TIMEOUT_S = 180
COLOURS = re.compile("\x1b\\[[0-9;]*m")
# Metadata of jupytext's header that every notebook needs.
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> None:
    """Execute the named tutorials, or all of them."""
    names = sys.argv[1:] or [path.stem for path in sorted(FOLDER.glob("*.md"))]
    for name in names:
        start = time.perf_counter()
        notebook = executed(FOLDER / f"{name}.md")
        (FOLDER / f"{name}.ipynb").write_text(as_text(notebook))
        sys.stdout.write(f"{name}: {time.perf_counter() - start:.0f} s\n")


def cells(path: Path) -> Any:
    """Return a tutorial as a notebook without outputs."""
    import jupytext

    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        # Random names would differ at each run.
        cell["id"] = f"cell-{number}"
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return notebook


def executed(path: Path) -> Any:
    """Return a tutorial's notebook after all its cells have run in an empty folder.

    Raises:
      CellExecutionError: A cell failed.
    """
    from nbclient import NotebookClient

    notebook = cells(path)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.setdefault("COLUMNS", "100")
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": folder}}
        ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return notebook


def merged(outputs: list[Any]) -> list[Any]:
    """Return outputs with neighbouring pieces of text as one, and without colours."""
    out: list[Any] = []
    for output in outputs:
        if output.output_type != "stream":
            out.append(output)
        elif out and out[-1].output_type == "stream":
            out[-1].text += output.text
        else:
            output.name = "stdout"
            out.append(output)
    for output in out:
        if output.output_type == "stream":
            output.text = COLOURS.sub("", output.text)
    return out


def as_text(notebook: Any) -> str:
    """Return a notebook as the text of its file."""
    import nbformat

    return f"{nbformat.writes(notebook)}\n"


if __name__ == "__main__":
    main()
