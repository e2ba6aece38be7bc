"""Replays of one TLB with built-in replacement and with the optimum; compiled."""

from typing import Any

from archgym.runtime.kernels import entry_point
from archgym.simulators.translation.state import EMPTY
from archgym.simulators.translation.tlbs import fill, holds, set_of

__all__ = ["replay_built_in", "replay_optimum"]


@entry_point(seconds=2)
def replay_built_in(pages: Any, tags: Any, marks: Any, ways: int, policy: int, state: Any) -> int:
    """Return misses of a TLB with built-in replacement.

    Args:
      pages: (n,) int64.
      tags: (sets * ways,) int64, empty.
      marks: (sets * ways,) uint8, RRPVs.
      ways: Ways of a set.
      policy: Code of LRU, FIFO or SRRIP.
      state: State that random replacement would change; not used by these.
    """
    sets = tags.shape[0] // ways
    misses = 0
    for access in range(pages.shape[0]):
        page = pages[access]
        base = set_of(page, sets, -1) * ways
        if not holds(tags, marks, base, ways, policy, page):
            misses += 1
            fill(state[0], tags, marks, base, ways, policy, page)
    return misses


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
