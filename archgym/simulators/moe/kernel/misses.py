"""Missing experts: loads, execution on the host, and stalls of a layer; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.simulators.kit.kernels import helper
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.caches import (
    CacheState,
)
from archgym.simulators.moe.kernel.link import (
    IS_STAGED,
    NOTHING,
    ON_LINK,
    clear_for_demand,
    finish_transfer,
    from_drive,
)
from archgym.simulators.moe.kernel.state import State, whole
from archgym.simulators.moe.machine import columns as col

Array = npt.NDArray[Any]

_CPU_ALWAYS = 2  # CpuRule.ALWAYS


@helper
def padded(choices: Array, tokens: int) -> int:
    """Return tokens as a kernel computes them: whole tiles."""
    tile = choices[col.TILE]
    # Nearly all experts have few tokens, and a division takes longer than all else here.
    if tokens <= tile:
        return int(tile)
    return int((tokens + tile - 1) // tile * tile)


@helper
def experts_time(costs: Array, n_experts: int, n_padded: int, n_routed: int) -> float:
    """Return the roofline time of experts that run as one kernel, without its fixed cost [ns]."""
    weights = n_experts * costs[col.EXPERT_WEIGHT_NS]
    return float(
        max(weights, n_padded * costs[col.EXPERT_TOKEN_NS]) + n_routed * costs[col.ROUTED_TOKEN_NS]
    )


@helper
def padding_rows(choices: Array, n_slots: int) -> float:
    """Return the rows of padding that products of several experts compute, used or not.

    Products that pad each expert to whole tiles have room for a tile less a row of each.
    """
    return float(n_slots * max(0, choices[col.PADDED_ROWS] - 1))


@helper
def unlike_share(choices: Array, n_tokens: float) -> float:
    """Return the experts that a step's tokens use over those of tokens that all choose alone.

    Of n tokens, one and a share of the others choose on their own (`independent_permille`); the
    others ask for the same experts as these. Expectations are those of uniform choices.
    """
    if choices[col.INDEPENDENT_PERMILLE] >= 1000 or n_tokens <= 1.0:
        return 1.0
    rest = 1.0 - choices[col.TOP_K] / choices[col.N_EXPERTS]
    if rest <= 0.0:
        return 1.0
    unlike = 1.0 + (n_tokens - 1.0) * choices[col.INDEPENDENT_PERMILLE] / 1000.0
    return float((1.0 - rest**unlike) / (1.0 - rest**n_tokens))


@helper
def resident_time(
    costs: Array, choices: Array, n_experts: float, n_padded: float, n_routed: float
) -> float:
    """Return the roofline of experts that are all in the accelerator's memory [ns]."""
    n_experts *= unlike_share(choices, n_routed * choices[col.N_ROUNDS] / choices[col.TOP_K])
    rows = padding_rows(choices, choices[col.N_EXPERTS])
    products = n_padded * costs[col.EXPERT_TOKEN_NS]
    if rows > 0.0:
        products = (n_routed + rows) * costs[col.PADDED_TOKEN_NS]
    return float(
        max(n_experts * costs[col.EXPERT_WEIGHT_NS], products)
        + n_routed * costs[col.ROUTED_TOKEN_NS]
        + rows * costs[col.PADDED_ROW_NS]
    )


@helper
def _runs_on_host(costs: Array, choices: Array, tokens: int, load_ns: float) -> bool:
    """Return True if a missing expert runs on the host.

    Source:
      Kamahori et al., *Fiddler*, ICLR 2025: on the host where that is quicker than bringing the
      weights and computing.
    """
    rule = choices[col.CPU_RULE]
    if rule == 0:
        return False
    if rule == _CPU_ALWAYS:
        return True
    here = (
        load_ns
        + experts_time(costs, whole(1), padded(choices, tokens), tokens)
        + costs[col.LAUNCH_NS]
    )
    return bool(cpu_time(costs, tokens) < here)


@helper
def cpu_time(costs: Array, tokens: int) -> float:
    """Return one expert on the host's processor [ns]."""
    return float(
        costs[col.CPU_FIXED_NS] + max(costs[col.CPU_WEIGHT_NS], tokens * costs[col.CPU_TOKEN_NS])
    )


