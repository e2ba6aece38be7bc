"""Second tier in host memory, as vLLM's offloading manager keeps it: LRU or ARC."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.runtime.kernels import entry_point, helper
from archgym.simulators.kv.kernel.heap import push, remove, sift_down
from archgym.simulators.kv.kernel.layout import Blocks, Ints, Shorts
from archgym.simulators.kv.kernel.pool import (
    Pool,
    Traits,
    allocate,
    look_up,
    name,
    release,
    touch,
)

STORED, EVICTED, FAILED, OFFERED = range(4)
N_TOTALS: Final = 4
HOST_LRU, HOST_ARC = 0, 1
_T1, _T2, _B1, _B2 = 1, 2, 3, 4
_RANK: Final = 2**24


class Host(NamedTuple):
    """State of the second tier; `n` identities exist.

    Attributes:
      where: (n,), list of an identity: 0 none, 1 T1, 2 T2, 3 B1, 4 B2; LRU uses T1.
      after, before: (n + 5,), lists of identities; entries n + 1 to n + 4 are their ends.
      size: (5,), entries by list.
      offer: (n,), number of the last offer with an identity.
      missed, reused, inserted: (n,), last request that missed, reused or inserted an identity.
      heap, place, key: LRU's order; (n,).
      target: (1,), ARC's target size of T1.
      chosen: (n,), identities that are to be evicted.
      totals: (N_TOTALS,), counts by the constants above.
    """

    where: npt.NDArray[np.int8]
    after: Shorts
    before: Shorts
    size: Ints
    offer: Shorts
    missed: Shorts
    reused: Shorts
    inserted: Shorts
    heap: Shorts
    place: Shorts
    key: Ints
    target: npt.NDArray[np.float64]
    chosen: Shorts
    totals: Ints


def new_host(n_identities: int) -> Host:
    """Return an empty tier."""
    n = n_identities
    ends = np.arange(n + 5, dtype=np.int32)
    shorts = np.full((7, n), -1, dtype=np.int32)
    return Host(
        np.zeros(n, np.int8), ends.copy(), ends.copy(), np.zeros(5, np.int64), shorts[0],
        shorts[1], shorts[2], shorts[3], shorts[4], shorts[5], np.zeros(n, np.int64), np.zeros(1),
        shorts[6], np.zeros(N_TOTALS, np.int64),
    )  # fmt: skip


@helper
def _unlink(host: Host, v: int) -> None:
    before, after = host.before[v], host.after[v]
    host.after[before] = after
    host.before[after] = before
    host.size[host.where[v]] -= 1
    host.where[v] = 0


@helper
def _append(host: Host, v: int, to: int) -> None:
    """Move an identity to the new end of a list."""
    if host.where[v] != 0:
        _unlink(host, v)
    end = host.where.shape[0] + to
    before = host.before[end]
    host.after[before] = v
    host.before[v] = before
    host.after[v] = end
    host.before[end] = v
    host.where[v] = to
    host.size[to] += 1


@helper
def _is_present(host: Host, v: int) -> Any:
    return host.where[v] == _T1 or host.where[v] == _T2


@helper
def _rank(host: Host, v: int, request: int, k: int) -> None:
    """Give an identity LRU's rank of now, whether it is in the heap or not."""
    host.key[v] = np.int64(request + 1) * _RANK - k
    if host.place[v] >= 0:
        n = host.size[_T1]
        sift_down(host.heap, host.place, host.key, host.place[v], n)


@helper
def _learn(host: Host, v: int, capacity: int) -> None:
    """Change ARC's target after a miss of an identity that is a ghost."""
    n1, n2 = host.size[_B1], host.size[_B2]
    if host.where[v] == _B1:
        host.target[0] = min(host.target[0] + max(1.0, n2 / n1), float(capacity))
        _append(host, v, _B1)
    elif host.where[v] == _B2:
        host.target[0] = max(host.target[0] - max(1.0, n1 / n2), 0.0)
        _append(host, v, _B2)


@helper
def _next_candidate(host: Host, at: int, offer: int) -> Any:
    """Return the first identity of a list from `at` on that is not offered, or the list's end."""
    while at < host.where.shape[0] and host.offer[at] == offer:
        at = host.after[at]
    return at


@helper
def _evict_arc(host: Host, n: int, offer: int, capacity: int) -> Any:
    ends = host.where.shape[0]
    virtual = host.size[_T1]
    at1 = _next_candidate(host, host.after[ends + _T1], offer)
    at2 = _next_candidate(host, host.after[ends + _T2], offer)
    limit = int(np.floor(host.target[0]))
    for i in range(n):
        is_first = at1 < ends and (virtual >= limit or at2 >= ends)
        if not is_first and at2 >= ends:
            return False
        if is_first:
            host.chosen[i] = at1
            virtual -= 1
            at1 = _next_candidate(host, host.after[at1], offer)
        else:
            host.chosen[i] = at2
            at2 = _next_candidate(host, host.after[at2], offer)
    for i in range(n):
        v = host.chosen[i]
        _append(host, v, _B1 if host.where[v] == _T1 else _B2)
    for ghosts in (_B1, _B2):
        while host.size[ghosts] > capacity:
            _unlink(host, host.after[ends + ghosts])
    return True


