"""Replays of one TLB: with rules that users wrote, with built-in rules, and with the optimum."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from archgym.rules.compilation import INNER, WAY
from archgym.runtime.kernels import entry_point
from archgym.simulators.translation.kernel.state import EMPTY
from archgym.simulators.translation.kernel.tlbs import fill, find, holds, set_of

COUNTS: Final = ("hits", "misses", "accesses", "prefetches", "useful")
"""Names of the counts, in their order."""
_HITS, _MISSES, _ACCESSES, _PREFETCHES, _USEFUL = range(5)
_NEVER: Final = 2**62


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


def optimum_misses(pages: npt.NDArray[np.int64], entries: int, ways: int) -> int:
    """Return the fewest misses of any rule that fills on each miss: Belady's.

    Args:
      pages: (n,) int64, pages or blocks in the order of their accesses.
      entries: Entries of the TLB or cache.
      ways: Ways of a set.
    """
    order = np.argsort(pages, kind="stable")
    future = np.full(len(order), _NEVER, dtype=np.int64)
    is_same = pages[order[1:]] == pages[order[:-1]]
    future[order[:-1][is_same]] = order[1:][is_same]
    tags = np.full(entries, EMPTY, dtype=np.int64)
    return int(replay_optimum(pages, future, tags, np.zeros(entries, dtype=np.int64), ways))


@entry_point(seconds=2)
def replay_built_in(
    pages: Any, following: Any, tags: Any, marks: Any, ways: int, policy: int, state: Any
) -> int:
    """Return misses and prefetches of a TLB with built-in replacement: misses + prefetches << 32.

    Args:
      pages: (n,) int64.
      following: (n,) int64, page to prefetch on a miss, -1 for none; empty without prefetch.
      tags: (sets * ways,) int64, empty.
      marks: (sets * ways,) uint8, RRPVs.
      ways: Ways of a set.
      policy: Code of LRU, FIFO or SRRIP.
      state: State that random replacement would change; not used by these.
    """
    sets = tags.shape[0] // ways
    misses = 0
    prefetches = 0
    for access in range(pages.shape[0]):
        page = pages[access]
        base = set_of(page, sets, -1) * ways
        if holds(tags, marks, base, ways, policy, page):
            continue
        misses += 1
        fill(state[0], tags, marks, base, ways, policy, page)
        if following.shape[0] > 0 and following[access] >= 0:
            page = following[access]
            base = set_of(page, sets, -1) * ways
            if find(tags, base, ways, page) < 0:
                prefetches += 1
                fill(state[0], tags, marks, base, ways, policy, page)
    return misses + (prefetches << 32)


@entry_point(seconds=2)
def replay_optimum(pages: Any, future: Any, tags: Any, uses: Any, ways: int) -> int:
    """Return misses of a TLB that evicts the page that is used last; every miss is filled.

    Args:
      pages: (n,) int64.
      future: (n,) int64, number of the next access to the same page.
      tags: (sets * ways,) int64, empty.
      uses: (sets * ways,) int64, next use of each way.
      ways: Ways of a set.

    Source:
      Belady, *A study of replacement algorithms for a virtual-storage computer*, 1966.
    """
    sets = tags.shape[0] // ways
    misses = 0
    for access in range(pages.shape[0]):
        page = pages[access]
        base = (page % sets) * ways
        chosen = 0
        is_hit = False
        for way in range(ways):
            if tags[base + way] == page:
                chosen = way
                is_hit = True
                break
            if tags[base + way] == EMPTY:
                chosen = way
                break
            if uses[base + way] > uses[base + chosen]:
                chosen = way
        if not is_hit:
            misses += 1
            tags[base + chosen] = page
        uses[base + chosen] = future[access]
    return misses
