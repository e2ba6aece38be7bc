"""Serving in steps: vLLM's scheduler on workers, tiers of memory, and sessions that wait.

The scheduler is first come first served, with chunked prefill and preemption by recomputation. A
step has a fixed length, or that of the `moe` simulator's serving clock. Steps in which the same
requests only decode are added up at once. Where some workers read prompts alone, a request whose
prompt is read goes to one of the others, which takes its keys and values over.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.kv.kernel.heap import push, remove
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
from archgym.simulators.kv.workloads.arrays import (
    Arrivals,
    Blocks,
    Dependencies,
    Floats,
    Ints,
    Shorts,
)
from archgym.simulators.moe.kernel import state as st
from archgym.simulators.moe.kernel.step_time import StepCosts
from archgym.simulators.moe.kernel.steps import step_ns
from archgym.simulators.moe.machine.columns import FIRST_NS, WAIT_STEPS

_ROUND_ROBIN, _LEAST_LOADED, _PREFIX_AWARE, _STICKY = range(4)
# Entries of `Service.chosen`.
(
    TIER_POLICY, ROUTE, BLOCK, BUDGET, MAX_SEQS, WRITES_THROUGH, IS_LAYERWISE,
    PREFETCHES, IS_CLOSED, LIVE, STAGGER_MS, STEP_MS, RESERVES, IS_SPREAD, N_PREFILL,
) = range(15)  # fmt: skip
N_CHOSEN: Final = 15
PREEMPTIONS, STEPS, PEAK, SCHEDULED, LOGGED_STEPS, HANDED = range(6)
N_TOTALS: Final = 6
# Entries of `Service.counters`; the last two count what was routed to each pool of workers.
_N_COMING, _NEXT_SESSION, _ROUTED = range(3)
N_COUNTERS: Final = 4
_MOST_AT_ONCE: Final = 256  # chosen: contexts grow by so little that the middle one stands for all.
_NEVER: Final = 1e300


WORKER: Final = np.dtype(
    [
        # Requests: running, in the step under way, and waiting; the first of those in the ring.
        ("n_running", np.int64), ("n_planned", np.int64), ("n_waiting", np.int64),
        ("head", np.int64),
        ("n_steps", np.int64),  # that the step under way stands for
        ("busy_until", np.float64),  # end of the step under way [ms], or `_NEVER`
        ("busy_ms", np.float64),  # time of all steps
        ("pace_ms", np.float64),  # time of the last step without prompts
        ("link_free_at", np.float64),  # time at which the link from prefill workers has carried all
        ("load", np.int64),  # tokens of its requests that are not computed yet
    ]
)  # fmt: skip
"""State of a worker."""
REQUEST: Final = np.dtype(
    [
        ("held_at", np.int64),  # its first entry in `Fleet.held`
        ("n_held", np.int64), ("named", np.int64),  # blocks, and those that have their identity
        ("done", np.int64), ("length", np.int64),  # tokens: computed, and of prompt and output
        ("ready", np.float64),  # time at which it may be issued, then that of its arrival [ms]
        ("due", np.float64),  # time at which it is looked at next, while it is to come [ms]
        ("loaded_at", np.float64),  # time at which its blocks are there [ms]
        ("worker", np.int64),  # that it runs on, or -1
        ("is_handed", np.int64),  # 1 from the end of its prompt on a prefill worker to admission
        ("n_before", np.int64),  # requests that must end before
        ("hits", np.int64), ("loaded", np.int64),  # blocks; hits are -1 for rejected requests
        # Times of the first admission, of the first and last token [ms]; -1 for rejected requests.
        ("admitted", np.float64), ("first", np.float64), ("last", np.float64),
    ]
)  # fmt: skip
"""State of a request."""


class Fleet(NamedTuple):
    """State of `w` workers and `n` requests.

    Attributes:
      workers, requests: (w,) of `WORKER`, (n,) of `REQUEST`.
      running, planned: (w, max_seqs), running requests in the order of admission, and their tokens
        in the step under way.
      waiting: (w, n + 1), ring of waiting requests.
      contents: (w, N_CONTENTS), contents of the step under way.
      held: Blocks of requests.
      heap, place, key: (n,), requests to come, by `due`.
      left: (n_sessions,), requests of a session that have not ended.
    """

    workers: Any
    requests: Any
    running: Ints
    planned: Ints
    waiting: Ints
    contents: Floats
    held: Shorts
    heap: Shorts
    place: Shorts
    key: Ints
    left: Ints


class Order(NamedTuple):
    """Order of requests in sessions.

    Attributes:
      needs: Requests that wait for others.
      session: (n,), session of a request.
      root_start, roots: Requests that wait for no other, session by session.
      root_ms: (n,), time from the session's start to such a request [ms].
    """

    needs: Dependencies
    session: Shorts
    root_start: Ints
    roots: Ints
    root_ms: Ints


class Service(NamedTuple):
    """All that a run works on.

    Attributes:
      fleet: Workers and requests, all at rest.
      pools: Pools of all workers; arrays have a first axis of workers.
      store: Tiers below.
      blocks, traits, arrivals, order: The stream.
      chosen: (N_CHOSEN,), choices of the design.
      costs: Serving clock.
      contents: (N_CONTENTS,), contents of the step that is planned.
      hand_ms: Time that a block takes from a prefill worker to another [ms].
      totals: (N_TOTALS,), filled.
      counters: (N_COUNTERS,), zeros.
      log: (n_entries, 3), filled with time, request and tokens of each step.
    """

    fleet: Fleet
    pools: Pool
    store: Store
    blocks: Blocks
    traits: Traits
    arrivals: Arrivals
    order: Order
    chosen: Ints
    costs: StepCosts
    contents: Floats
    hand_ms: float
    totals: Ints
    counters: Ints
    log: Ints


@helper
def _pool_of(pools: Pool, worker: int) -> Pool:
    """Return the pool of one worker, whose arrays are rows of those of all workers."""
    return Pool(
        pools.references[worker], pools.identity[worker], pools.after[worker], pools.before[worker],
        pools.twin_after[worker], pools.twin_before[worker], pools.first[worker],
        pools.last[worker], pools.key[worker], pools.place[worker], pools.side[worker],
        pools.is_new[worker], pools.heap[worker], pools.uses[worker],
        pools.ghost[worker], pools.state[worker], pools.log[worker],
    )  # fmt: skip


@helper
def _issue(run: Service, request: int, at: float) -> None:
    """Look at a request at a time: it arrives, or may be scheduled."""
    fleet = run.fleet
    fleet.requests[request].due = at
    # Microseconds, then the order of the stream.
    fleet.key[request] = (np.int64(at * 1e3) << 22) + request
    n = push(fleet.heap, fleet.place, fleet.key, run.counters[_N_COMING], request)
    run.counters[_N_COMING] = n


@helper
def _start_session(run: Service, at: float) -> None:
    """Issue the first requests of the next session."""
    order, session = run.order, run.counters[_NEXT_SESSION]
    run.counters[_NEXT_SESSION] += 1
    for i in range(order.root_start[session], order.root_start[session + 1]):
        root = order.roots[i]
        _issue(run, root, at + order.root_ms[root])


@helper
def _go_on(run: Service, request: int, now: float) -> None:
    """Continue the session of a request that has ended or was rejected, if sessions wait."""
    fleet, order = run.fleet, run.order
    if not run.chosen[IS_CLOSED]:
        return
    for edge in range(order.needs.start[request], order.needs.start[request + 1]):
        to = order.needs.to[edge]
        fleet.requests[to].ready = max(fleet.requests[to].ready, now + order.needs.delay_ms[edge])
        fleet.requests[to].n_before -= 1
        if fleet.requests[to].n_before == 0:
            _issue(run, to, fleet.requests[to].ready)
    session = order.session[request]
    fleet.left[session] -= 1
    if fleet.left[session] == 0 and run.counters[_NEXT_SESSION] < fleet.left.shape[0]:
        _start_session(run, now)


@helper
def _route(run: Service, request: int) -> Any:
    """Return the worker of a request: prompts go to prefill workers, which are the last ones."""
    fleet, blocks, chosen = run.fleet, run.blocks, run.chosen
    is_prompt = chosen[N_PREFILL] > 0 and fleet.requests[request].is_handed == 0
    n_others = fleet.workers.shape[0] - chosen[N_PREFILL]
    low, n = (n_others, chosen[N_PREFILL]) if is_prompt else (0, n_others)
    routed = run.counters[_ROUTED + is_prompt]
    run.counters[_ROUTED + is_prompt] += 1
    route = chosen[ROUTE]
    if n == 1:
        return low
    if route == _ROUND_ROBIN:
        return low + routed % n
    if route == _STICKY:
        return low + run.order.session[request] % n
    best, least = low, np.int64(2**62)
    for worker in range(low, low + n):
        cost = fleet.workers[worker].load
        if route == _PREFIX_AWARE:
            pool = _pool_of(run.pools, worker)
            base = blocks.start[request]
            found = look_up(pool, blocks.chain, base, blocks.eligible[request])
            # Tokens to compute or to take over here, and those that come first.
            cost += (blocks.need[request] - found) * chosen[BLOCK]
        if cost < least:
            best, least = worker, cost
    return best


@helper
def _arrive(run: Service, now: float) -> Any:
    """Let the next request arrive or wait for its turn; return 1 if it is rejected."""
    fleet, blocks, chosen, costs = run.fleet, run.blocks, run.chosen, run.costs.costs
    request = fleet.heap[0]
    n_coming = remove(fleet.heap, fleet.place, fleet.key, run.counters[_N_COMING], request)
    run.counters[_N_COMING] = n_coming
    item, prompt = fleet.requests[request], run.arrivals.prompt[request]
    if item.worker < 0:
        is_handed = item.is_handed
        if not is_handed:
            item.ready = now
            if blocks.need[request] > run.pools.references.shape[1]:
                _go_on(run, request, now)
                return 1
            item.length = prompt
        to = _route(run, request)
        item.worker = to
        decodes = to < fleet.workers.shape[0] - chosen[N_PREFILL]
        fleet.workers[to].load += prompt + (run.arrivals.output[request] if decodes else 0)
        if chosen[PREFETCHES] and not is_handed:
            _promote(run, request, now)
        if chosen[STEP_MS] == 0:
            # As `moe` has it: handling, and some steps of those that decode.
            delay = 0.0 if is_handed else 1e-6 * costs[FIRST_NS]
            if fleet.workers[to].n_running > 0:
                delay += costs[WAIT_STEPS] * fleet.workers[to].pace_ms
            if delay > 0.0:
                _issue(run, request, now + delay)
                return 0
    to = item.worker
    own = fleet.workers[to]
    ring = fleet.waiting.shape[1]
    fleet.waiting[to, (own.head + own.n_waiting) % ring] = request
    own.n_waiting += 1
    if own.busy_until >= _NEVER:
        step = chosen[STEP_MS]
        own.busy_until = np.ceil(now / step) * step if step > 0 else now
        own.n_steps = 0
    return 0


@helper
def _find_loads(run: Service, request: int, hits: int, limit: int) -> Any:
    """Return how many blocks after the hits the tiers hold without a gap."""
    base = run.blocks.start[request]
    n = 0
    while hits + n < limit and tier_of(run.store, run.blocks.chain[base + hits + n]) >= 0:
        n += 1
    return n


@helper
def _load(run: Service, request: int, low: int, n: int, now: float) -> None:
    """Load blocks of a request from the tiers, and note when they are there."""
    fleet, store, chain = run.fleet, run.store, run.blocks.chain
    base = run.blocks.start[request]
    for tier in range(N_TIERS):
        count = 0
        for k in range(low, low + n):
            if tier_of(store, chain[base + k]) == tier:
                count += 1
                touch_block(store, run.chosen[TIER_POLICY], tier, chain[base + k])
        if count > 0:
            store.read[tier] += count
            end = carry(store, tier, count, now)
            fleet.requests[request].loaded_at = max(fleet.requests[request].loaded_at, end)


@helper
def _take_over(run: Service, worker: int, request: int, n: int, now: float) -> None:
    """Queue blocks of a request on the link from prefill workers, and note when they are there."""
    item, own = run.fleet.requests[request], run.fleet.workers[worker]
    start = max(now, own.link_free_at)
    own.link_free_at = start + n * run.hand_ms
    item.loaded_at = own.link_free_at
    run.totals[HANDED] += n


@helper
def _promote(run: Service, request: int, now: float) -> None:
    """Copy blocks of a request that returns from lower tiers to the first one."""
    store, blocks = run.store, run.blocks
    base, eligible = blocks.start[request], blocks.eligible[request]
    pool = _pool_of(run.pools, run.fleet.requests[request].worker)
    low = look_up(pool, blocks.chain, base, eligible)
    first = 0
    while first < N_TIERS - 1 and store.capacity[first] == 0:
        first += 1
    for k in range(low, low + _find_loads(run, request, low, eligible)):
        identity = blocks.chain[base + k]
        tier = tier_of(store, identity)
        if tier > first:
            store.read[tier] += 1
            carry(store, tier, 1, now)
            store_block(store, run.chosen[TIER_POLICY], identity, 0, now)


@helper
def _save(run: Service, request: int, n: int, now: float) -> None:
    """Store the first blocks of a request that no tier has, if blocks are written at once."""
    base = run.blocks.start[request]
    for k in range(n if run.chosen[WRITES_THROUGH] else 0):
        identity = run.blocks.chain[base + k]
        if tier_of(run.store, identity) < 0:
            is_done = run.traits.is_last[request]
            store_block(run.store, run.chosen[TIER_POLICY], identity, is_done, now)


@helper
def _save_evicted(run: Service, pool: Pool, now: float) -> None:
    """Store what the pool has evicted since the last call, if blocks are written then."""
    for i in range(0 if run.chosen[WRITES_THROUGH] else pool.state[LOGGED]):
        store_block(run.store, run.chosen[TIER_POLICY], pool.log[i], 0, now)
    pool.state[LOGGED] = 0


@helper
def _grow(run: Service, pool: Pool, request: int, hits: int, upto: int, known: int) -> Any:
    """Give a request blocks for `upto` tokens, and name the full ones of `known` tokens."""
    fleet, chain, block = run.fleet, run.blocks.chain, run.chosen[BLOCK]
    item, base = fleet.requests[request], run.blocks.start[request]
    to, held = item.held_at, item.n_held
    total = max((upto + block - 1) // block, held)
    if not fits(pool, chain, base, total, hits, held):
        return False
    if hits > 0:
        touch(pool, chain, base, fleet.held, to, hits)
        held = hits
        item.named = hits
    allocate(pool, fleet.held, to + held, total - held)
    item.n_held = total
    n_full = run.blocks.start[request + 1] - base
    until = min(min(upto, known) // block, n_full)
    for k in range(item.named, until):
        name(pool, fleet.held[to + k], chain[base + k])
    item.named = max(until, item.named)
    return True


@helper
def _free(run: Service, pool: Pool, request: int, now: float) -> None:
    """Take all blocks of a request away."""
    fleet, traits = run.fleet, run.traits
    pool.state[NOW] = np.int64(now)
    traits.last_seen[traits.agent[request]] = pool.state[NOW]
    to, n = fleet.requests[request].held_at, fleet.requests[request].n_held
    release(pool, run.blocks, traits, request, fleet.held, to, n)
    fleet.requests[request].n_held = 0


@helper
def _end_step(run: Service, pool: Pool, worker: int, now: float) -> Any:
    """Take in what a step has computed, and return the number of requests that ended."""
    fleet, arrivals, blocks = run.fleet, run.arrivals, run.blocks
    kept, ended, own = 0, 0, fleet.workers[worker]
    n_steps = own.n_steps
    is_prefill = worker >= fleet.workers.shape[0] - run.chosen[N_PREFILL]
    for at in range(own.n_running):
        request = fleet.running[worker, at]
        item = fleet.requests[request]
        fleet.running[worker, kept] = request
        kept += 1
        tokens = fleet.planned[worker, at]
        if at >= own.n_planned or tokens == 0:
            continue
        own.load -= max(tokens, n_steps)
        item.done += tokens
        if item.done < item.length:
            continue
        if is_prefill:
            kept -= 1
            _save(run, request, blocks.prompt[request], now)
            _free(run, pool, request, now)
            item.is_handed = 1
            item.worker = -1
            item.named = 0
            _issue(run, request, now)
            continue
        if item.length == arrivals.prompt[request]:
            item.first = now
        item.length += n_steps
        item.done = item.length - 1
        if item.length - arrivals.prompt[request] < arrivals.output[request]:
            continue
        item.last = now
        ended += 1
        kept -= 1
        _save(run, request, blocks.start[request + 1] - blocks.start[request], now)
        _free(run, pool, request, now)
        _go_on(run, request, now)
    own.n_running = kept
    own.n_planned = 0
    return ended


@helper
def _preempt(run: Service, pool: Pool, worker: int, now: float) -> Any:
    """Take the blocks of the last running request away, and return it."""
    fleet, own = run.fleet, run.fleet.workers[worker]
    own.n_running -= 1
    victim = fleet.running[worker, own.n_running]
    item = fleet.requests[victim]
    _free(run, pool, victim, now)
    own.load += item.done
    item.done = 0
    item.named = 0
    own.head = (own.head - 1) % fleet.waiting.shape[1]
    fleet.waiting[worker, own.head] = victim
    own.n_waiting += 1
    return victim


@helper
def _add(
    contents: Floats, before: int, tokens: int, length: int, prompt: int, n_steps: int
) -> None:
    """Add what a request does in a step to the step's contents."""
    if before >= prompt and tokens == 1:
        context = before + 1 + 0.5 * (n_steps - 1)
        contents[st.N_WRITTEN] += 1
        contents[st.N_DECODE] += 1
        contents[st.DECODE_CONTEXT] += context
        contents[st.DECODE_PAIRS] += context
        contents[st.N_LOGITS] += 1
        return
    contents[st.N_PROMPT] += tokens
    contents[st.N_PROMPTS] += 1
    contents[st.PROMPT_CONTEXT] += before + tokens
    contents[st.PROMPT_PAIRS] += tokens * before + 0.5 * tokens * (tokens + 1.0)
    contents[st.N_LOGITS] += 1 if before + tokens == length else 0


