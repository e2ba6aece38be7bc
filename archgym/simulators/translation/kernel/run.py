"""Runs of designs on a trace: prepare it once with `prepare`, then count with `run`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.translation.kernel.counters import COUNTERS
from archgym.simulators.translation.kernel.prepared import WARMUP_SHARE, Prepared, Steps
from archgym.simulators.translation.kernel.state import WINDOW_INSTRUCTIONS
from archgym.simulators.translation.machine import Hardware

# chosen: designs that run at a time on a trace that is not in memory; each takes a few megabytes.
_MAX_TOGETHER: Final = 32


def run(
    prepared: Prepared,
    hardware: Hardware | Sequence[Hardware],
    warmup_share: float = WARMUP_SHARE,
    *,
    only_tlbs: bool = False,
    passes: int = 1,
) -> npt.NDArray[np.int64]:
    """Run designs on one trace and return their counts.

    The function releases the GIL and keeps no state, so threads may call it at the same time.

    Args:
      prepared: The trace, from `prepare`.
      hardware: The designs, or one.
      warmup_share: Share of the trace's records after which all counts are reset, 0 to below 1.
      only_tlbs: Count only hits and misses of the L1 and L2 TLBs, without data caches, latencies
        and mechanisms, several times faster. Every miss of the L2 TLB then counts as a walk.
      passes: Number of runs through the trace; only the last is counted.

    Returns:
      (n_designs, n_counters) int64, columns by `COUNTERS`.

    Raises:
      InvalidArgumentError: Sizes of a design are inconsistent, or an argument is out of range.
    """
    if not 0.0 <= warmup_share < 1.0:
        raise InvalidArgumentError(
            f"`warmup_share` must lie in 0 to below 1; got {warmup_share!r}."
        )
    if passes < 1:
        raise InvalidArgumentError(f"`passes` must be 1 or more; got {passes!r}.")
    designs = [hardware] if isinstance(hardware, Hardware) else list(hardware)
    together = max(1, len(designs)) if prepared.is_held else _MAX_TOGETHER
    rows = np.zeros((len(designs), len(COUNTERS)), dtype=np.int64)
    for first in range(0, len(designs), together):
        part = slice(first, first + together)
        rows[part] = _run(prepared, designs[part], warmup_share, only_tlbs, passes)
    return rows


def _run(
    prepared: Prepared, designs: list[Hardware], warmup_share: float, only_tlbs: bool, passes: int
) -> npt.NDArray[np.int64]:
    """Run designs at the same time, part of the trace after part."""
    # Numba is slow to import, and describing needs no kernel.
    from archgym.simulators.translation.kernel.count import IS_LAST, IS_PASS, Columns, count
    from archgym.simulators.translation.kernel.state import COUNTS, empty_structures, machine

    counts = np.zeros(len(designs), dtype=COUNTS)
    states: list[_State] = []
    for place, design in enumerate(designs):
        view = prepared.view(design.virtualised)
        made = machine(design, view, only_tlbs=only_tlbs, capacity_gib=prepared.memory.capacity_gib)
        packed = view.packed(design.cluster_pages)
        counted = counts[place : place + 1]
        tags, marks = empty_structures(made, view)
        words = counted.view(np.int64)
        states.append(_State(made, counted, words, tags, marks, packed.table, packed.numbers))
    timeline = _Timeline(prepared.start_record(warmup_share))
    for _ in range(passes):
        timeline = _Timeline(timeline.record)
        for number, steps in enumerate(prepared.parts()):
            spans = timeline.spans(steps)
            place = IS_PASS * (number == 0) + IS_LAST * (steps.stop == prepared.n_records)
            for design, state in zip(designs, states, strict=True):
                of = prepared.columns(number, steps, design.virtualised)
                columns = Columns(
                    steps.kind, of.code, of.number, of.line, of.leaf_line, of.region,
                    steps.instruction,
                )  # fmt: skip
                count(
                    state.machine, state.counts, state.words, state.tags, state.marks,
                    state.table, state.numbers, columns, spans, place,
                    prepared.n_instructions,
                )  # fmt: skip
    rows = counts.view(np.int64).reshape(len(designs), len(COUNTERS))
    rows[:, :3] = timeline.counted(prepared.n_instructions)
    return rows


class _State(NamedTuple):
    """Memory of one design; the names are those of the kernel's arguments."""

    machine: Any
    counts: Any
    words: Any
    tags: Any
    marks: Any
    table: Any
    numbers: Any


@dataclass
class _Timeline:
    """Samples and the end of the warm-up, over the parts of a trace.

    Attributes:
      record: First record after warm-up.
    """

    record: int
    _next_sample: int = WINDOW_INSTRUCTIONS
    _sampled: int = 0
    _accesses: int = 0
    _fetches: int = 0
    _first_instruction: int = field(default=-1)

    def spans(self, steps: Steps) -> npt.NDArray[np.int64]:
        """Return (n_spans, 3), the spans of a part for the kernel."""
        from archgym.simulators.translation.kernel.count import AT_END_OF_WARMUP, AT_SAMPLE

        n = len(steps.record)
        spans: dict[int, list[int]] = {}
        if n:
            last = int(steps.instruction[-1])
            times = np.arange(self._next_sample, last + 1, WINDOW_INSTRUCTIONS)
            self._next_sample += len(times) * WINDOW_INSTRUCTIONS
            for end in np.unique(np.searchsorted(steps.instruction, times)).tolist():
                reached = int(steps.instruction[end])
                spans[end] = [end, AT_SAMPLE, reached - self._sampled]
                self._sampled = reached
        self._count(steps, spans, AT_END_OF_WARMUP)
        spans.setdefault(n, [n, 0, 0])
        return np.array([spans[end] for end in sorted(spans)], dtype=np.int64)

    def _count(self, steps: Steps, spans: dict[int, list[int]], mark: int) -> None:
        """Count accesses after warm-up, and mark its end."""
        if self._first_instruction >= 0:
            accesses, fetches = steps.accesses_from(steps.start)
        else:
            start = int(np.searchsorted(steps.record, self.record))
            if start == len(steps.record):
                return
            self._first_instruction = int(steps.instruction[start])
            accesses, fetches = steps.accesses_from(int(steps.record[start]))
            if self.record > 0:
                spans.setdefault(start, [start, 0, 0])[1] |= mark
        self._accesses += accesses
        self._fetches += fetches

    def counted(self, n_instructions: int) -> tuple[int, int, int]:
        """Return instructions, data accesses and fetches after warm-up."""
        if self._first_instruction < 0:
            return 0, 0, 0
        return n_instructions - self._first_instruction, self._accesses, self._fetches
