"""The validation table: recorded and published numbers against the simulator's."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from operator import attrgetter
from pathlib import Path
from typing import ClassVar, final

from archgym.errors import FileFormatError
from evidence.cluster.astrasim import debug_lines, result_lines
from evidence.cluster.fabric import fabric_lines
from evidence.cluster.line import Line
from evidence.cluster.published import calculon_lines, published_lines

_CELLS = ("id", "what", "published", "ours", "unit", "error", "tolerance", "measure")


@final
@dataclass(frozen=True)
class Validation:
    """All lines, met or not."""

    lines: tuple[Line, ...]

    columns: ClassVar[tuple[str, ...]] = (*_CELLS, "met", "note")

    @property
    def rows(self) -> tuple[tuple[str | float, ...], ...]:
        """Cells of the table, by `columns`."""
        cells = attrgetter(*_CELLS)
        return tuple(
            (*cells(line), "yes" if line.is_met else "no", line.note) for line in self.lines
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Lines that are missed and not known to be."""
        return tuple(
            f"{line.id}, {line.what}: off by {line.error:g} {line.measure}. {line.note}"
            for line in self.lines
            if not line.is_met and not line.known
        )


def validate(
    reference: Path | None = None, progress: Callable[[str], None] | None = None
) -> Validation:
    """Compare the simulator with all that is known about it.

    Args:
      reference: Folder of the reference, or one that holds it as `cluster`; None for the rows
        that ship.
      progress: Called with what is compared next.

    Raises:
      FileFormatError: A reference file is not as it should be.
    """
    tell = progress if progress is not None else _ignore
    if reference is None:
        # A sample of the reference ships in its own form.
        golden = resources.files("evidence.cluster") / "data" / "golden"
        with resources.as_file(golden) as own:
            return Validation(tuple(result_lines(own, tell) + debug_lines(own, tell)))
    folder = reference / "cluster" if (reference / "cluster").is_dir() else reference
    parts = ("results", "debug", "published", "calculon.csv", "paths.csv")
    if not any((folder / name).exists() for name in parts):
        raise FileFormatError(
            folder, None, f"holds none of {', '.join(parts)}", "Name the folder of the reference"
        )
    makers = (result_lines, debug_lines, published_lines, calculon_lines, fabric_lines)
    return Validation(tuple(line for make in makers for line in make(folder, tell)))


def _ignore(text: str) -> None:
    del text
