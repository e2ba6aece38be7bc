"""Serving in steps: vLLM's scheduler on workers, tiers of memory, and sessions that wait.

The scheduler is first come first served, with chunked prefill and preemption by recomputation. A
step has a fixed length, or that of the `moe` simulator's serving clock. Steps in which the same
requests only decode are added up at once.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import compiled, entry_point
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.kernel.layout import Arrivals, Blocks
from archgym.simulators.kv.kernel.pool import (
    FREE,
    LOGGED,
    NOW,
    Pool,
    Traits,
    allocate,
    fits,
    look_up,
    name,
    release,
    touch,
)
from archgym.simulators.kv.kernel.store import (
    N_TIERS,
    Store,
    carry,
    store_block,
    tier_of,
    touch_block,
)
from archgym.simulators.moe.kernel.state import (
    DECODE_CONTEXT,
    DECODE_PAIRS,
    N_DECODE,
    N_LOGITS,
    N_PROMPT,
    N_PROMPTS,
    N_WRITTEN,
    PROMPT_CONTEXT,
    PROMPT_PAIRS,
    State,
)
from archgym.simulators.moe.kernel.steps import step_ns

Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_ROUND_ROBIN, _LEAST_LOADED, _PREFIX_AWARE, _STICKY = range(4)
# Entries of `Rules.chosen`.
(
    POLICY, TIER_POLICY, ROUTE, BLOCK, BUDGET, MAX_SEQS, WRITES_THROUGH, IS_LAYERWISE,
    PREFETCHES, IS_CLOSED, LIVE, STAGGER_MS, STEP_MS, RESERVES, IS_SINGLE, IS_SPREAD,
) = range(16)  # fmt: skip
N_CHOSEN: Final = 16
PREEMPTIONS, STEPS, PEAK, SCHEDULED, LOGGED_STEPS = range(5)
N_TOTALS: Final = 5
_MOST_AT_ONCE: Final = 256  # chosen: contexts grow by so little that the middle one stands for all.
_NEVER: Final = 1e300


class Clock(NamedTuple):
    """Arguments of the serving clock; see `moe.machine.step_time.StepCosts`."""

    costs: Floats
    choices: Ints
    state: State
    table: Floats
    counters: Floats
    contents: Floats


class Fleet(NamedTuple):
    """State of `w` workers and `n` requests.

    Attributes:
      running: (w, max_seqs), running requests in the order of admission.
      planned: (w, max_seqs), tokens of running requests in the step under way.
      n_running, n_planned, n_waiting, head: (w,).
      n_steps: (w,), steps that the step under way stands for.
      waiting: (w, n + 1), ring of waiting requests.
      busy_until: (w,), end of the step under way [ms], or `_NEVER`.
      busy_ms: (w,), time of all steps [ms].
      contents: (w, N_CONTENTS), contents of the step under way.
      load: (w,), tokens of requests that are not computed yet.
      held: Blocks of requests.
      held_at: (n + 1,), first entry of a request in `held`.
      n_held, named: (n,), blocks that it holds, and those of them that have their identity.
      done, length: (n,), tokens that are computed, and those of prompt and output so far.
      ready: (n,), time at which a request may be issued, then that of its arrival [ms].
      loaded_at: (n,), time at which its blocks are there [ms].
      worker: (n,), worker that it runs on, or -1.
      n_before: (n,), requests that must end before.
      hits, loaded: (n,), blocks that were hits and that were loaded; hits -1 for rejected ones.
      admitted, first, last: (n,), times of the first admission, of the first and of the last token
        [ms]; -1 for rejected requests.
      heap, place, key: (n,), requests to come, by their time.
      left: (n_sessions,), requests of a session that have not ended.
    """

    running: Ints
    planned: Ints
    n_running: Ints
    n_planned: Ints
    n_waiting: Ints
    head: Ints
    n_steps: Ints
    waiting: Ints
    busy_until: Floats
    busy_ms: Floats
    contents: Floats
    load: Ints
    held: Shorts
    held_at: Ints
    n_held: Ints
    named: Ints
    done: Ints
    length: Ints
    ready: Floats
    loaded_at: Floats
    worker: Shorts
    n_before: Ints
    hits: Ints
    loaded: Ints
    admitted: Floats
    first: Floats
    last: Floats
    heap: Shorts
    place: Shorts
    key: Ints
    left: Ints


class Order(NamedTuple):
    """Order of requests in sessions; see `formats.stream.Dependencies`.

    Attributes:
      start, to, delay_ms: Successors of each request.
      session: (n,), session of a request.
      root_start, roots: Requests that wait for no other, session by session.
      root_ms: (n,), time from the session's start to such a request [ms].
    """

    start: Ints
    to: Ints
    delay_ms: Ints
    session: Shorts
    root_start: Ints
    roots: Ints
    root_ms: Ints


@compiled
def _pool_of(pools: Pool, worker: int) -> Pool:
    """Return the pool of one worker, whose arrays are rows of those of all workers."""
    return Pool(
        pools.references[worker], pools.identity[worker], pools.after[worker], pools.before[worker],
        pools.twin_after[worker], pools.twin_before[worker], pools.first[worker],
        pools.last[worker], pools.key[worker], pools.place[worker], pools.side[worker],
        pools.is_new[worker], pools.heap0[worker], pools.heap1[worker], pools.uses[worker],
        pools.ghost[worker], pools.state[worker], pools.log[worker],
    )  # fmt: skip


@compiled
def _issue(fleet: Fleet, request: int, at: float, n_coming: Ints) -> None:
    """Let a request arrive at a time."""
    fleet.ready[request] = at
    # Microseconds, then the order of the stream.
    fleet.key[request] = (np.int64(at * 1e3) << 22) + request
    n_coming[0] = push(fleet.heap, fleet.place, fleet.key, n_coming[0], request)


@compiled
def _start_session(fleet: Fleet, order: Order, session: int, at: float, n_coming: Ints) -> None:
    for i in range(order.root_start[session], order.root_start[session + 1]):
        root = order.roots[i]
        _issue(fleet, root, at + order.root_ms[root], n_coming)


@compiled
def _route(
    fleet: Fleet,
    pools: Pool,
    blocks: Blocks,
    chosen: Ints,
    order: Order,
    request: int,
    n_routed: int,
) -> Any:
    """Return the worker of a request."""
    n = fleet.load.shape[0]
    if n == 1:
        return 0
    route = chosen[ROUTE]
    if route == _ROUND_ROBIN:
        return n_routed % n
    if route == _STICKY:
        return order.session[request] % n
    best, least = 0, np.int64(2**62)
    for worker in range(n):
        cost = fleet.load[worker]
        if route == _PREFIX_AWARE:
            pool = _pool_of(pools, worker)
            base = blocks.start[request]
            found = look_up(pool, blocks.chain, base, blocks.eligible[request])
            # Tokens to compute here, and those that come first.
            cost += (blocks.need[request] - found) * chosen[BLOCK]
        if cost < least:
            best, least = worker, cost
    return best


@compiled
def _find_loads(store: Store, blocks: Blocks, request: int, hits: int, limit: int) -> Any:
    """Return how many blocks after the hits the tiers hold without a gap."""
    base = blocks.start[request]
    n = 0
    while hits + n < limit and tier_of(store, blocks.chain[base + hits + n]) >= 0:
        n += 1
    return n


@compiled
def _load(
    fleet: Fleet, store: Store, blocks: Blocks, chosen: Ints, request: int, low: int, n: int,
    now: float,
) -> None:  # fmt: skip
    """Load blocks of a request from the tiers, and note when they are there."""
    base = blocks.start[request]
    for tier in range(N_TIERS):
        count = 0
        for k in range(low, low + n):
            if tier_of(store, blocks.chain[base + k]) == tier:
                count += 1
                touch_block(store, chosen[TIER_POLICY], tier, blocks.chain[base + k])
        if count > 0:
            store.read[tier] += count
            end = carry(store, tier, count, now)
            fleet.loaded_at[request] = max(fleet.loaded_at[request], end)


@compiled
def _save_evicted(pool: Pool, store: Store, chosen: Ints, now: float) -> None:
    """Store what the pool has evicted since the last call."""
    for i in range(pool.state[LOGGED]):
        store_block(store, chosen[TIER_POLICY], pool.log[i], 0, now)
    pool.state[LOGGED] = 0


@compiled
def _grow(
    fleet: Fleet, pool: Pool, blocks: Blocks, chosen: Ints, request: int, hits: int, upto: int,
    known: int,
) -> Any:  # fmt: skip
    """Give a request blocks for `upto` tokens, and name the full ones of `known` tokens."""
    block = chosen[BLOCK]
    base, to, held = blocks.start[request], fleet.held_at[request], fleet.n_held[request]
    total = max((upto + block - 1) // block, held)
    if not fits(pool, blocks.chain, base, total, hits, held):
        return False
    if hits > 0:
        touch(pool, chosen[POLICY], blocks.chain, base, fleet.held, to, hits)
        held = hits
        fleet.named[request] = hits
    allocate(pool, chosen[POLICY], fleet.held, to + held, total - held)
    fleet.n_held[request] = total
    n_full = blocks.start[request + 1] - base
    until = min(min(upto, known) // block, n_full)
    for k in range(fleet.named[request], until):
        name(pool, chosen[POLICY], fleet.held[to + k], blocks.chain[base + k])
    fleet.named[request] = max(until, fleet.named[request])
    return True


@compiled
def _free(
    fleet: Fleet, pool: Pool, blocks: Blocks, traits: Traits, chosen: Ints, request: int, now: float
) -> None:
    pool.state[NOW] = np.int64(now)
    traits.last_seen[traits.agent[request]] = pool.state[NOW]
    to, n = fleet.held_at[request], fleet.n_held[request]
    release(pool, chosen[POLICY], blocks, traits, request, fleet.held, to, n)
    fleet.n_held[request] = 0


@compiled
def _end_step(
    fleet: Fleet,
    pool: Pool,
    store: Store,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    order: Order,
    chosen: Ints,
    worker: int,
    now: float,
    n_coming: Ints,
    next_session: Ints,
) -> Any:
    """Take in what a step has computed, and return the number of requests that ended."""
    kept, ended = 0, 0
    n_steps = fleet.n_steps[worker]
    for at in range(fleet.n_running[worker]):
        request = fleet.running[worker, at]
        fleet.running[worker, kept] = request
        kept += 1
        tokens = fleet.planned[worker, at]
        if at >= fleet.n_planned[worker] or tokens == 0:
            continue
        fleet.load[worker] -= max(tokens, n_steps)
        fleet.done[request] += tokens
        if fleet.done[request] < fleet.length[request]:
            continue
        if fleet.length[request] == arrivals.prompt[request]:
            fleet.first[request] = now
        fleet.length[request] += n_steps
        fleet.done[request] = fleet.length[request] - 1
        if fleet.length[request] - arrivals.prompt[request] < arrivals.output[request]:
            continue
        fleet.last[request] = now
        ended += 1
        kept -= 1
        if chosen[WRITES_THROUGH]:
            for at_block in range(blocks.start[request], blocks.start[request + 1]):
                identity = blocks.chain[at_block]
                if tier_of(store, identity) < 0:
                    store_block(store, chosen[TIER_POLICY], identity, traits.is_last[request], now)
        _free(fleet, pool, blocks, traits, chosen, request, now)
        _go_on(fleet, order, chosen, request, now, n_coming, next_session)
    fleet.n_running[worker] = kept
    fleet.n_planned[worker] = 0
    return ended


@compiled
def _preempt(
    fleet: Fleet, pool: Pool, blocks: Blocks, traits: Traits, chosen: Ints, worker: int, now: float
) -> Any:
    """Take the blocks of the last running request away, and return it."""
    fleet.n_running[worker] -= 1
    victim = fleet.running[worker, fleet.n_running[worker]]
    _free(fleet, pool, blocks, traits, chosen, victim, now)
    fleet.load[worker] += fleet.done[victim]
    fleet.done[victim] = fleet.named[victim] = 0
    fleet.head[worker] = (fleet.head[worker] - 1) % fleet.waiting.shape[1]
    fleet.waiting[worker, fleet.head[worker]] = victim
    fleet.n_waiting[worker] += 1
    return victim


@compiled
def _add(clock: Clock, before: int, tokens: int, length: int, prompt: int, n_steps: int) -> None:
    """Add what a request does in a step to the step's contents."""
    contents = clock.contents
    if before >= prompt and tokens == 1:
        context = before + 1 + 0.5 * (n_steps - 1)
        contents[N_WRITTEN] += 1
        contents[N_DECODE] += 1
        contents[DECODE_CONTEXT] += context
        contents[DECODE_PAIRS] += context
        contents[N_LOGITS] += 1
        return
    contents[N_PROMPT] += tokens
    contents[N_PROMPTS] += 1
    contents[PROMPT_CONTEXT] += before + tokens
    contents[PROMPT_PAIRS] += tokens * before + 0.5 * tokens * (tokens + 1.0)
    contents[N_LOGITS] += 1 if before + tokens == length else 0


