"""The whole validation table: published and measured numbers against the simulator's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, final

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.simulators.moe.validation.caches import (
    balance_rows,
    event_rows,
    library_rows,
    locality_rows,
    toy_rows,
)
from archgym.simulators.moe.validation.fleet import (
    composition_rows,
    deepseek_rows,
    estimate_rows,
)
from archgym.simulators.moe.validation.further import (
    community_rows,
    disaggregated_rows,
    hybrid_rows,
    long_prompt_rows,
    mlperf_rows,
)
from archgym.simulators.moe.validation.kernels import kernel_rows
from archgym.simulators.moe.validation.offload import (
    infinity_rows,
    mixtral_rows,
    processor_rows,
    toy_throughput_rows,
)
from archgym.simulators.moe.validation.routing import readme_rows, routing_rows
from archgym.simulators.moe.validation.row import Progress, Row
from archgym.simulators.moe.validation.serving import serving_rows
from archgym.simulators.moe.validation.systems import expertflow_rows, lightning_rows

__all__ = ["Validation", "validate"]

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
    "S1, S2, S3, S4, S5": serving_rows,
    "S6": disaggregated_rows,
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
    "S1, S2, S3, S4, S5": "measured/serving.csv",
    "S6": "measured/serving_disaggregated.csv",
    "S7": "measured/serving_long_prompts.csv",
    "S8": "measured/mlperf.csv",
    "S9": "measured/serving_community.csv",
    "S10": "measured/offload_hybrid.csv",
}
# Rows that compare with published numbers that the sources here state, without a file.
_FROM_PAPERS: Final = ("V9", "V10", "V11", "V12", "V13", "V14", "V15, V17", "V16", "V18")


@final
@dataclass(frozen=True)
class Validation:
    """All rows, met or not.

    A row that is not met and has no note is a problem: one with a note is a known failure, and the
    note says why.
    """

    lines: tuple[Row, ...]

    columns: ClassVar[tuple[str, ...]] = (
        *("id", "kind", "what", "published", "ours", "unit", "error", "tolerance", "measure"),
        *("met", "set_here", "note"),
    )

    @property
    def rows(self) -> tuple[tuple[str | float, ...], ...]:
        """The table's cells by `columns`; `set_here` names constants that the row may set."""
        return tuple(
            (
                row.id,
                row.origin,
                row.what,
                row.published,
                row.ours,
                row.unit,
                row.error,
                row.tolerance,
                row.measure,
                "yes" if row.met else "no",
                ", ".join(row.constants),
                row.note,
            )
            for row in self.lines
        )

    @property
    def n_met(self) -> int:
        """Rows within their tolerance."""
        return sum(row.met for row in self.lines)

    @property
    def problems(self) -> tuple[str, ...]:
        """Rows that are not met and that nobody has explained."""
        return tuple(
            f"{row.id}, {row.what}: {row.ours:g} {row.unit} must be within {row.tolerance:g} "
            f"{row.measure} of {row.published:g}; it is off by {row.error:g}."
            for row in self.lines
            if not row.met and not row.note
        )


def validate(
    reference: Path | None = None,
    progress: Progress | None = None,
    *,
    only: tuple[str, ...] = (),
) -> Validation:
    """Compare the simulator with all that is known about it.

    Args:
      reference: The folder of the reference, or one that holds it as `moe`; None for the rows that
        need no file.
      progress: Called with the next comparison.
      only: Rows to compare, such as V9; all by default.

    Raises:
      FileFormatError: A reference file is not what it should be.
      InvalidArgumentError: There is no such row.
    """
    tell = progress if progress is not None else _ignore
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
    return Validation(tuple(lines))


def _ignore(text: str) -> None:
    del text