@helper
def _step_ms(run: Service, worker: int) -> Any:
    """Return the time of a worker's step with the contents that are planned [ms].

    Where workers share experts, those of the others' steps under way go through them too.
    """
    fleet, costs, contents = run.fleet, run.costs, run.contents
    if run.chosen[STEP_MS] > 0:
        return float(run.chosen[STEP_MS])
    for column in range(contents.shape[0]):
        fleet.contents[worker, column] = contents[column]
        for each in range(fleet.workers.shape[0]):
            if run.chosen[IS_SPREAD] and each != worker and fleet.workers[each].busy_until < _NEVER:
                contents[column] += fleet.contents[each, column]
    return 1e-6 * step_ns(
        costs.costs, costs.choices, costs.state, costs.table, costs.counters, contents, 0.0
    )


@helper
def _note(run: Service, now: float, request: int, tokens: int) -> None:
    """Log the tokens of a request in a step, -1 for a preemption."""
    log, n = run.log, run.totals[LOGGED_STEPS]
    if n < log.shape[0]:
        log[n, 0], log[n, 1], log[n, 2] = np.int64(now), request, tokens
        run.totals[LOGGED_STEPS] = n + 1


@helper
def _begin_step(run: Service, pool: Pool, worker: int, now: float, horizon: float) -> None:
    """Plan the next step of a worker, and set when it ends."""
    fleet, blocks, chosen, totals = run.fleet, run.blocks, run.chosen, run.totals
    contents, arrivals = run.contents, run.arrivals
    block, left, at = chosen[BLOCK], chosen[BUDGET], 0
    is_preempting, has_prompts = False, False
    pending = _NEVER
    pool.state[NOW] = np.int64(now)
    running, planned = fleet.running[worker], fleet.planned[worker]
    own = fleet.workers[worker]
    contents[:] = 0.0
    while at < own.n_running and left > 0:
        request = running[at]
        item = fleet.requests[request]
        planned[at] = 0
        if _waits(run, request, now):
            pending = min(pending, item.loaded_at)
            at += 1
            continue
        item.is_handed = 0
        tokens = min(item.length - item.done, left)
        upto = item.done + tokens
        has_room = True
        while not _grow(run, pool, request, 0, upto, item.length):
            is_preempting = True
            totals[PREEMPTIONS] += 1
            victim = _preempt(run, pool, worker, now)
            _note(run, now, victim, -1)
            if victim == request:
                has_room = False
                break
        if not has_room:
            break
        planned[at] = tokens
        left -= tokens
        has_prompts = has_prompts or item.done < arrivals.prompt[request] or tokens > 1
        at += 1
    n_planned = at
    while not is_preempting and left > 0 and own.n_waiting > 0 and own.n_running < chosen[MAX_SEQS]:
        request = fleet.waiting[worker, own.head]
        item = fleet.requests[request]
        base, length = blocks.start[request], item.length
        limit = min((length - 1) // block, blocks.start[request + 1] - base)
        hits = look_up(pool, blocks.chain, base, limit)
        n_loaded = _find_loads(run, request, hits, limit)
        cached = block * (hits + n_loaded)
        whole = (length + block - 1) // block
        if item.is_handed:
            # All but the last token, which gives the first one of the output, come over the link.
            n_loaded, cached = 0, length - 1
        tokens = min(length - cached, left)
        if chosen[RESERVES] and not fits(pool, blocks.chain, base, whole, hits, 0):
            break
        if not _grow(run, pool, request, hits, cached + tokens, length):
            break
        if item.is_handed:
            _take_over(run, worker, request, whole - hits, now)
        elif n_loaded > 0:
            _load(run, request, hits, n_loaded, now)
        own.head = (own.head + 1) % fleet.waiting.shape[1]
        own.n_waiting -= 1
        running[own.n_running] = request
        own.n_running += 1
        n_planned = own.n_running
        item.done = cached
        own.load -= cached
        if item.hits < 0:
            item.hits, item.loaded = hits, n_loaded
            item.admitted = now
        is_waiting = _waits(run, request, now)
        planned[n_planned - 1] = 0 if is_waiting else tokens
        if is_waiting:
            pending = min(pending, item.loaded_at)
        else:
            item.is_handed = 0
            left -= tokens
            has_prompts = True
    totals[PEAK] = max(totals[PEAK], own.n_running)
    own.n_planned = n_planned
    n_steps: Any = np.int64(_MOST_AT_ONCE)
    n_active = 0
    for at in range(n_planned):
        request = running[at]
        item = fleet.requests[request]
        if planned[at] == 0:
            continue
        n_active += 1
        produced = item.length - arrivals.prompt[request]
        n_steps = min(n_steps, arrivals.output[request] - produced)
        _add(contents, item.done, planned[at], item.length, arrivals.prompt[request], 1)
    if n_active == 0:
        fleet.contents[worker, :] = 0.0
        own.busy_until = pending
        own.n_steps = 0
        return
    took = _step_ms(run, worker)
    if has_prompts or is_preempting or run.log.shape[0] > 0:
        n_steps = 1
    else:
        n_steps = max(1, min(n_steps, np.int64((min(horizon, pending) - now) / took)))
        n_steps = _fitting(fleet, pool, block, worker, n_planned, n_steps)
    if n_steps > 1:
        contents[:] = 0.0
        for at in range(n_planned):
            request = running[at]
            item = fleet.requests[request]
            if planned[at] == 0:
                continue
            upto = item.done + n_steps
            _grow(run, pool, request, 0, upto, upto)
            _add(contents, item.done, 1, item.length, arrivals.prompt[request], n_steps)
        took = _step_ms(run, worker)
    end = now + took * n_steps
    if chosen[IS_LAYERWISE]:
        # Layers are computed as they arrive: a step ends after its loads do.
        for at in range(n_planned):
            if planned[at] > 0:
                end = max(end, fleet.requests[running[at]].loaded_at)
    if not has_prompts:
        own.pace_ms = took
    own.n_steps = n_steps
    own.busy_ms += end - now
    own.busy_until = end
    totals[STEPS] += n_steps
    for at in range(n_planned):
        if planned[at] > 0:
            totals[SCHEDULED] += planned[at] if n_steps == 1 else n_steps
            _note(run, now, running[at], planned[at])


@helper
def _waits(run: Service, request: int, now: float) -> Any:
    """Return True if a running request waits for blocks before it computes."""
    is_apart = run.fleet.requests[request].is_handed > 0 or run.chosen[IS_LAYERWISE] == 0
    return is_apart and run.fleet.requests[request].loaded_at > now


@helper
def _fitting(
    fleet: Fleet, pool: Pool, block: int, worker: int, n_planned: int, n_steps: int
) -> Any:
    """Return how many steps of decoding the free blocks allow, at most `n_steps`."""
    while n_steps > 1:
        wanted = 0
        for at in range(n_planned):
            item = fleet.requests[fleet.running[worker, at]]
            if fleet.planned[worker, at] > 0:
                upto = item.done + n_steps
                wanted += max(0, (upto + block - 1) // block - item.n_held)
        if wanted <= pool.state[FREE]:
            break
        n_steps //= 2
    return n_steps


@entry_point(40.0)
def serve(run: Service) -> None:
    """Serve all requests."""
    fleet, chosen = run.fleet, run.chosen
    n, n_workers = run.arrivals.time.shape[0], fleet.workers.shape[0]
    n_left = n
    if chosen[IS_CLOSED]:
        for session in range(min(chosen[LIVE], fleet.left.shape[0])):
            _start_session(run, float(session * chosen[STAGGER_MS]))
    else:
        for request in range(n):
            _issue(run, request, float(run.arrivals.time[request]))
    while n_left > 0:
        worker = 0
        for each in range(1, n_workers):
            if fleet.workers[each].busy_until < fleet.workers[worker].busy_until:
                worker = each
        coming = fleet.requests[fleet.heap[0]].due if run.counters[_N_COMING] > 0 else _NEVER
        now = fleet.workers[worker].busy_until
        if coming <= now:
            if coming >= _NEVER:
                break
            n_left -= _arrive(run, coming)
            continue
        pool = _pool_of(run.pools, worker)
        n_left -= _end_step(run, pool, worker, now)
        horizon = fleet.requests[fleet.heap[0]].due if run.counters[_N_COMING] > 0 else _NEVER
        for each in range(n_workers):
            if each != worker:
                horizon = min(horizon, fleet.workers[each].busy_until)
        _begin_step(run, pool, worker, now, horizon)
        _save_evicted(run, pool, now)
