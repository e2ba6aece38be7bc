"""Runs of designs on a trace: prepare it once with `prepare`, then count with `run`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.counters import COUNTERS
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.prepared import WARMUP_SHARE, Prepared, prepare

__all__ = ["COUNTERS", "Hardware", "Memory", "Prepared", "prepare", "run"]


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
    # Numba is slow to import, and describing needs no kernel.
    from archgym.simulators.translation.kernel import Columns, count
    from archgym.simulators.translation.state import COUNTS, empty_structures, machine

    if not 0.0 <= warmup_share < 1.0:
        raise InvalidArgumentError(
            f"`warmup_share` must lie in 0 to below 1; got {warmup_share!r}."
        )
    if passes < 1:
        raise InvalidArgumentError(f"`passes` must be 1 or more; got {passes!r}.")
    designs = [hardware] if isinstance(hardware, Hardware) else list(hardware)
    steps = prepared.steps
    start = prepared.start(warmup_share)
    spans = _spans(prepared, start)
    counts = np.zeros(len(designs), dtype=COUNTS)
    for place, design in enumerate(designs):
        view = prepared.view(design.virtualised)
        made = machine(design, view, only_tlbs=only_tlbs, capacity_gib=prepared.memory.capacity_gib)
        packed = view.packed(design.cluster_pages)
        counted = counts[place : place + 1]
        tags, marks = empty_structures(made, view)
        columns = Columns(
            *(steps.kind, view.code, view.number, view.line, view.leaf_line, view.region),
            steps.instruction,
        )
        for _ in range(passes):
            words = counted.view(np.int64)
            count(made, counted, words, tags, marks, packed.table, packed.numbers, columns, spans)
    rows = counts.view(np.int64).reshape(len(designs), len(COUNTERS))
    rows[:, :3] = prepared.counted(start)
    return rows


def _spans(prepared: Prepared, start: int) -> npt.NDArray[np.int64]:
    """Return (n_spans, 3), the spans for the kernel: samples and the end of the warm-up."""
    from archgym.simulators.translation.kernel import AT_END_OF_WARMUP, AT_SAMPLE
    from archgym.simulators.translation.state import WINDOW_INSTRUCTIONS

    retired = prepared.steps.instruction
    times = np.arange(1, int(retired[-1]) // WINDOW_INSTRUCTIONS + 1) * WINDOW_INSTRUCTIONS
    ends = np.unique(np.searchsorted(retired, times))
    since = np.diff(retired[np.minimum(ends, len(retired) - 1)], prepend=0)
    spans = {
        int(end): [int(end), AT_SAMPLE, int(gone)] for end, gone in zip(ends, since, strict=True)
    }
    if start > 0:
        spans.setdefault(start, [start, 0, 0])[1] |= AT_END_OF_WARMUP
    spans.setdefault(len(retired), [len(retired), 0, 0])
    return np.array([spans[end] for end in sorted(spans)], dtype=np.int64)
