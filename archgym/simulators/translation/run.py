"""Runs designs on a trace: decode once with `prepare`, then count with `run`."""

from collections.abc import Sequence

import numpy as np

from archgym.simulators.translation.counters import COUNTERS
from archgym.simulators.translation.hardware import Hardware
from archgym.simulators.translation.memory import Memory
from archgym.simulators.translation.prepared import Prepared, prepare

__all__ = ["COUNTERS", "Hardware", "Memory", "Prepared", "prepare", "run"]


def run(
    prepared: Prepared,
    hardware: Hardware | Sequence[Hardware],
    warmup_share: float = 0.3,
    *,
    only_tlbs: bool = False,
) -> np.ndarray:
    """Counts of designs on one trace. Releases the GIL; keeps no state, so threads may share.

    Args:
      prepared: The trace, from `prepare`.
      hardware: The designs, or one.
      warmup_share: Share of the trace's records after which all counts begin anew, 0 to below 1.
      only_tlbs: Whether to count hits of the L1 and L2 TLBs alone, without data caches, latencies
        and mechanisms, several times faster.

    Returns:
      (n_designs, n_counters) int64, columns by `COUNTERS`.

    Raises:
      InvalidArgumentError: A design's sizes do not fit each other.
    """
    raise NotImplementedError