@compiled
def _step_ms(fleet: Fleet, clock: Clock, chosen: Ints, worker: int) -> Any:
    """Return the time of a worker's step with the contents of the clock [ms].

    Where workers share experts, those of the others' steps under way go through them too.
    """
    if chosen[STEP_MS] > 0:
        return float(chosen[STEP_MS])
    for column in range(clock.contents.shape[0]):
        fleet.contents[worker, column] = clock.contents[column]
        for each in range(fleet.busy_until.shape[0]):
            if chosen[IS_SPREAD] and each != worker and fleet.busy_until[each] < _NEVER:
                clock.contents[column] += fleet.contents[each, column]
    return 1e-6 * step_ns(
        clock.costs, clock.choices, clock.state, clock.table, clock.counters, clock.contents, 0.0
    )


@compiled
def _note(log: Ints, totals: Ints, now: float, request: int, tokens: int) -> None:
    """Log the tokens of a request in a step, -1 for a preemption."""
    n = totals[LOGGED_STEPS]
    if n < log.shape[0]:
        log[n, 0], log[n, 1], log[n, 2] = np.int64(now), request, tokens
        totals[LOGGED_STEPS] = n + 1


@compiled
def _begin_step(
    fleet: Fleet,
    pool: Pool,
    store: Store,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    chosen: Ints,
    clock: Clock,
    worker: int,
    now: float,
    horizon: float,
    totals: Ints,
    log: Ints,
) -> None:
    """Plan the next step of a worker, and set when it ends."""
    block, left, at = chosen[BLOCK], chosen[BUDGET], 0
    is_preempting, has_prompts = False, False
    pending = _NEVER
    pool.state[NOW] = np.int64(now)
    running, planned = fleet.running[worker], fleet.planned[worker]
    clock.contents[:] = 0.0
    while at < fleet.n_running[worker] and left > 0:
        request = running[at]
        planned[at] = 0
        if not chosen[IS_LAYERWISE] and fleet.loaded_at[request] > now:
            pending = min(pending, fleet.loaded_at[request])
            at += 1
            continue
        tokens = min(fleet.length[request] - fleet.done[request], left)
        upto = fleet.done[request] + tokens
        has_room = True
        while not _grow(fleet, pool, blocks, chosen, request, 0, upto, fleet.length[request]):
            is_preempting = True
            totals[PREEMPTIONS] += 1
            victim = _preempt(fleet, pool, blocks, traits, chosen, worker, now)
            _note(log, totals, now, victim, -1)
            if victim == request:
                has_room = False
                break
        if not has_room:
            break
        planned[at] = tokens
        left -= tokens
        has_prompts = has_prompts or fleet.done[request] < arrivals.prompt[request] or tokens > 1
        at += 1
    n_planned = at
    while (
        not is_preempting and left > 0 and fleet.n_waiting[worker] > 0
        and fleet.n_running[worker] < chosen[MAX_SEQS]
    ):  # fmt: skip
        request = fleet.waiting[worker, fleet.head[worker]]
        base, length = blocks.start[request], fleet.length[request]
        limit = min((length - 1) // block, blocks.start[request + 1] - base)
        hits = look_up(pool, blocks.chain, base, limit)
        n_loaded = _find_loads(store, blocks, request, hits, limit)
        cached = block * (hits + n_loaded)
        tokens = min(length - cached, left)
        whole = (length + block - 1) // block
        if chosen[RESERVES] and not fits(pool, blocks.chain, base, whole, hits, 0):
            break
        if not _grow(fleet, pool, blocks, chosen, request, hits, cached + tokens, length):
            break
        if n_loaded > 0:
            _load(fleet, store, blocks, chosen, request, hits, n_loaded, now)
        fleet.head[worker] = (fleet.head[worker] + 1) % fleet.waiting.shape[1]
        fleet.n_waiting[worker] -= 1
        running[fleet.n_running[worker]] = request
        fleet.n_running[worker] += 1
        n_planned = fleet.n_running[worker]
        fleet.done[request] = cached
        fleet.load[worker] -= cached
        if fleet.hits[request] < 0:
            fleet.hits[request], fleet.loaded[request] = hits, n_loaded
            fleet.admitted[request] = now
        is_waiting = not chosen[IS_LAYERWISE] and fleet.loaded_at[request] > now
        planned[n_planned - 1] = 0 if is_waiting else tokens
        if is_waiting:
            pending = min(pending, fleet.loaded_at[request])
        else:
            left -= tokens
            has_prompts = True
    totals[PEAK] = max(totals[PEAK], fleet.n_running[worker])
    fleet.n_planned[worker] = n_planned
    n_steps: Any = np.int64(_MOST_AT_ONCE)
    n_active = 0
    for at in range(n_planned):
        request = running[at]
        if planned[at] == 0:
            continue
        n_active += 1
        produced = fleet.length[request] - arrivals.prompt[request]
        n_steps = min(n_steps, arrivals.output[request] - produced)
        _add(
            clock, fleet.done[request], planned[at], fleet.length[request],
            arrivals.prompt[request], 1,
        )  # fmt: skip
    if n_active == 0:
        fleet.contents[worker, :] = 0.0
        fleet.busy_until[worker] = pending
        fleet.n_steps[worker] = 0
        return
    took = _step_ms(fleet, clock, chosen, worker)
    if has_prompts or is_preempting or chosen[IS_SINGLE]:
        n_steps = 1
    else:
        n_steps = max(1, min(n_steps, np.int64((min(horizon, pending) - now) / took)))
        n_steps = _fitting(fleet, pool, block, worker, n_planned, n_steps)
    if n_steps > 1:
        clock.contents[:] = 0.0
        for at in range(n_planned):
            request = running[at]
            if planned[at] == 0:
                continue
            upto = fleet.done[request] + n_steps
            _grow(fleet, pool, blocks, chosen, request, 0, upto, upto)
            _add(
                clock, fleet.done[request], 1, fleet.length[request], arrivals.prompt[request],
                n_steps,
            )  # fmt: skip
        took = _step_ms(fleet, clock, chosen, worker)
    end = now + took * n_steps
    if chosen[IS_LAYERWISE]:
        # Layers are computed as they arrive: a step ends after its loads do.
        for at in range(n_planned):
            end = max(end, fleet.loaded_at[running[at]])
    fleet.n_steps[worker] = n_steps
    fleet.busy_ms[worker] += end - now
    fleet.busy_until[worker] = end
    totals[STEPS] += n_steps
    for at in range(n_planned):
        if planned[at] > 0:
            totals[SCHEDULED] += planned[at] if n_steps == 1 else n_steps
            _note(log, totals, now, running[at], planned[at])


@compiled
def _fitting(
    fleet: Fleet, pool: Pool, block: int, worker: int, n_planned: int, n_steps: int
) -> Any:
    """Return how many steps of decoding the free blocks allow, at most `n_steps`."""
    while n_steps > 1:
        wanted = 0
        for at in range(n_planned):
            request = fleet.running[worker, at]
            if fleet.planned[worker, at] > 0:
                upto = fleet.done[request] + n_steps
                wanted += max(0, (upto + block - 1) // block - fleet.n_held[request])
        if wanted <= pool.state[FREE]:
            break
        n_steps //= 2
    return n_steps


@entry_point(40.0)
def serve(
    fleet: Fleet,
    pools: Pool,
    store: Store,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    order: Order,
    chosen: Ints,
    clock: Clock,
    totals: Ints,
    counters: Ints,
    log: Ints,
) -> None:
    """Serve all requests.

    Args:
      fleet: Workers and requests, all at rest.
      pools: Pools of all workers; arrays have a first axis of workers.
      store: Tiers below.
      blocks, traits, arrivals, order: The stream.
      chosen: (N_CHOSEN,), choices of the design.
      clock: Serving clock.
      totals: (N_TOTALS,), filled.
      counters: (2,), zeros: requests to come, and the next session.
      log: (n_entries, 3), filled with time, request and tokens of each step.
    """
    n, n_workers = arrivals.time.shape[0], fleet.load.shape[0]
    n_coming, next_session = counters[:1], counters[1:]
    capacity = pools.references.shape[1]
    n_left, n_routed = n, 0
    if chosen[IS_CLOSED]:
        while next_session[0] < min(chosen[LIVE], fleet.left.shape[0]):
            at = float(next_session[0] * chosen[STAGGER_MS])
            _start_session(fleet, order, next_session[0], at, n_coming)
            next_session[0] += 1
    else:
        for request in range(n):
            _issue(fleet, request, float(arrivals.time[request]), n_coming)
    while n_left > 0:
        worker = 0
        for each in range(1, n_workers):
            if fleet.busy_until[each] < fleet.busy_until[worker]:
                worker = each
        arrival = _NEVER
        if n_coming[0] > 0:
            arrival = fleet.ready[fleet.heap[0]]
        if arrival <= fleet.busy_until[worker]:
            if arrival >= _NEVER:
                break
            request = fleet.heap[0]
            n_coming[0] = remove(fleet.heap, fleet.place, fleet.key, n_coming[0], request)
            fleet.length[request] = arrivals.prompt[request]
            if blocks.need[request] > capacity:
                fleet.length[request] = 0
                n_left -= 1
                _go_on(fleet, order, chosen, request, arrival, n_coming, next_session)
                continue
            to = _route(fleet, pools, blocks, chosen, order, request, n_routed)
            n_routed += 1
            fleet.worker[request] = to
            fleet.load[to] += arrivals.prompt[request] + arrivals.output[request]
            ring = fleet.waiting.shape[1]
            fleet.waiting[to, (fleet.head[to] + fleet.n_waiting[to]) % ring] = request
            fleet.n_waiting[to] += 1
            if chosen[PREFETCHES]:
                pool = _pool_of(pools, to)
                eligible = blocks.eligible[request]
                hits = look_up(pool, blocks.chain, blocks.start[request], eligible)
                found = _find_loads(store, blocks, request, hits, eligible)
                _promote(store, blocks, chosen, request, hits, found, arrival)
            if fleet.busy_until[to] >= _NEVER:
                step = chosen[STEP_MS]
                fleet.busy_until[to] = np.ceil(arrival / step) * step if step > 0 else arrival
                fleet.n_steps[to] = 0
            continue
        now = fleet.busy_until[worker]
        pool = _pool_of(pools, worker)
        n_left -= _end_step(
            fleet, pool, store, blocks, traits, arrivals, order, chosen, worker, now, n_coming,
            next_session,
        )  # fmt: skip
        horizon = _NEVER
        if n_coming[0] > 0:
            horizon = fleet.ready[fleet.heap[0]]
        for each in range(n_workers):
            if each != worker:
                horizon = min(horizon, fleet.busy_until[each])
        _begin_step(
            fleet, pool, store, blocks, traits, arrivals, chosen, clock, worker, now, horizon,
            totals, log,
        )  # fmt: skip
        if not chosen[WRITES_THROUGH]:
            _save_evicted(pool, store, chosen, now)
        pool.state[LOGGED] = 0


@compiled
def _promote(
    store: Store, blocks: Blocks, chosen: Ints, request: int, low: int, n: int, now: float
) -> None:
    """Copy blocks of a request that returns from lower tiers to the first one."""
    first = 0
    while first < N_TIERS - 1 and store.capacity[first] == 0:
        first += 1
    base = blocks.start[request]
    for k in range(low, low + n):
        identity = blocks.chain[base + k]
        tier = tier_of(store, identity)
        if tier > first:
            store.read[tier] += 1
            carry(store, tier, 1, now)
            store_block(store, chosen[TIER_POLICY], identity, 0, now)


@compiled
def _go_on(
    fleet: Fleet, order: Order, chosen: Ints, request: int, now: float, n_coming: Ints,
    next_session: Ints,
) -> None:  # fmt: skip
    """Continue the session of a request that has ended or was rejected, if sessions wait."""
    if not chosen[IS_CLOSED]:
        return
    for edge in range(order.start[request], order.start[request + 1]):
        to = order.to[edge]
        fleet.ready[to] = max(fleet.ready[to], now + order.delay_ms[edge])
        fleet.n_before[to] -= 1
        if fleet.n_before[to] == 0:
            _issue(fleet, to, fleet.ready[to], n_coming)
    session = order.session[request]
    fleet.left[session] -= 1
    if fleet.left[session] == 0 and next_session[0] < fleet.left.shape[0]:
        _start_session(fleet, order, next_session[0], now, n_coming)
        next_session[0] += 1
