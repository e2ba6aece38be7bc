"""Runs of the core with a cache under a rule, and its fills against the optimum."""

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from archgym.errors import SimulatorError
from archgym.rules.compilation import BLOCK, WAY, EntryPoints, Storage
from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import COUNTERS, Adapt, run_logged
from archgym.simulators.cpu.workloads import InstructionTrace
from archgym.simulators.translation.rules.bounds import optimum_misses

_HOOKS: Final = {
    "victim": lay.K_HOOK_VICTIM,
    "on_hit": lay.K_HOOK_ON_HIT,
    "on_fill": lay.K_HOOK_ON_FILL,
    "prefetch": lay.K_HOOK_PREFETCH,
    "stride": lay.K_HOOK_STRIDE,
}
# chosen: four times the events of the programs that ship.
_EVENTS_PER_INSTRUCTION: Final = 24


def run_case(
    case: Mapping[str, Any], adapt: Adapt | None = None, n_events: int = 0
) -> tuple[Ints | None, Ints]:
    """Return counters of a case, None if it never ends, and the first events of its caches."""
    trace = InstructionTrace("case", "", case["records"], int(case["n"]), int(case["n_pages"]))
    machine = dict(case["machine"])
    return run_logged(machine, trace, int(case["warmup"]), int(case["length"]), n_events, adapt)


def fills_and_bound(case: Mapping[str, Any], adapt: Adapt | None = None) -> tuple[int, int, int]:
    """Return fills of the cache with the warm-up, their least number, and first fills.

    The least number is that of Belady's rule on the hits and fills of the run, in their order.

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
            "the simulator; report it with the rule."
        )
    return fills, bound, len(np.unique(blocks))


def simulate_rule(points: EntryPoints, storage: Storage, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return counters by name, fills and their least number for a rule on a case.

    Args:
      points: Its compiled functions.
      storage: Its arrays; each run begins with them as they are.
      case: Program and machine, of `CpuCase.input`.
    """
    base = lay.CACHES + lay.CACHE_SIZE * int(case["component"])
    given = points.addresses
    begin = storage.memory.copy()

    def adapt(state: Ints) -> None:
        if given["victim"]:
            state[base + lay.K_REPLACEMENT] = lay.USER_REPLACEMENT
        if given["prefetch"] or given["stride"]:
            state[base + lay.K_PREFETCHER] = lay.USER_PREFETCHER
        for name, field in _HOOKS.items():
            state[base + field] = given[name]
        state[base + lay.K_HOOK_MEMORY] = storage.memory.ctypes.data
        state[base + lay.K_HOOK_FLOATS] = storage.floats.ctypes.data
        state[base + lay.K_HOOK_DEGREE] = int(case["degree"])
        state[base + lay.K_HOOK_WAY_FAULT] = WAY
        state[base + lay.K_HOOK_BLOCK_FAULT] = BLOCK

    started = time.perf_counter()
    counters, _ = run_case(case, adapt)
    took_s = time.perf_counter() - started
    if counters is None:
        return {"problem": "the core never ends: no instruction retires"}
    if storage.fault[0]:
        return {}
    storage.memory[:] = begin
    fills, bound, compulsory = fills_and_bound(case, adapt)
    return {
        **dict(zip(COUNTERS, counters.tolist(), strict=True)),
        **{"fills": fills, "bound_fills": bound, "compulsory_fills": compulsory},
        "seconds": took_s,
    }
