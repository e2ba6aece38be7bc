"""The validation table: recorded and published numbers against the simulator's."""

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from archgym.errors import FileFormatError
from evidence.cluster.astrasim import debug_lines, result_lines
from evidence.cluster.published import calculon_lines, published_lines
from evidence.validation import ROW_COLUMNS, Group, Progress, Row, Validation, chosen

_ENGINE: Final = (
    "runs the engine on a system that a file describes; a design of a space is one of its systems"
)
GROUPS: Final = (
    Group("A1", "collectives, graphs and training iterations of ASTRA-sim 2", _ENGINE),
    Group("A2", "one NPU for each stage against the whole cluster", _ENGINE),
    Group("A3", "event logs of ASTRA-sim 2", _ENGINE),
    Group("P1", "throughput of Megatron-LM, 2021", _ENGINE),
    Group("P2", "memory of Korthikanti et al., 2022", _ENGINE),
    Group("P3", "times of Korthikanti et al., 2022", _ENGINE),
    Group("P4", "utilisation of MegaScale, 2024", _ENGINE),
    Group("C1", "runs of Calculon", _ENGINE),
)
_MAKERS: Final[Mapping[Callable[[Path, Progress], list[Row]], tuple[str, ...]]] = {
    result_lines: ("A1", "A2"),
    debug_lines: ("A3",),
    published_lines: ("P1", "P2", "P3", "P4"),
    calculon_lines: ("C1",),
}


def validate(
    reference: Path | None = None, progress: Progress | None = None, *, group: str | None = None
) -> Validation[Row]:
    """Compare the simulator with all that is known about it.

    Args:
      reference: Folder of the reference, or one that holds it as `cluster`; None for the rows
        that ship.
      progress: Called with what is compared next.
      group: Group to compare; all by default.

    Raises:
      FileFormatError: A reference file is not as it should be.
      UnknownNameError: There is no such group.
    """
    wanted = chosen(GROUPS, group)
    if reference is None:
        # A sample of the reference ships in its own form.
        golden = resources.files("evidence.cluster") / "data" / "golden"
        with resources.as_file(golden) as own:
            return _compared(own, wanted, progress)
    folder = reference / "cluster" if (reference / "cluster").is_dir() else reference
    parts = ("results", "debug", "published", "calculon.csv", "paths.csv")
    if not any((folder / name).exists() for name in parts):
        raise FileFormatError(
            folder, None, f"holds none of {', '.join(parts)}", "Name the folder of the reference"
        )
    return _compared(folder, wanted, progress)


def _compared(folder: Path, wanted: frozenset[str], progress: Progress | None) -> Validation[Row]:
    tell = progress if progress is not None else _ignore
    lines = [
        line
        for make, groups in _MAKERS.items()
        if wanted & set(groups)
        for line in make(folder, tell)
        if line.id in wanted
    ]
    problems = tuple(
        f"{line.id}, {line.what}: off by {line.error:g} {line.measure}. {line.note}"
        for line in lines
        if not line.met
    )
    return Validation(tuple(lines), ROW_COLUMNS, GROUPS, problems)


def _ignore(text: str) -> None:
    del text
