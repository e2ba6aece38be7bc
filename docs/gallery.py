"""Thumbnails and cards of the index: `python docs/gallery.py` writes both.

A thumbnail is the last picture among the outputs of a tutorial's notebook, or a picture of
docs/pictures, in at most 320 x 220 pixels and 64 colours.
"""

import base64
import json
import sys
from io import BytesIO
from pathlib import Path

DOCS = Path(__file__).resolve().parent
FOLDER = DOCS / "pictures" / "gallery"
PAGE = DOCS / "index.md"
BEGIN, END = "<!-- cards: begin -->", "<!-- cards: end -->"
SIZE = (320, 220)
COLOURS = 64
COLUMNS = 3
# What a reader has, the tutorial or picture that shows it, and pages that lead on.
CARDS = (
    (
        "I have five minutes",
        "tutorials/first-search.md",
        "[first search](tutorials/first-search.md)",
    ),
    (
        "I have a Python function",
        "tutorials/own-function.md",
        "[tutorial](tutorials/own-function.md), [guide](python.md)",
    ),
    (
        "I have a C program",
        "tutorials/c-program-to-dram.md",
        "[tutorial](tutorials/c-program-to-dram.md), [traces](traces.md), [DRAM](dram.md), "
        "[CPU](cpu.md)",
    ),
    (
        "I have eight GPUs and a model",
        "pictures/moe-front.png",
        "[MoE serving](moe.md), [training clusters](cluster.md)",
    ),
    (
        "I have one GPU and a model that does not fit",
        "tutorials/mixtral-on-one-gpu.md",
        "[tutorial](tutorials/mixtral-on-one-gpu.md)",
    ),
    (
        "I have a neural network",
        "tutorials/onnx-to-accelerator.md",
        "[tutorial](tutorials/onnx-to-accelerator.md), [accelerators](accelerator.md)",
    ),
    (
        "I have an RL agent",
        "tutorials/agent-and-team.md",
        "[tutorial](tutorials/agent-and-team.md), [guide](rl.md)",
    ),
    (
        "I have logs",
        "tutorials/proxy-from-logs.md",
        "[tutorial](tutorials/proxy-from-logs.md), [datasets](datasets.md), [proxies](proxies.md)",
    ),
    (
        "I have a search method",
        "tutorials/sweep-on-ray.md",
        "[tutorial](tutorials/sweep-on-ray.md), [sweeps](sweeps.md), [benchmark](bench.md)",
    ),
)


def main() -> None:
    """Write the thumbnails and the cards."""
    FOLDER.mkdir(exist_ok=True)
    for _, source, _ in CARDS:
        path = DOCS / source
        picture = (
            of_notebook(path.with_suffix(".ipynb")) if path.suffix == ".md" else path.read_bytes()
        )
        write_thumbnail(picture, thumbnail(source))
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{cards()}\n\n{END}{rest.split(END)[1]}")


def thumbnail(source: str) -> str:
    """Return the file name of a card's picture."""
    return f"{Path(source).stem}.png"


def of_notebook(path: Path) -> bytes:
    """Return the last picture of a notebook."""
    pictures = [
        "".join(output["data"]["image/png"])
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if not pictures:
        sys.exit(f"{path.name} has no picture: run `python docs/notebooks.py {path.stem}`")
    return base64.b64decode(pictures[-1])


def write_thumbnail(picture: bytes, name: str) -> None:
    """Write a small copy of a picture."""
    from PIL import Image

    image = Image.open(BytesIO(picture)).convert("RGB")
    image.thumbnail(SIZE, Image.Resampling.LANCZOS)
    # All of one size, so that the rows of the table are even.
    canvas = Image.new("RGB", SIZE, "white")
    canvas.paste(image, ((SIZE[0] - image.width) // 2, (SIZE[1] - image.height) // 2))
    canvas.quantize(COLOURS).save(FOLDER / name, "PNG", optimize=True)


def cards() -> str:
    """Return the cards as a table, some in a row, each with its picture and its links."""
    lines = ["| " * COLUMNS + "|", "|---" * COLUMNS + "|"]
    for start in range(0, len(CARDS), COLUMNS):
        cells = []
        for title, source, links in CARDS[start : start + COLUMNS]:
            page = source if source.endswith(".md") else links.split("](")[1].split(")")[0]
            picture = f"pictures/gallery/{thumbnail(source)}"
            cells.append(f"[![{title}]({picture})]({page})<br>**{title}**<br>{links}")
        lines.append(f"| {' | '.join(cells + [''] * (COLUMNS - len(cells)))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
