"""Counters of a core on a program, and fills of one of its caches against the optimum."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.errors import SimulatorError
from archgym.simulators.cpu import layout as lay
from archgym.simulators.cpu.run import run_logged
from archgym.simulators.cpu.trace import InstructionTrace
from archgym.simulators.translation.rule_bounds import optimum_misses

# chosen: four times the events of the programs that ship.
_EVENTS_PER_INSTRUCTION: Final = 24

Adapt = Callable[[npt.NDArray[np.int64]], None]
"""Function that changes the state of a machine before its first cycle."""


def run_case(
    case: Mapping[str, Any], adapt: Adapt | None = None, n_events: int = 0
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
    """Return counters of a case, None if it never ends, and the first events of its caches."""
    trace = InstructionTrace("case", "", case["records"], int(case["n"]), int(case["n_pages"]))
    machine = dict(case["machine"])
    return run_logged(machine, trace, int(case["warmup"]), int(case["length"]), n_events, adapt)


def fills_and_bound(case: Mapping[str, Any], adapt: Adapt | None = None) -> tuple[int, int, int]:
    """Return fills of the cache with the warm-up, their least number, and first fills.

    The least number is that of Belady's policy on the hits and fills of the run, in their order.

    Raises:
      SimulatorError: The log of events is full, or fewer fills than possible; a defect.
    """
    n_events = _EVENTS_PER_INSTRUCTION * (int(case["warmup"]) + int(case["length"]))
    _, events = run_case(case, adapt, n_events)
    if len(events) >= n_events:
        raise SimulatorError(f"The caches have more events than the {n_events} that are logged.")
    ways = int(case["values"]["WAYS"])
    own = events[events[:, 1] == int(case["component"])]
    is_fill = own[:, 0] == lay.EVENT_FILL
    is_kept = is_fill | (own[:, 6] < ways)
    blocks = np.ascontiguousarray(own[is_kept, 2] >> 6)
    fills = int(is_fill.sum())
    bound = optimum_misses(blocks, int(case["sizes"]["line"]), ways)
    if fills < bound:
        raise SimulatorError(
            f"The cache has {fills} fills, fewer than the optimum of {bound}. That is a defect of "
            "the simulator; report it with the policy."
        )
    return fills, bound, len(np.unique(blocks))
