"""Replay of one TLB under a rule that a user wrote; compiled in the rules' process."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numba
import numpy as np

from archgym.simulators.kit.kernels import INNER, WAY
from archgym.simulators.translation.kernel.state import EMPTY

COUNTS: Final = ("hits", "misses", "accesses", "prefetches", "useful")
"""Names of the counts, in their order."""
_HITS, _MISSES, _ACCESSES, _PREFETCHES, _USEFUL = range(5)


def make_replay(hooks: Mapping[str, Callable[..., Any]]) -> Callable[..., None]:
    """Return a replay with the hooks of a rule compiled in.

    Args:
      hooks: Compiled hooks by name.
    """
    inner: Callable[..., Any] = numba.njit(forceinline=True, **INNER)
    options = {name: INNER[name] for name in ("nogil", "error_model", "_nrt")}
    entry: Callable[..., Any] = numba.njit(**options)
    victim = hooks["victim"]
    has_hit, has_fill, has_prefetch = (n in hooks for n in ("on_hit", "on_fill", "prefetch"))
    on_hit = hooks.get("on_hit", victim)
    on_fill = hooks.get("on_fill", victim)
    prefetch = hooks.get("prefetch", victim)

    @inner
    def find(tags: Any, base: int, ways: int, page: int) -> int:
        """Return the way that holds a page, `ways + way` for the first empty one, or -1."""
        for way in range(ways):
            if tags[base + way] == page:
                return way
            if tags[base + way] == EMPTY:
                # Ways are filled in their order.
                return ways + way
        return -1

    @inner
    def is_mapped(mapped: Any, page: int) -> bool:
        """Return True if the program has a page: it touches it at some time."""
        low, high = 0, mapped.shape[0]
        while low < high:
            middle = (low + high) // 2
            if mapped[middle] < page:
                low = middle + 1
            else:
                high = middle
        return bool(low < mapped.shape[0] and mapped[low] == page)

    @entry
    def replay(
        pages: Any,
        mapped: Any,
        tags: Any,
        brought: Any,
        ways: int,
        counts: Any,
        memory: Any,
        floats: Any,
    ) -> None:
        sets = tags.shape[0] // ways
        time = 0
        for access in range(pages.shape[0]):
            page = pages[access]
            is_demand = True
            is_hit = False
            while True:
                index = page % sets
                base = index * ways
                chosen: Any = find(tags, base, ways, page)
                is_found = chosen >= 0 and chosen < ways
                if is_found and is_demand:
                    is_hit = True
                    counts[_HITS] += 1
                    counts[_USEFUL] += brought[base + chosen]
                    brought[base + chosen] = 0
                    if has_hit:
                        on_hit(base + chosen, index, page, time, memory, floats)
                    time += 1
                elif not is_found:
                    counts[_MISSES if is_demand else _PREFETCHES] += 1
                    if chosen < 0:
                        chosen = np.int64(victim(base, index, time, memory, floats))
                        if chosen < 0 or chosen >= ways:
                            if memory[0] == 0:
                                memory[0] = WAY
                            break
                    else:
                        chosen -= ways
                    tags[base + chosen] = page
                    brought[base + chosen] = 0 if is_demand else 1
                    if has_fill:
                        on_fill(base + chosen, index, page, time, memory, floats)
                    time += 1
                if not has_prefetch or not is_demand:
                    break
                wanted = np.int64(prefetch(page, np.int64(is_hit), time, memory, floats))
                if wanted < 0 or not is_mapped(mapped, wanted):
                    break
                page = wanted
                is_demand = False
            if memory[0] != 0:
                break
        counts[_ACCESSES] = counts[_HITS] + counts[_MISSES]

    made: Callable[..., None] = replay
    return made
