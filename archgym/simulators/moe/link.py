"""The link from the host's memory: demanded experts, prefetches, and who goes first; compiled.

The link is simulated up to `clocks[LINK]`. Prefetches wait in a ring in the order of issue; one
starts when the link is free and there is a place for it. A demand waits for the chunk that is on
the link (`LinkOrder.PRIORITY`), or for all that was queued before it (`LinkOrder.FIFO`).
"""

import numpy as np

from archgym.kernels import compiled
from archgym.simulators.moe.cache_kernel import prefetch
from archgym.simulators.moe.caches import EVENT
from archgym.simulators.moe.columns import (
    CHUNK_NS,
    H2D_BUSY_NS,
    HOST_CAPACITY,
    LINK_ORDER,
    LOAD_FIXED_NS,
    LOAD_NS,
    N_PREFETCH,
    N_SSD,
    N_USEFUL,
    N_WASTED,
    PREFETCH_CUT,
    REPLACEMENT,
    SSD_BUSY_NS,
    SSD_FIXED_NS,
    SSD_NS,
    STAGING,
    TARGET,
)
from archgym.simulators.moe.recency import touch
from archgym.simulators.moe.state import HEAD, LINK, N_HOST, SSD, STAGED, TAIL

__all__ = [
    "advance",
    "clear_for_demand",
    "enqueue",
    "finish_transfer",
    "from_drive",
    "release",
]

NOTHING, QUEUED, ON_LINK, IS_STAGED = 0, 1, 2, 3
_CACHE = 1  # Target.CACHE
_FIFO = 1  # LinkOrder.FIFO
_ROUNDING_NS = 1e-6  # a shorter remainder is rounding


@compiled
def from_drive(costs, choices, state, counters, block, at):  # type: ignore[no-untyped-def]  # compiled
    """When the host has a block, which is read from the drive where it does not [ns]."""
    capacity = choices[HOST_CAPACITY]
    if capacity >= state.fetch.shape[0]:
        return at
    was_there = touch(
        state.host_in,
        state.host_before,
        state.host_after,
        state.numbers,
        N_HOST,
        max(1, capacity),
        block,
    )
    if was_there:
        return at
    begin = max(at, state.clocks[SSD])
    time = costs[SSD_FIXED_NS] + costs[SSD_NS]
    state.clocks[SSD] = begin + time
    counters[SSD_BUSY_NS] += time
    counters[N_SSD] += 1
    return begin + time


@compiled
def enqueue(costs, state, block, event, at):  # type: ignore[no-untyped-def]  # compiled
    """Queues a prefetch of a block for an event of this step."""
    ring = state.queue_block.shape[0]
    tail = state.numbers[TAIL]
    if tail - state.numbers[HEAD] >= ring:
        return
    slot = tail & (ring - 1)
    state.queue_block[slot] = block
    state.queue_left[slot] = costs[LOAD_FIXED_NS] + costs[LOAD_NS]
    state.queue_issue[slot] = at
    state.queue_ready[slot] = -1.0
    state.fetch[block] = QUEUED
    state.fetch_event[block] = event
    state.fetch_slot[block] = tail
    state.numbers[TAIL] = tail + 1


