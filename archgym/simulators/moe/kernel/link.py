"""The link from the host's memory: demanded experts, prefetches, and who goes first; compiled.

The link is simulated up to `clocks[LINK]`. Prefetches wait in a ring in the order of issue; one
starts when the link is free and there is a place for it. A demand waits for the chunk that is on
the link (`LinkOrder.PRIORITY`), or for all that was queued before it (`LinkOrder.FIFO`).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.cache_kernel import prefetch
from archgym.simulators.moe.kernel.caches import (
    EVENT,
    CacheState,
)
from archgym.simulators.moe.kernel.pool import make_room
from archgym.simulators.moe.kernel.state import State, whole
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

NOTHING, QUEUED, ON_LINK, IS_STAGED = 0, 1, 2, 3
_CACHE = 1  # Target.CACHE
_GLOBAL = 0  # Scope.GLOBAL
_FIFO = 1  # LinkOrder.FIFO
_ROUNDING_NS = 1e-6  # a shorter remainder is rounding


@helper
def from_drive(
    costs: Array, choices: Array, state: State, counters: Array, block: int, at: float
) -> float:
    """Return when the host has a block, read from the drive if it is missing [ns]."""
    capacity = choices[col.HOST_CAPACITY]
    if capacity >= state.blocks.shape[1] - 1:
        return at
    was_there = touch(state, st.HOST, st.N_HOST, max(1, capacity), block)
    if was_there:
        return at
    begin = max(at, state.clocks[st.SSD])
    time = costs[col.SSD_FIXED_NS] + costs[col.SSD_NS]
    state.clocks[st.SSD] = begin + time
    counters[col.SSD_BUSY_NS] += time
    counters[col.N_SSD] += 1
    return float(begin + time)


@helper
def enqueue(costs: Array, state: State, block: int, event: int, at: float) -> None:
    """Queue a prefetch of a block for an event of this step."""
    ring = state.ring_block.shape[0]
    tail = state.numbers[st.TAIL]
    if tail - state.numbers[st.HEAD] >= ring:
        return
    slot = tail & (ring - 1)
    state.ring_block[slot] = block
    state.ring[st.LEFT, slot] = costs[col.LOAD_FIXED_NS] + costs[col.LOAD_NS]
    state.ring[st.ISSUED, slot] = at
    state.ring[st.READY, slot] = -1.0
    state.blocks[st.FETCH, block] = QUEUED
    state.blocks[st.FETCH_EVENT, block] = event
    state.blocks[st.FETCH_SLOT, block] = tail
    state.numbers[st.TAIL] = tail + 1


@helper
def _take_place(
    choices: Array, state: State, cache: CacheState, counters: Array, n_experts: int, block: int
) -> int:
    """Find a place for a prefetch; 0 none now, 1 found, 2 there will be none."""
    if choices[col.TARGET] == _CACHE:
        if choices[col.SCOPE] == _GLOBAL:
            if not make_room(choices, state, cache, n_experts, block):
                return 2
        else:
            bucket = whole(cache.bucket[block // n_experts])
            event = cache.counters[EVENT]
            if prefetch(cache, choices[col.REPLACEMENT], bucket, block, event) == -2:
                return 2
        if state.blocks[st.UNUSED, block] == 1:
            # It had come before, and had been driven out before its first use.
            counters[col.N_WASTED] += 1
        state.blocks[st.UNUSED, block] = 1
        state.blocks[st.LOW, block] = 0
        return 1
    if state.numbers[st.STAGED] >= choices[col.STAGING]:
        return 0
    state.numbers[st.STAGED] += 1
    return 1


@helper
def _serve(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    counters: Array,
    n_experts: int,
    until: float,
) -> None:
    """Run the prefetches that the link can serve before a time."""
    clocks, numbers = state.clocks, state.numbers
    ring = state.ring_block.shape[0]
    while numbers[st.HEAD] < numbers[st.TAIL] and clocks[st.LINK] < until:
        head = numbers[st.HEAD]
        slot = head & (ring - 1)
        block = state.ring_block[slot]
        status = state.blocks[st.FETCH, block]
        if state.blocks[st.FETCH_SLOT, block] != head or status in (NOTHING, IS_STAGED):
            numbers[st.HEAD] = head + 1
            continue
        start = clocks[st.LINK]
        if status == QUEUED:
            if state.ring[st.READY, slot] < 0.0:
                issued = state.ring[st.ISSUED, slot]
                ready = from_drive(costs, choices, state, counters, block, issued)
                state.ring[st.READY, slot] = ready
            start = max(start, state.ring[st.ISSUED, slot], state.ring[st.READY, slot])
            if start >= until:
                break
            place = _take_place(choices, state, cache, counters, n_experts, block)
            if place == 0:
                break
            if place == 2:
                state.blocks[st.FETCH, block] = NOTHING
                numbers[st.HEAD] = head + 1
                continue
            state.blocks[st.FETCH, block] = ON_LINK
            counters[col.N_PREFETCH] += 1
        left = state.ring[st.LEFT, slot]
        if start + left <= until:
            clocks[st.LINK] = start + left
            counters[col.H2D_BUSY_NS] += left
            finish_transfer(choices, state, block)
        else:
            state.ring[st.LEFT, slot] = left - (until - start)
            counters[col.H2D_BUSY_NS] += until - start
            clocks[st.LINK] = until


@helper
def advance(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    counters: Array,
    n_experts: int,
    until: float,
) -> None:
    """Run the link up to a time, or up to the end of what holds it longer."""
    _serve(costs, choices, state, cache, counters, n_experts, until)
    state.clocks[st.LINK] = max(state.clocks[st.LINK], until)


@helper
def finish_transfer(choices: Array, state: State, block: int) -> None:
    """Finish the transfer of the block at the head of the ring."""
    state.ring[st.LEFT, state.blocks[st.FETCH_SLOT, block] & (state.ring_block.shape[0] - 1)] = 0.0
    state.blocks[st.FETCH, block] = NOTHING if choices[col.TARGET] == _CACHE else IS_STAGED
    state.numbers[st.HEAD] += 1


@helper
def clear_for_demand(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    counters: Array,
    n_experts: int,
    at: float,
    keep: int,
) -> float:
    """Bring the link to where a demand may start.

    Args:
      costs: Values of `COSTS`; the next ones by their names.
      choices: Values of `CHOICES`.
      state: A `State`.
      cache: A `CacheState`.
      counters: Values of `COUNTERS`.
      n_experts: Experts of a layer.
      at: Now, to which the link has been advanced [ns].
      keep: The event whose own prefetches need not be waited for: they are demanded themselves.

    Returns:
      How long the demand waits for prefetches [ns].
    """
    clocks, numbers = state.clocks, state.numbers
    ring = state.ring_block.shape[0]
    begin = max(clocks[st.LINK], at)
    clocks[st.LINK] = begin
    if choices[col.LINK_ORDER] == _FIFO:
        # Everything issued before goes first, as far as there are places.
        _serve(costs, choices, state, cache, counters, n_experts, np.inf)
        return float(clocks[st.LINK] - begin)
    if numbers[st.HEAD] == numbers[st.TAIL]:
        return 0.0
    slot = numbers[st.HEAD] & (ring - 1)
    block = state.ring_block[slot]
    if (
        state.blocks[st.FETCH_SLOT, block] != numbers[st.HEAD]
        or state.blocks[st.FETCH, block] != ON_LINK
    ):
        return 0.0
    if state.blocks[st.FETCH_EVENT, block] == keep and _is_asked(state, keep, n_experts, block):
        return 0.0
    left = state.ring[st.LEFT, slot]
    chunk = costs[col.CHUNK_NS]
    if chunk > 0.0:
        done = costs[col.LOAD_FIXED_NS] + costs[col.LOAD_NS] - left
        ahead = done - chunk * (done // chunk)
        left = min(left, chunk - ahead) if ahead > _ROUNDING_NS else 0.0
    clocks[st.LINK] += left
    counters[col.H2D_BUSY_NS] += left
    state.ring[st.LEFT, slot] -= left
    if state.ring[st.LEFT, slot] <= _ROUNDING_NS:
        finish_transfer(choices, state, block)
    return float(clocks[st.LINK] - begin)


@helper
def _is_asked(state: State, event: int, n_experts: int, block: int) -> bool:
    return bool(state.counts[event * n_experts + block % n_experts] > 0)


@helper
def release(
    costs: Array,
    choices: Array,
    state: State,
    counters: Array,
    n_experts: int,
    event: int,
    layer: int,
) -> None:
    """Take back what was prefetched for an event that is over and did not use it."""
    load_ns = costs[col.LOAD_FIXED_NS] + costs[col.LOAD_NS]
    ring = state.ring_block.shape[0]
    for expert in range(n_experts):
        block = layer * n_experts + expert
        status = state.blocks[st.FETCH, block]
        if status == NOTHING or state.blocks[st.FETCH_EVENT, block] != event:
            continue
        if status == QUEUED:
            state.blocks[st.FETCH, block] = NOTHING
        elif choices[col.TARGET] != _CACHE:
            state.blocks[st.FETCH, block] = NOTHING
            state.numbers[st.STAGED] -= 1
            if state.counts[event * n_experts + expert] > 0:
                counters[col.N_USEFUL] += 1
            else:
                counters[col.N_WASTED] += 1
                if status == ON_LINK and load_ns > 0.0:
                    slot = state.blocks[st.FETCH_SLOT, block] & (ring - 1)
                    counters[col.PREFETCH_CUT] += state.ring[st.LEFT, slot] / load_ns


@helper
def touch(state: State, row: int, count: int, capacity: int, block: int) -> bool:
    """Use a block, which comes in where it is not and drives out what was used longest ago.

    Args:
      state: A `State`.
      row: The first of the set's rows.
      count: Place of the set's size in `numbers`.
      capacity: Most blocks, 1 or more.
      block: Block that is used.

    Returns:
      Whether it was in the set.
    """
    blocks, numbers = state.blocks, state.numbers
    before, after = row + 1, row + 2
    sentinel = blocks.shape[1] - 1
    was_inside = blocks[row, block] == 1
    if was_inside:
        blocks[after, blocks[before, block]] = blocks[after, block]
        blocks[before, blocks[after, block]] = blocks[before, block]
    else:
        if numbers[count] >= capacity:
            oldest = blocks[before, sentinel]
            blocks[after, blocks[before, oldest]] = sentinel
            blocks[before, sentinel] = blocks[before, oldest]
            blocks[row, oldest] = 0
            numbers[count] -= 1
        blocks[row, block] = 1
        numbers[count] += 1
    newest = blocks[after, sentinel]
    blocks[after, sentinel] = block
    blocks[before, block] = sentinel
    blocks[after, block] = newest
    blocks[before, newest] = block
    return bool(was_inside)
