"""Victima's TLB blocks: eight translations in a line of the L2 cache; compiled."""

from typing import Any

import numpy as np

from archgym.runtime.kernels import compiled, inlined, kept_apart
from archgym.simulators.translation.kernel.caches import block_kib, drop, hit, insert, lose_block
from archgym.simulators.translation.kernel.state import (
    ALWAYS,
    CACHE_TLB_SRRIP,
    EMPTY,
    MAX_RRPV,
    NEVER,
)
from archgym.simulators.translation.kernel.tlbs import find, set_of

_MOST_WALKS = 7  # three bits
_MOST_COSTS = 15  # four


@inlined
def block_set(m: Any, number: Any) -> Any:
    """Return the start of the set of a page's block."""
    block = number >> m.block_shift
    return set_of(block, m.l2_cache_sets, m.l2_cache_mask) * m.l2_cache_ways + m.l2_cache_base


@compiled
def meets_block(m: Any, tags: Any, marks: Any, number: Any, tag: Any) -> Any:
    """Return True if the L2 cache holds a block; a hit makes the block newer."""
    kept_apart()
    base = block_set(m, number)
    way = find(tags, base, m.l2_cache_ways, tag)
    if way < 0:
        return False
    hit(m, tags, marks, base, way, True)
    return True


@inlined
def has_block(m: Any, tags: Any, number: Any, tag: Any) -> Any:
    """Return True if the L2 cache holds a block, without making it newer."""
    return find(tags, block_set(m, number), m.l2_cache_ways, tag) >= 0


@compiled
def make_block(
    m: Any, c: Any, tags: Any, marks: Any, number: Any, tag: Any, leaf_line: Any
) -> None:
    """Replace the line with a page's entry by a block, which is in another set."""
    kept_apart()
    line_base = set_of(leaf_line, m.l2_cache_sets, m.l2_cache_mask) * m.l2_cache_ways
    drop(m, tags, marks, line_base + m.l2_cache_base, leaf_line)
    favoured = m.cache_policy == CACHE_TLB_SRRIP and m.under_pressure != 0
    insert(m, c, tags, marks, block_set(m, number), tag, 0 if favoured else MAX_RRPV - 1)
    m.blocks += 1
    m.reach_kib += block_kib(m, tag)


@compiled
def lose(m: Any, c: Any, tags: Any, marks: Any, number: Any, tag: Any) -> None:
    """Invalidate a page's block, if there is one."""
    kept_apart()
    if drop(m, tags, marks, block_set(m, number), tag):
        lose_block(m, tag)
        c.block_invalidations += 1


@compiled
def lose_all(m: Any, c: Any, tags: Any, marks: Any) -> None:
    """Invalidate all blocks except nested ones."""
    kept_apart()
    ways = m.l2_cache_ways
    lowest = EMPTY - 2 * m.n_pages
    for index in range(m.l2_cache_sets):
        base = m.l2_cache_base + index * ways
        # From the last way, since the ways after a dropped one move.
        for way in range(ways - 1, -1, -1):
            tag = tags[base + way]
            if lowest <= tag and tag < EMPTY:
                drop(m, tags, marks, base, tag)
                lose_block(m, tag)
                c.block_invalidations += 1


@inlined
def remember(history: Any, place: Any, to_memory: Any) -> None:
    """Count a walk for a page, and whether it went to memory."""
    walks = np.int64(history[place]) & _MOST_WALKS
    costs = np.int64(history[place]) >> 3
    if walks < _MOST_WALKS:
        walks += 1
    if to_memory and costs < _MOST_COSTS:
        costs += 1
    history[place] = costs << 3 | walks


@inlined
def is_costly(m: Any, c: Any, history: Any, place: Any) -> Any:
    """Return True if the predictor expects costly walks for a page."""
    c.predictions += 1
    costly = m.predictor == ALWAYS
    if m.predictor != ALWAYS and m.predictor != NEVER:
        if m.bypasses:
            c.predictions_bypassed += 1
            costly = True
        else:
            walks = np.int64(history[place]) & _MOST_WALKS
            costs = np.int64(history[place]) >> 3
            costly = (
                m.frequency_low <= walks
                and walks <= m.frequency_high
                and m.cost_low <= costs
                and costs <= m.cost_high
            )
    if costly:
        c.predicted_costly += 1
    return costly
