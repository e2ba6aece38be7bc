"""The whole validation table: published and measured numbers against the simulator's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from archgym.errors import FileFormatError, InvalidArgumentError
from evidence.moe.caches import (
    balance_rows,
    event_rows,
    library_rows,
    locality_rows,
    toy_rows,
)
from evidence.moe.fleet import (
    composition_rows,
    deepseek_rows,
    estimate_rows,
)
from evidence.moe.further import (
    community_rows,
    hybrid_rows,
    long_prompt_rows,
    mlperf_rows,
)
from evidence.moe.kernels import kernel_rows
from evidence.moe.offload import (
    infinity_rows,
    mixtral_rows,
    processor_rows,
    toy_throughput_rows,
)
from evidence.moe.routing import readme_rows, routing_rows
from evidence.moe.row import Errors, Progress, Row
from evidence.moe.serving import serving_rows
from evidence.moe.systems import expertflow_rows, lightning_rows
from evidence.validation import ROW_COLUMNS, Group, Validation, chosen

_SERVING: Final = "S1, S2, S3, S4, S5"
_MAKERS: Final[Mapping[str, Callable[[Path, Progress], list[Row]]]] = {
    "V1": event_rows,
    "V2": locality_rows,
    "V3": library_rows,
    "V4": routing_rows,
    "V5": kernel_rows,
    "V8": estimate_rows,
    "V9": mixtral_rows,
    "V10": infinity_rows,
    "V11": toy_throughput_rows,
    "V12": composition_rows,
    "V13": readme_rows,
    "V14": expertflow_rows,
    "V15, V17": processor_rows,
    "V16": lightning_rows,
    "V18": deepseek_rows,
    "V19": balance_rows,
    "V20": toy_rows,
    _SERVING: serving_rows,
    "S7": long_prompt_rows,
    "S8": mlperf_rows,
    "S9": community_rows,
    "S10": hybrid_rows,
}
# Folder or file of the reference that rows need, where it is not there by itself.
_NEEDS: Final[Mapping[str, str]] = {
    "V1": "event_atomic",
    "V2": "moe_lrc",
    "V3": "libcachesim",
    "V4": "published",
    "V5": "kernels",
    "V8": "aiconfigurator",
    "V19": "eplb",
    "V20": "event_atomic",
    _SERVING: "measured/serving.csv",
    "S7": "measured/serving_long_prompts.csv",
    "S8": "measured/mlperf.csv",
    "S9": "measured/serving_community.csv",
    "S10": "measured/offload_hybrid.csv",
}
# Rows that compare with published numbers that the sources here state, without a file.
_FROM_PAPERS: Final = ("V9", "V10", "V11", "V12", "V13", "V14", "V15, V17", "V16", "V18")
# Counts of caches and placements that need no clock and set no constant.
_REPLAYED: Final = ("V1", "V2", "V3", "V19", "V20")
# Reasons why rows are component checks. A group whose rows run through `evaluated` of
# `evidence.validation` loses its reason in `GROUPS`, and becomes evidence.
_KERNEL: Final = "compares a cache, a placement, a router or a kernel alone"
_CLOCK: Final = "runs the serving clock directly, not a design of a space"
GROUPS: Final = (
    Group("V1", "replays of caches by event", _KERNEL),
    Group("V2", "locality of routing", _KERNEL),
    Group("V3", "replays of caches by libCacheSim", _KERNEL),
    Group("V4", "generated routing", _KERNEL),
    Group("V5", "times of kernels", _KERNEL),
    Group("V8", "estimates of AIConfigurator", _CLOCK),
    *(Group(f"V{n}", "figures of papers", _CLOCK) for n in (9, 10, 11, 12)),
    Group("V13", "shape of routing that a README states", _KERNEL),
    *(Group(f"V{n}", "figures of papers", _CLOCK) for n in (14, 15, 16, 17, 18)),
    Group("V19", "placements of EPLB", _KERNEL),
    Group("V20", "toy caches", _KERNEL),
    *(Group(f"S{n}", "measured serving", _CLOCK) for n in range(1, 11)),
)

_TITLES: Final[Mapping[str, str]] = {
    "S1": "S1. Fitted without the configuration",
    "S2": "S2. Fitted without the model",
    "S3": "S3. Fitted without the GPU",
    "S4": "S4. Fitted without the engine",
    "S5": "S5. Fitted on these rows (shipped)",
    "S7": "S7. Long prompts, not fitted",
    "S8": "S8. MLPerf, not fitted",
    "S9": "S9. Single measurements, not fitted",
    "S10": "S10. Experts in host memory, not fitted",
}


class ErrorTable(NamedTuple):
    """Errors over measured rows by group.

    Attributes:
      title: Rows that are compared, and what the constants were fitted on.
      columns: Headings.
      rows: Cells by `columns`; "" where nobody measured.
      numbers: Numbers that the cells show, one mapping for each of them.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[Mapping[str, str | float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the title and the numbers."""
        return {"title": self.title, "errors": [dict(each) for each in self.numbers]}


def _tables(lines: Sequence[Row]) -> tuple[ErrorTable, ...]:
    """Return errors of measured serving by group: one table for each set of rows."""
    found = []
    for row_id, title in _TITLES.items():
        own = [row for row in lines if row.id == row_id]
        if any(row.errors is not None for row in own):
            found.append(_error_table(title, own))
        if any(row.unit == "tau" for row in own):
            found.append(_order_table(own))
    return tuple(found)


def validation_of(lines: Sequence[Row]) -> Validation[Row]:
    """Return the validation with these rows.

    A row that is not met and has no note is a problem: one with a note is a known failure, and the
    note says why.
    """
    lines = [replace(row, kind="replayed") if row.id in _REPLAYED else row for row in lines]
    problems = tuple(
        f"{row.id}, {row.what}: {row.ours:g} {row.unit} must be within {row.tolerance:g} "
        f"{row.measure} of {row.published:g}; it is off by {row.error:g}."
        for row in lines
        if not row.met and not row.note
    )
    return Validation(tuple(lines), ROW_COLUMNS, GROUPS, problems, _tables(lines))


def _error_table(title: str, lines: Sequence[Row]) -> ErrorTable:
    """Return the errors of rows by group."""
    found: dict[str, dict[str, Errors]] = {}
    for row in lines:
        if row.errors is not None:
            found.setdefault(row.errors.group, {})[row.errors.metric] = row.errors
    metrics = list(dict.fromkeys(metric for of in found.values() for metric in of))
    rows = []
    for group, of in found.items():
        n_rows = max(errors.n_rows for errors in of.values())
        cells = [_error_cell(of.get(metric)) for metric in metrics]
        rows.append((group.replace(" x ", " "), str(n_rows), *cells))
    numbers = tuple(errors._asdict() for of in found.values() for errors in of.values())
    return ErrorTable(
        f"{title}; errors [%]: median/p90, bias", ("group", "rows", *metrics), tuple(rows), numbers
    )


def _error_cell(errors: Errors | None) -> str:
    if errors is None:
        return ""
    return f"{errors.median:.1f}/{errors.p90:.0f} {errors.bias:+.1f}"


def _order_table(lines: Sequence[Row]) -> ErrorTable:
    """Return the rank correlation of predicted and measured TPOT by model and GPU."""
    found = [(row.what.split(",")[0], row.ours) for row in lines if row.unit == "tau"]
    return ErrorTable(
        "S1. Kendall's tau of predicted and measured TPOT",
        ("group", "tau"),
        tuple((group, f"{tau:.2f}") for group, tau in found),
        tuple({"group": group, "tau": tau} for group, tau in found),
    )


def validate(
    reference: Path | None = None,
    progress: Progress | None = None,
    *,
    only: tuple[str, ...] = (),
    group: str | None = None,
) -> Validation[Row]:
    """Compare the simulator with all that is known about it.

    Args:
      reference: The folder of the reference, or one that holds it as `moe`; None for the rows that
        need no file.
      progress: Called with the next comparison.
      only: Rows to compare, such as V9; all by default.
      group: Group to compare; all by default.

    Raises:
      FileFormatError: A reference file is not what it should be.
      InvalidArgumentError: There is no such row.
    """
    tell = progress if progress is not None else _ignore
    if group is not None:
        chosen(GROUPS, group)
        only = tuple(name for name in _MAKERS if group in name.split(", "))
    unknown = [name for name in only if name not in _MAKERS]
    if unknown:
        raise InvalidArgumentError(
            f"`only` must name rows, {', '.join(_MAKERS)}; got {', '.join(unknown)}."
        )
    folder = Path()
    if reference is not None:
        folder = reference / "moe" if (reference / "moe").is_dir() else reference
        if not any((folder / name).exists() for name in _NEEDS.values()):
            raise FileFormatError(
                reference,
                None,
                f"must hold at least one of {', '.join(sorted(set(_NEEDS.values())))}",
                "Name the folder of the reference",
            )
    lines: list[Row] = []
    for name, make in _MAKERS.items():
        if (only and name not in only) or (reference is None and name not in _FROM_PAPERS):
            continue
        if name in _NEEDS and not (folder / _NEEDS[name]).exists():
            tell(f"{name}: left out, since the reference holds no {_NEEDS[name]}")
            continue
        lines += make(folder, tell)
    return validation_of([row for row in lines if group in (None, row.id)])


def serving_accuracy(reference: Path, progress: Progress | None = None) -> tuple[ErrorTable, ...]:
    """Return the errors of measured closed-loop serving by model, GPU and engine.

    Args:
      reference: Folder of the reference, or one that holds it as `moe`.
      progress: Called with the next comparison.

    Raises:
      FileFormatError: The reference has no measured serving, or it is damaged.
    """
    folder = reference / "moe" if (reference / "moe").is_dir() else reference
    name = _NEEDS[_SERVING]
    if not (folder / name).is_file():
        raise FileFormatError(
            reference, None, f"must hold {name}", "Name the folder of the reference"
        )
    return validate(folder, progress, only=(_SERVING,)).tables


def _ignore(text: str) -> None:
    del text
