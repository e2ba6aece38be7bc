"""Runs designs on a trace: decode once with `prepare`, then count with `run`."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.counters import COUNTERS
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.memory import Memory
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
    """Count of designs on one trace. Releases the GIL; keeps no state, so threads may share.

    Args:
      prepared: The trace, from `prepare`.
      hardware: The designs, or one.
      warmup_share: Share of the trace's records after which all counts begin anew, 0 to below 1.
      only_tlbs: Whether to count hits of the L1 and L2 TLBs alone, without data caches, latencies
        and mechanisms, several times faster; then every L2 miss counts as a walk.
      passes: How often the trace runs; only the last is counted, so the others are warm-up.

    Returns:
      (n_designs, n_counters) int64, columns by `COUNTERS`.

    Raises:
      InvalidArgumentError: A design's sizes do not fit each other.
    """
    # Numba takes a while to import, which describing should not wait for.
    from archgym.simulators.translation.kernel import count
    from archgym.simulators.translation.state import COUNTS, machine, room

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
        empty = room(made, view)
        for _ in range(passes):
            count(
                made,
                counted,
                counted.view(np.int64),
                *empty,
                steps.kind,
                view.code,
                view.number,
                view.line,
                view.leaf_line,
                view.region,
                steps.instruction,
                packed.table,
                packed.numbers,
                spans,
            )
    rows = counts.view(np.int64).reshape(len(designs), len(COUNTERS))
    rows[:, :3] = prepared.counted(start)
    return rows


def _spans(prepared: Prepared, start: int) -> npt.NDArray[np.int64]:
    """Return (n_spans, 3), as the kernel takes them: samples, and the end of the warm-up."""
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
