"""Drivers of a pool: one request after the other, overlapping requests, and scheduled steps."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import compiled, entry_point
from archgym.simulators.kv.kernel.blocks import Blocks
from archgym.simulators.kv.kernel.heap import push, remove
from archgym.simulators.kv.kernel.pool import (
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

Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]

STEPS, SCHEDULED, PREEMPTIONS, PEAK = range(4)
N_TOTALS: Final = 4


class Arrivals(NamedTuple):
    """Times and lengths of requests.

    Attributes:
      time: (n,), arrival [ms].
      service: (n,), time from admission to end [ms].
      prompt: (n,), tokens of the prompt.
      output: (n,), tokens of the output, at least 1.
    """

    time: Ints
    service: Ints
    prompt: Ints
    output: Ints


@compiled
def _admit(
    pool: Pool, policy: int, blocks: Blocks, traits: Traits, request: int, held: Shorts, to: int
) -> int:
    """Give a request its blocks, and return its hits, or -1 if they do not fit."""
    base, need = blocks.start[request], blocks.need[request]
    hits = look_up(pool, blocks.chain, base, blocks.eligible[request])
    if not fits(pool, blocks.chain, base, need, hits, 0):
        return -1
    touch(pool, policy, blocks.chain, base, held, to, hits)
    allocate(pool, policy, held, to + hits, need - hits)
    for k in range(hits, blocks.prompt[request]):
        name(pool, policy, held[to + k], blocks.chain[base + k])
    agent = traits.agent[request]
    if traits.last_seen[agent] >= 0:
        pause = max(1, pool.state[NOW] - traits.last_seen[agent])
        known = traits.gap[agent]
        traits.gap[agent] = pause if known == 0 else (3 * known + pause) // 4
    return hits


@compiled
def _finish(
    pool: Pool, policy: int, blocks: Blocks, traits: Traits, request: int, held: Shorts, to: int
) -> None:
    base = blocks.start[request]
    for k in range(blocks.prompt[request], blocks.start[request + 1] - base):
        name(pool, policy, held[to + k], blocks.chain[base + k])
    traits.last_seen[traits.agent[request]] = pool.state[NOW]
    release(pool, policy, blocks, traits, request, held, to, blocks.need[request])


@entry_point(9.0)
def run_sequential(
    pool: Pool,
    policy: int,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    held: Shorts,
    hits: Ints,
    logged: Ints,
) -> None:
    """Run requests one after the other; `logged` receives the length of the log after each."""
    for request in range(hits.shape[0]):
        hits[request] = -1
        if blocks.need[request] <= pool.count.shape[0]:
            pool.state[NOW] = arrivals.time[request]
            hits[request] = _admit(pool, policy, blocks, traits, request, held, 0)
            pool.state[NOW] += arrivals.service[request]
            _finish(pool, policy, blocks, traits, request, held, 0)
        if logged.shape[0] > 0:
            logged[request] = pool.state[5]


@entry_point(12.0)
def run_concurrent(
    pool: Pool,
    policy: int,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    held: Shorts,
    held_at: Ints,
    heap: Shorts,
    place: Shorts,
    key: Ints,
    hits: Ints,
    wait: Ints,
    order: Ints,
    totals: Ints,
) -> int:
    """Run requests that overlap, each from its admission for its service time.

    Args:
      held: Blocks of requests.
      held_at: (n,), first entry of a request in `held`.
      heap, place, key: (n,), running requests by their end.
      hits, wait: (n,), filled; -1 for rejected requests.
      order: (2n,), filled with events: request of an admission, or -1 - request of an end.
      totals: Filled by the constants above.

    Returns:
      The number of events.
    """
    n = hits.shape[0]
    arrived, head, n_running, n_events, n_admitted = 0, 0, 0, 0, 0
    # Ends in order of time, then of admission.
    shift = 22
    while arrived < n or n_running > 0:
        now = np.int64(2**62)
        if n_running > 0:
            now = key[heap[0]] >> shift
        if arrived < n:
            now = min(now, arrivals.time[arrived])
        pool.state[NOW] = now
        while n_running > 0 and key[heap[0]] >> shift == now:
            request = heap[0]
            n_running = remove(heap, place, key, n_running, request)
            _finish(pool, policy, blocks, traits, request, held, held_at[request])
            order[n_events] = -1 - request
            n_events += 1
        while arrived < n and arrivals.time[arrived] == now:
            hits[arrived] = wait[arrived] = -1
            arrived += 1
        while head < arrived:
            if blocks.need[head] > pool.count.shape[0]:
                head += 1
                continue
            found = _admit(pool, policy, blocks, traits, head, held, held_at[head])
            if found < 0:
                break
            hits[head] = found
            wait[head] = now - arrivals.time[head]
            key[head] = ((now + arrivals.service[head]) << shift) + n_admitted
            n_admitted += 1
            n_running = push(heap, place, key, n_running, head)
            totals[PEAK] = max(totals[PEAK], n_running)
            order[n_events] = head
            n_events += 1
            head += 1
    return n_events


class Requests(NamedTuple):
    """State of requests in `run_steps`, (n,) each unless said otherwise.

    Attributes:
      held: Blocks of requests.
      held_at: First entry of a request in `held`.
      n_held: Blocks that it holds.
      named: Blocks of it that have their identity.
      done: Tokens that are computed.
      length: Tokens of the prompt and of the output so far.
      running: (max_seqs,), running requests in the order of admission.
      waiting: (n + 1,), ring of waiting requests.
      planned: (max_seqs,), tokens of running requests in this step.
      hits: Hits of the first admission; -1 for rejected ones.
      first_step, last_step: Steps of the first admission and of the end; -1 for rejected ones.
    """

    held: Shorts
    held_at: Ints
    n_held: Ints
    named: Ints
    done: Ints
    length: Ints
    running: Ints
    waiting: Ints
    planned: Ints
    hits: Ints
    first_step: Ints
    last_step: Ints


@compiled
def _grow(
    pool: Pool,
    policy: int,
    blocks: Blocks,
    requests: Requests,
    request: int,
    hits: int,
    upto: int,
    block: int,
) -> bool:
    """Give a request the blocks for `upto` tokens, and name the full ones; False if none fit."""
    base, to, held = blocks.start[request], requests.held_at[request], requests.n_held[request]
    total = max((upto + block - 1) // block, held)
    if not fits(pool, blocks.chain, base, total, hits, held):
        return False
    if hits > 0:
        touch(pool, policy, blocks.chain, base, requests.held, to, hits)
        held = hits
        requests.named[request] = hits
    allocate(pool, policy, requests.held, to + held, total - held)
    requests.n_held[request] = total
    until = min(upto, requests.length[request]) // block
    for k in range(requests.named[request], until):
        name(pool, policy, requests.held[to + k], blocks.chain[base + k])
    requests.named[request] = max(until, requests.named[request])
    return True


@compiled
def _free(
    pool: Pool, policy: int, blocks: Blocks, traits: Traits, requests: Requests, request: int
) -> None:
    to, n = requests.held_at[request], requests.n_held[request]
    traits.last_seen[traits.agent[request]] = pool.state[NOW]
    release(pool, policy, blocks, traits, request, requests.held, to, n)
    requests.n_held[request] = 0


@entry_point(14.0)
def run_steps(
    pool: Pool,
    policy: int,
    blocks: Blocks,
    traits: Traits,
    arrivals: Arrivals,
    requests: Requests,
    block: int,
    step_ms: int,
    budget: int,
    reserves_prompt: bool,
    totals: Ints,
    log: Ints,
) -> None:
    """Run vLLM's scheduler: chunked prefill, first come first served, preemption by recomputation.

    Args:
      block: Tokens of a block.
      step_ms: Length of a step [ms].
      budget: Tokens of a step at most.
      reserves_prompt: True to admit a request only if its whole prompt fits.
      totals: Filled by the constants above.
      log: (n_entries, 3), filled with step, request and tokens, -1 tokens for a preemption; row 0
        has the number of entries.
    """
    n = arrivals.time.shape[0]
    ring = requests.waiting.shape[0]
    running, waiting, planned = requests.running, requests.waiting, requests.planned
    arrived, head, n_waiting, n_running = 0, 0, 0, 0
    step = np.int64(-1)
    n_logged = 0
    while arrived < n or n_waiting > 0 or n_running > 0:
        step += 1
        if n_waiting == 0 and n_running == 0:
            step = max(step, (arrivals.time[arrived] + step_ms - 1) // step_ms)
        pool.state[NOW] = step * step_ms
        while arrived < n and (arrivals.time[arrived] + step_ms - 1) // step_ms <= step:
            requests.hits[arrived] = -1
            requests.first_step[arrived] = requests.last_step[arrived] = -1
            if blocks.need[arrived] <= pool.count.shape[0]:
                waiting[(head + n_waiting) % ring] = arrived
                n_waiting += 1
                requests.length[arrived] = arrivals.prompt[arrived]
            arrived += 1
        totals[STEPS] += 1
        left = budget
        at = 0
        n_planned = 0
        is_preempting = False
        while at < n_running and left > 0:
            request = running[at]
            tokens = min(requests.length[request] - requests.done[request], left)
            upto = requests.done[request] + tokens
            has_room = _grow(pool, policy, blocks, requests, request, 0, upto, block)
            while not has_room:
                is_preempting = True
                n_running -= 1
                victim = running[n_running]
                _free(pool, policy, blocks, traits, requests, victim)
                requests.done[victim] = requests.named[victim] = 0
                head = (head - 1) % ring
                waiting[head] = victim
                n_waiting += 1
                totals[PREEMPTIONS] += 1
                n_logged += 1
                if n_logged < log.shape[0]:
                    log[n_logged, 0], log[n_logged, 1], log[n_logged, 2] = step, victim, -1
                if victim == request:
                    break
                has_room = _grow(pool, policy, blocks, requests, request, 0, upto, block)
            if not has_room:
                break
            planned[at] = tokens
            left -= tokens
            at += 1
        n_planned = at
        while not is_preempting and left > 0 and n_waiting > 0 and n_running < running.shape[0]:
            request = waiting[head]
            base, length = blocks.start[request], requests.length[request]
            limit = min((length - 1) // block, blocks.start[request + 1] - base)
            hits = look_up(pool, blocks.chain, base, limit)
            cached = block * hits
            tokens = min(length - cached, left)
            if reserves_prompt and not fits(
                pool, blocks.chain, base, (length + block - 1) // block, hits, 0
            ):
                break
            if not _grow(pool, policy, blocks, requests, request, hits, cached + tokens, block):
                break
            head = (head + 1) % ring
            n_waiting -= 1
            # Running requests beyond those planned had no budget left, so that `left` was 0.
            running[n_running] = request
            planned[n_running] = tokens
            n_running += 1
            n_planned = n_running
            requests.done[request] = cached
            left -= tokens
            if requests.hits[request] < 0:
                requests.hits[request] = hits
                requests.first_step[request] = step
        totals[PEAK] = max(totals[PEAK], n_running)
        kept = 0
        for at in range(n_running):
            request = running[at]
            running[kept] = request
            kept += 1
            if at >= n_planned:
                continue
            tokens = planned[at]
            totals[SCHEDULED] += tokens
            n_logged += 1
            if n_logged < log.shape[0]:
                log[n_logged, 0], log[n_logged, 1], log[n_logged, 2] = step, request, tokens
            requests.done[request] += tokens
            if requests.done[request] == requests.length[request]:
                requests.length[request] += 1
                produced = requests.length[request] - arrivals.prompt[request]
                if produced >= arrivals.output[request]:
                    requests.last_step[request] = step
                    _free(pool, policy, blocks, traits, requests, request)
                    kept -= 1
        n_running = kept
    if log.shape[0] > 0:
        log[0, 0] = n_logged