@helper
def miss(
    costs: Array,
    choices: Array,
    state: State,
    cache: CacheState,
    counters: Array,
    event: int,
    gate: float,
    compute_end: float,
    n_missed: int,
    n_loaded: int,
    n_places: int,
    ideal: float,
) -> tuple[int, float]:
    """Load missing experts or run them on the host; return the loaded blocks and the end [ns]."""
    n_experts = choices[col.N_EXPERTS]
    clocks = state.clocks
    layer = event // choices[col.N_ROUNDS]
    base = event * n_experts
    there_end = compute_end
    host_end = gate
    waited = 0.0
    if choices[col.PREFETCH] > 0:
        waited = clear_for_demand(costs, choices, state, cache, counters, n_experts, gate, event)
    is_low = choices[col.HAS_LOW] == 1
    load_ns = costs[col.LOW_LOAD_NS] if is_low else costs[col.LOAD_NS]
    if choices[col.OVERLAPS] == 0:
        clocks[st.LINK] = max(clocks[st.LINK], compute_end)
    drive_wait = place_wait = 0.0
    n_brought = 0
    on_host_tokens = 0
    # A transfer in progress comes first; it is the head of the ring.
    for turn in range(2):
        for place in range(n_missed):
            block = state.experts[st.MISSED, place]
            if block < 0:
                continue
            status = state.blocks[st.FETCH, block]
            if turn == 0 and status != ON_LINK:
                continue
            state.experts[st.MISSED, place] = -1
            expert = block - layer * n_experts
            tokens = whole(state.counts[base + expert])
            arrived = gate
            if turn == 0:
                ring = state.ring_block.shape[0]
                slot = state.blocks[st.FETCH_SLOT, block] & (ring - 1)
                left = state.ring[st.LEFT, slot]
                clocks[st.LINK] += left
                counters[col.H2D_BUSY_NS] += left
                finish_transfer(choices, state, block)
                state.blocks[st.FETCH_EVENT, block] = event
                arrived = clocks[st.LINK]
            elif status == IS_STAGED or cache.resident[block] == 1:
                # It arrived while the demand waited in a queue.
                state.blocks[st.FETCH_EVENT, block] = event
                arrived = clocks[st.LINK]
            elif _runs_on_host(costs, choices, tokens, load_ns + costs[col.LOAD_FIXED_NS]):
                state.blocks[st.FETCH, block] = NOTHING
                ready = from_drive(costs, choices, state, counters, block, gate)
                if on_host_tokens == 0:
                    clocks[st.CPU] = gate + costs[col.TO_HOST_FIXED_NS]
                move = tokens * costs[col.TO_HOST_TOKEN_NS]
                counters[col.D2H_BUSY_NS] += move
                time = cpu_time(costs, tokens)
                clocks[st.CPU] = max(clocks[st.CPU] + move, ready) + time
                counters[col.CPU_BUSY_NS] += time
                counters[col.N_CPU] += 1
                counters[col.TO_HOST_TOKENS] += tokens
                on_host_tokens += tokens
                continue
            else:
                state.blocks[st.FETCH, block] = NOTHING
                if state.blocks[st.UNUSED, block] == 1:
                    state.blocks[st.UNUSED, block] = 0
                    counters[col.N_WASTED] += 1
                start = clocks[st.LINK]
                ready = from_drive(costs, choices, state, counters, block, gate)
                if ready > start:
                    drive_wait += ready - start
                    start = ready
                if n_brought >= n_places and state.finish[n_brought - n_places] > start:
                    place_wait += state.finish[n_brought - n_places] - start
                    start = state.finish[n_brought - n_places]
                    counters[col.N_STREAMED] += 1
                clocks[st.LINK] = start + costs[col.LOAD_FIXED_NS] + load_ns
                counters[col.H2D_BUSY_NS] += costs[col.LOAD_FIXED_NS] + load_ns
                counters[col.N_DEMAND_LOW if is_low else col.N_DEMAND] += 1
                state.blocks[st.LOW, block] = choices[col.HAS_LOW]
                arrived = clocks[st.LINK]
            if is_low and state.blocks[st.LOW, block] == 1:
                counters[col.N_DEGRADED] += tokens
            if state.blocks[st.UNUSED, block] == 1:
                state.blocks[st.UNUSED, block] = 0
                counters[col.N_USEFUL] += 1
            if cache.resident[block] == 0:
                state.experts[st.LOADED, n_loaded] = block
                n_loaded += 1
            time = costs[col.LAUNCH_NS] + experts_time(
                costs, whole(1), padded(choices, tokens), tokens
            )
            if choices[col.OVERLAPS] == 1:
                compute_end = max(compute_end, arrived) + time
            else:
                compute_end += time
            state.finish[n_brought] = compute_end
            n_brought += 1
            counters[col.COMPUTE_BUSY_NS] += time
    if choices[col.OVERLAPS] == 0 and n_brought > 0:
        compute_end += max(0.0, clocks[st.LINK] - there_end)
    end = compute_end
    if on_host_tokens > 0:
        move = on_host_tokens * costs[col.FROM_HOST_TOKEN_NS]
        host_end = clocks[st.CPU] + costs[col.TO_HOST_FIXED_NS] + move
        end = max(end, host_end)
    _blame(
        counters,
        max(0.0, end - gate - ideal),
        host_end - compute_end,
        waited,
        drive_wait,
        place_wait,
    )
    return n_loaded, end


@helper
def _blame(
    counters: Array,
    stall: float,
    host_longer: float,
    waited: float,
    drive_wait: float,
    place_wait: float,
) -> None:
    """Divide a stall among its causes, each at most as long as it lasted."""
    if host_longer > 0.0:
        part = min(stall, host_longer)
        counters[col.STALL_CPU_NS] += part
        stall -= part
    part = min(stall, waited)
    counters[col.STALL_PREFETCH_NS] += part
    stall -= part
    part = min(stall, drive_wait)
    counters[col.STALL_SSD_NS] += part
    stall -= part
    part = min(stall, place_wait)
    counters[col.STALL_PLACES_NS] += part
    counters[col.STALL_LOAD_NS] += stall - part
