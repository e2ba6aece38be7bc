"""Errors of the clock on measured serving, by model, GPU and engine.

    python -m evidence.moe.accuracy FOLDER [PICTURE]

Each table fits the constants again without the rows that it predicts. The picture (.png, .svg or
.pdf) shows measured over predicted values.
"""

import sys
from pathlib import Path

from archgym.cli.console.terminal import notice, say
from evidence.moe.picture import draw_accuracy
from evidence.moe.table import serving_accuracy
from evidence.view import write_error_tables


def _say_progress(text: str) -> None:
    notice(f"{text} …")


def main() -> None:
    """Print the tables; see the module."""
    reference, *pictures = map(Path, sys.argv[1:])
    write_error_tables(serving_accuracy(reference, _say_progress))
    for picture in pictures:
        draw_accuracy(reference, picture, _say_progress)
        say(f"Picture: {picture}")


if __name__ == "__main__":
    main()