@compiled
def _take_place(choices, state, cache, counters, n_experts, block):  # type: ignore[no-untyped-def]  # compiled
    """Finds a place for a prefetch; 0 none now, 1 found, 2 there will be none."""
    if choices[TARGET] == _CACHE:
        bucket = cache.bucket[block // n_experts]
        event = cache.counters[EVENT]
        if prefetch(cache, choices[REPLACEMENT], bucket, block, event) == -2:
            return 2
        if state.unused[block] == 1:
            # It had come before, and had been driven out before its first use.
            counters[N_WASTED] += 1
        state.unused[block] = 1
        state.low[block] = 0
        return 1
    if state.numbers[STAGED] >= choices[STAGING]:
        return 0
    state.numbers[STAGED] += 1
    return 1


@compiled
def _serve(costs, choices, state, cache, counters, n_experts, until):  # type: ignore[no-untyped-def]  # compiled
    """Runs the prefetches that the link can serve before a time."""
    clocks, numbers = state.clocks, state.numbers
    ring = state.queue_block.shape[0]
    while numbers[HEAD] < numbers[TAIL] and clocks[LINK] < until:
        head = numbers[HEAD]
        slot = head & (ring - 1)
        block = state.queue_block[slot]
        status = state.fetch[block]
        if state.fetch_slot[block] != head or status == NOTHING or status == IS_STAGED:
            numbers[HEAD] = head + 1
            continue
        start = clocks[LINK]
        if status == QUEUED:
            if state.queue_ready[slot] < 0.0:
                issued = state.queue_issue[slot]
                ready = from_drive(costs, choices, state, counters, block, issued)
                state.queue_ready[slot] = ready
            start = max(start, state.queue_issue[slot], state.queue_ready[slot])
            if start >= until:
                break
            place = _take_place(choices, state, cache, counters, n_experts, block)
            if place == 0:
                break
            if place == 2:
                state.fetch[block] = NOTHING
                numbers[HEAD] = head + 1
                continue
            state.fetch[block] = ON_LINK
            counters[N_PREFETCH] += 1
        left = state.queue_left[slot]
        if start + left <= until:
            clocks[LINK] = start + left
            counters[H2D_BUSY_NS] += left
            finish_transfer(choices, state, block)
        else:
            state.queue_left[slot] = left - (until - start)
            counters[H2D_BUSY_NS] += until - start
            clocks[LINK] = until


@compiled
def advance(costs, choices, state, cache, counters, n_experts, until):  # type: ignore[no-untyped-def]  # compiled
    """Runs the link up to a time, or up to the end of what holds it longer."""
    _serve(costs, choices, state, cache, counters, n_experts, until)
    state.clocks[LINK] = max(state.clocks[LINK], until)


@compiled
def finish_transfer(choices, state, block):  # type: ignore[no-untyped-def]  # compiled
    """The whole block, which is the head of the ring, has come."""
    state.queue_left[state.fetch_slot[block] & (state.queue_block.shape[0] - 1)] = 0.0
    state.fetch[block] = NOTHING if choices[TARGET] == _CACHE else IS_STAGED
    state.numbers[HEAD] += 1


@compiled
def clear_for_demand(costs, choices, state, cache, counters, n_experts, at, keep):  # type: ignore[no-untyped-def]  # compiled
    """Brings the link to where a demand may start.

    Args:
      costs: By `COSTS`; so are the next by their names.
      choices: By `CHOICES`.
      state: A `State`.
      cache: A `CacheState`.
      counters: By `COUNTERS`.
      n_experts: Experts of a layer.
      at: Now, to which the link has been advanced [ns].
      keep: The event whose own prefetches need not be waited for: they are demanded themselves.

    Returns:
      How long the demand waits for prefetches [ns].
    """
    clocks, numbers = state.clocks, state.numbers
    ring = state.queue_block.shape[0]
    begin = max(clocks[LINK], at)
    clocks[LINK] = begin
    if choices[LINK_ORDER] == _FIFO:
        # Everything issued before goes first, as far as there are places.
        _serve(costs, choices, state, cache, counters, n_experts, np.inf)
        return clocks[LINK] - begin
    if numbers[HEAD] == numbers[TAIL]:
        return 0.0
    slot = numbers[HEAD] & (ring - 1)
    block = state.queue_block[slot]
    if state.fetch_slot[block] != numbers[HEAD] or state.fetch[block] != ON_LINK:
        return 0.0
    if state.fetch_event[block] == keep and _is_asked(state, keep, n_experts, block):
        return 0.0
    left = state.queue_left[slot]
    chunk = costs[CHUNK_NS]
    if chunk > 0.0:
        done = costs[LOAD_FIXED_NS] + costs[LOAD_NS] - left
        ahead = done - chunk * (done // chunk)
        left = min(left, chunk - ahead) if ahead > _ROUNDING_NS else 0.0
    clocks[LINK] += left
    counters[H2D_BUSY_NS] += left
    state.queue_left[slot] -= left
    if state.queue_left[slot] <= _ROUNDING_NS:
        finish_transfer(choices, state, block)
    return clocks[LINK] - begin


@compiled
def _is_asked(state, event, n_experts, block):  # type: ignore[no-untyped-def]  # compiled
    return state.counts[event * n_experts + block % n_experts] > 0


@compiled
def release(costs, choices, state, counters, n_experts, event, layer):  # type: ignore[no-untyped-def]  # compiled
    """Takes back what was prefetched for an event that is over and did not use it."""
    whole = costs[LOAD_FIXED_NS] + costs[LOAD_NS]
    ring = state.queue_block.shape[0]
    for expert in range(n_experts):
        block = layer * n_experts + expert
        status = state.fetch[block]
        if status == NOTHING or state.fetch_event[block] != event:
            continue
        if status == QUEUED:
            state.fetch[block] = NOTHING
        elif choices[TARGET] != _CACHE:
            state.fetch[block] = NOTHING
            state.numbers[STAGED] -= 1
            if state.counts[event * n_experts + expert] > 0:
                counters[N_USEFUL] += 1
            else:
                counters[N_WASTED] += 1
                if status == ON_LINK and whole > 0.0:
                    slot = state.fetch_slot[block] & (ring - 1)
                    counters[PREFETCH_CUT] += state.queue_left[slot] / whole
