"""Replays of one TLB with built-in replacement and with the optimum; compiled.

They lie apart from `kernel`, since the process of a rule may write no cache of compiled code.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point
from archgym.simulators.translation.kernel.state import EMPTY
from archgym.simulators.translation.kernel.tlbs import fill, find, holds, set_of

_NEVER: Final = 2**62


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
