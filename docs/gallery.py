"""Thumbnails and page of the gallery: `python docs/gallery.py` writes docs/gallery.md.

A thumbnail is the last picture among the outputs of a tutorial's notebook, or a picture of
docs/pictures that a page shows, in at most 320 x 220 pixels and 64 colours.
"""

import base64
import json
import re
import sys
from io import BytesIO
from pathlib import Path

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "pictures" / "gallery"
SIZE = (320, 220)
COLOURS = 64
COLUMNS = 3
INTRODUCTION = """\
# Gallery

On this page you can find a result that looks like what you need, and go to the page that makes it.
`python docs/gallery.py` draws the thumbnails from the notebooks and pages.
"""
# Pages and their pictures, in the order of the gallery.
PICTURES = (
    ("which-memory.md", "dram-latency.png", "Latency over throughput of five memories"),
    ("cpu.md", "cpu-top-down.png", "Top-down account of a core"),
    ("cpu.md", "cpu-ideal.png", "Gains on ideal machines"),
    ("accelerator.md", "accelerator-front.png", "Fronts of three agents"),
    ("moe.md", "moe-front.png", "Memory over time per token"),
    ("moe.md", "moe-accuracy.png", "Measured over predicted serving"),
    ("lottery.md", "lottery.png", "The hyperparameter lottery"),
    ("multi-agent.md", "multi-agent.png", "Eight agents over 2,000 evaluations"),
    ("proxies.md", "proxy-curves.png", "Error of proxies by rows"),
)


def main() -> None:
    """Write the thumbnails and the page."""
    FOLDER.mkdir(exist_ok=True)
    tutorials = []
    for path in sorted((DOCS / "tutorials").glob("*.ipynb")):
        title, picture = of_notebook(path)
        if picture is None:
            sys.exit(f"{path.name} has no picture: run `python docs/notebooks.py {path.stem}`")
        write_thumbnail(picture, f"{path.stem}.png")
        tutorials.append((f"tutorials/{path.stem}.md", f"{path.stem}.png", title))
    pages = []
    for page, picture_name, title in PICTURES:
        write_thumbnail((DOCS / "pictures" / picture_name).read_bytes(), picture_name)
        pages.append((page, picture_name, title))
    parts = [INTRODUCTION, "## Tutorials\n", table(tutorials), "\n## Studies\n", table(pages)]
    (DOCS / "gallery.md").write_text("\n".join(parts) + "\n")


def of_notebook(path: Path) -> tuple[str, bytes | None]:
    """Return the title of a notebook and its last picture."""
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    title = re.search(r"^# (.+)$", "\n".join(texts), re.MULTILINE)
    assert title is not None, path
    pictures = [
        "".join(output["data"]["image/png"])
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return title[1], base64.b64decode(pictures[-1]) if pictures else None


def write_thumbnail(picture: bytes, name: str) -> None:
    """Write a small copy of a picture."""
    from PIL import Image

    image = Image.open(BytesIO(picture)).convert("RGB")
    image.thumbnail(SIZE, Image.Resampling.LANCZOS)
    # All of one size, so that the rows of the table are even.
    canvas = Image.new("RGB", SIZE, "white")
    canvas.paste(image, ((SIZE[0] - image.width) // 2, (SIZE[1] - image.height) // 2))
    canvas.quantize(COLOURS).save(FOLDER / name, "PNG", optimize=True)


def table(entries: list[tuple[str, str, str]]) -> str:
    """Return thumbnails with titles, some in a row, each a link to its page."""
    lines = ["| " * COLUMNS + "|", "|---" * COLUMNS + "|"]
    for start in range(0, len(entries), COLUMNS):
        row = entries[start : start + COLUMNS]
        cells = [
            f"[![{title}](pictures/gallery/{name})]({page})<br>[{title}]({page})"
            for page, name, title in row
        ]
        lines.append(f"| {' | '.join(cells + [''] * (COLUMNS - len(row)))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
