"""Execute the tutorials: `python docs/notebooks.py [NAME…]` writes their notebooks with outputs.

It prints the wall and processor time of each and of all; those of all must be below 3 minutes.

A tutorial is a Markdown file in docs/tutorials that jupytext pairs with a notebook of the same
name. People edit the Markdown; the notebook holds the same cells and their outputs. Figures of
plotly get a picture next to their data, drawn by Chromium, since most readers of notebooks show
nothing else.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "tutorials"
TIMEOUT_S = 180
FIGURE = "application/vnd.plotly.v1+json"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 700, 420
COLOURS = re.compile("\x1b\\[[0-9;]*m")
# Metadata of jupytext's header that every notebook needs.
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> None:
    """Execute the named tutorials, or all of them."""
    names = sys.argv[1:] or [path.stem for path in sorted(FOLDER.glob("*.md"))]
    total = [0.0, 0.0]
    for name in names:
        before = time.perf_counter(), _processor_s()
        notebook = executed(FOLDER / f"{name}.md")
        (FOLDER / f"{name}.ipynb").write_text(as_text(notebook))
        spent = [time.perf_counter() - before[0], _processor_s() - before[1]]
        total = [a + b for a, b in zip(total, spent, strict=True)]
        sys.stdout.write(f"{name}: {spent[0]:.0f} s, {spent[1]:.0f} s of processor time\n")
        sys.stdout.flush()
    sys.stdout.write(f"all: {total[0]:.0f} s, {total[1]:.0f} s of processor time\n")


def _processor_s() -> float:
    """Return the processor time of this process and of all that it waited for [s]."""
    return sum(os.times()[:4])


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
            for output in cell.outputs:
                if FIGURE in output.get("data", {}):
                    add_picture(output.data)
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return notebook


def add_picture(data: Any) -> None:
    """Add a picture to an output that holds a figure of plotly; nothing without a browser."""
    from plotly import io
    from plotly.graph_objects import Figure

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return
    figure = Figure({"data": data[FIGURE]["data"], "layout": data[FIGURE]["layout"]})
    figure.update_layout(width=WIDTH, height=HEIGHT, margin={"l": 60, "r": 20, "t": 30, "b": 50})
    page = io.to_html(figure, config={"staticPlot": True}, include_plotlyjs=True)
    page = page.replace("<body>", '<body style="margin:0">')
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder) / "figure.html", Path(folder) / "figure.png"
        source.write_text(page)
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
        command += ["--virtual-time-budget=5000", f"--user-data-dir={folder}/profile"]
        subprocess.run([*command, source.as_uri()], capture_output=True, check=True, timeout=60)
        data["image/png"] = base64.b64encode(shrunk(picture.read_bytes())).decode()


def shrunk(picture: bytes) -> bytes:
    """Return a picture with 64 colours, a third of the size."""
    from PIL import Image

    out = BytesIO()
    Image.open(BytesIO(picture)).convert("RGB").quantize(64).save(out, "PNG", optimize=True)
    return out.getvalue()


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
