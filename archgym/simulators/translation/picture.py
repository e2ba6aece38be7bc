"""A picture of a workload: which TLBs would hold it, its hottest pages, its working set."""

from pathlib import Path
from typing import Final

from archgym.errors import InvalidArgumentError
from archgym.traces import MemoryTrace
from archgym.traces.analysis import analyse
from archgym.traces.picture import draw_analysis

__all__ = ["picture"]

_ENDINGS: Final = (".png", ".svg", ".pdf")


def picture(trace: MemoryTrace, path: str | Path) -> None:
    """Draw a trace.

    Args:
      trace: What is drawn.
      path: Ends in .png, .svg or .pdf.

    Raises:
      InvalidArgumentError: The path has another ending.
      StorageError: It cannot be written.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    found = analyse(trace)
    title = (
        f"{trace.name}: {found.accesses:,} accesses of data in {found.instructions:,} instructions"
    )
    draw_analysis(found, title, path)