@helper
def _evict_lru(host: Host, n: int, offer: int) -> Any:
    """Evict by rank; offered identities are set aside, and there are always enough others."""
    n_chosen, n_aside = 0, 0
    while n_chosen < n:
        v = host.heap[0]
        size = remove(host.heap, host.place, host.key, host.size[_T1], v)
        host.size[_T1] = size
        if host.offer[v] == offer:
            host.chosen[n + n_aside] = v
            n_aside += 1
            continue
        host.where[v] = 0
        n_chosen += 1
    for i in range(n_aside):
        host.size[_T1] = push(host.heap, host.place, host.key, host.size[_T1], host.chosen[n + i])
    return True


@helper
def _offer(
    host: Host,
    policy: int,
    capacity: int,
    chain: Shorts,
    base: int,
    low: int,
    high: int,
    request: int,
    number: int,
) -> Any:
    """Store blocks `low` to `high - 1` of a request that the host lacks, and evict others for them.

    Return False, with none of them stored, if too few others can be evicted; else True.
    """
    if low >= high:
        return True
    n_new = 0
    host.totals[OFFERED] += high - low
    for k in range(low, high):
        v = chain[base + k]
        host.offer[v] = number
        n_new += 0 if _is_present(host, v) else 1
    for back in range(high - low):
        v = chain[base + high - 1 - back]
        if not _is_present(host, v) and host.missed[v] != request:
            host.missed[v] = request
            if policy == HOST_ARC:
                _learn(host, v, capacity)
    for k in range(low, high):
        v = chain[base + k]
        if policy == HOST_LRU:
            _rank(host, v, request, k)
        elif _is_present(host, v) and host.inserted[v] != request:
            host.reused[v] = request
    if n_new == 0:
        return True
    present = host.size[_T1] + host.size[_T2]
    over = n_new - (capacity - present)
    if over > 0:
        is_done = over <= present - (high - low - n_new)
        if is_done and policy == HOST_LRU:
            is_done = _evict_lru(host, over, number)
        elif is_done:
            is_done = _evict_arc(host, over, number, capacity)
        if not is_done:
            host.totals[FAILED] += 1
            return False
        host.totals[EVICTED] += over
    host.totals[STORED] += n_new
    for k in range(low, high):
        v = chain[base + k]
        if _is_present(host, v):
            continue
        if policy == HOST_LRU:
            host.where[v] = _T1
            host.size[_T1] = push(host.heap, host.place, host.key, host.size[_T1], v)
        else:
            _append(host, v, _T1)
            host.inserted[v] = request
    return True


@helper
def _close(host: Host, chain: Shorts, base: int, n: int, request: int) -> None:
    """Promote what a request reused, from its last block to its first."""
    for back in range(n):
        v = chain[base + n - 1 - back]
        if not _is_present(host, v):
            continue
        if host.inserted[v] == request:
            _append(host, v, host.where[v])
        elif host.reused[v] == request:
            _append(host, v, _T2)


@entry_point(14.0)
def run_offload(
    pool: Pool,
    policy: int,
    host: Host,
    host_policy: int,
    host_blocks: int,
    blocks: Blocks,
    traits: Traits,
    held: Shorts,
    hits: Ints,
    host_hits: Ints,
) -> None:
    """Run requests one after the other with two tiers; loads and stores complete at once.

    Args:
      pool: First tier; one without blocks is left out.
      policy: Policy of the first tier.
      host: Second tier.
      host_policy: Its policy, LRU or ARC.
      host_blocks: Its capacity.
      held: As many entries as the largest request has blocks.
      hits, host_hits: (n,), filled; -1 for rejected requests.
    """
    chain = blocks.chain
    has_pool = pool.references.shape[0] > 0
    number = 0
    for request in range(hits.shape[0]):
        base, need = blocks.start[request], blocks.need[request]
        if has_pool and need > pool.references.shape[0]:
            hits[request] = host_hits[request] = -1
            continue
        n_full = blocks.start[request + 1] - base
        eligible, prompt = blocks.eligible[request], blocks.prompt[request]
        found = look_up(pool, chain, base, eligible) if has_pool else 0
        loaded = 0
        while found + loaded < eligible and _is_present(host, chain[base + found + loaded]):
            loaded += 1
        hits[request], host_hits[request] = found, loaded
        if has_pool:
            touch(pool, policy, chain, base, held, 0, found)
            allocate(pool, policy, held, found, need - found)
            for k in range(found, prompt):
                name(pool, policy, held[k], chain[base + k])
        for k in range(found, found + loaded):
            v = chain[base + k]
            if host_policy == HOST_LRU:
                _rank(host, v, request, k)
            elif host.inserted[v] != request:
                host.reused[v] = request
        low = found + loaded if loaded > 0 else 0
        for end in (prompt, n_full):
            number += 1
            if low < end and _offer(
                host, host_policy, host_blocks, chain, base, low, end, request, number
            ):
                low = end
        if has_pool:
            for k in range(prompt, n_full):
                name(pool, policy, held[k], chain[base + k])
            release(pool, policy, blocks, traits, request, held, 0, need)
        if host_policy == HOST_ARC:
            _close(host, chain, base, n_full, request)
