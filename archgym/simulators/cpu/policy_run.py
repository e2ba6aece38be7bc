"""Runs of the core with a cache under a policy that a user wrote; in the policies' process."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.rules.compilation import BLOCK, WAY, EntryPoints, Storage
from archgym.simulators.cpu import layout as lay
from archgym.simulators.cpu.policy_counts import fills_and_bound, run_case
from archgym.simulators.cpu.policy_replay import open_case
from archgym.simulators.cpu.run import COUNTERS

_HOOKS = {
    "victim": lay.K_HOOK_VICTIM,
    "on_hit": lay.K_HOOK_ON_HIT,
    "on_fill": lay.K_HOOK_ON_FILL,
    "prefetch": lay.K_HOOK_PREFETCH,
    "stride": lay.K_HOOK_STRIDE,
}
_PREPARED = 1000


def simulate_policy(
    points: EntryPoints, storage: Storage, case: Mapping[str, Any]
) -> dict[str, Any]:
    """Return counters by name, fills and their least number for a policy on a case.

    Args:
      points: Its compiled functions.
      storage: Its arrays; each run begins with them as they are.
      case: Program and machine, of `CpuCase.arguments`.
    """
    base = lay.CACHES + lay.CACHE_SIZE * int(case["component"])
    given = points.addresses
    begin = storage.memory.copy()

    def adapt(state: npt.NDArray[np.int64]) -> None:
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


def prepare() -> None:
    """Load or compile the kernels."""
    case = open_case("b-tree", {"instructions": str(_PREPARED)}).arguments()
    fills_and_bound(case)
