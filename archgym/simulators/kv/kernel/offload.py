"""Second tier in host memory, as vLLM's offloading manager keeps it: LRU or ARC."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit.kernels import entry_point, helper
from archgym.simulators.kv.kernel.pool import (
    Pool,
    Traits,
    allocate,
    look_up,
    name,
    release,
    touch,
)
from archgym.simulators.kv.workloads.arrays import Blocks, Ints, Shorts

STORED, EVICTED, FAILED, OFFERED = range(4)
N_TOTALS: Final = 4
HOST_LRU, HOST_ARC = 0, 1
_T1, _T2, _B1, _B2 = 1, 2, 3, 4


class Host(NamedTuple):
    """State of the second tier; `n` identities exist.

    Attributes:
      capacity: Blocks.
      policy: LRU or ARC.
      where: (n,), list of an identity: 0 none, 1 T1, 2 T2, 3 B1, 4 B2; LRU uses T1.
      after, before: (n + 5,), lists of identities; entries n + 1 to n + 4 are their ends.
      size: (5,), entries by list.
      offer: (n,), number of the last offer with an identity.
      missed, reused, inserted: (n,), last request that missed, reused or inserted an identity.
      target: (1,), ARC's target size of T1.
      chosen: (n,), identities that are to be evicted.
      totals: (N_TOTALS,), counts by the constants above.
    """

    capacity: int
    policy: int
    where: npt.NDArray[np.int8]
    after: Shorts
    before: Shorts
    size: Ints
    offer: Shorts
    missed: Shorts
    reused: Shorts
    inserted: Shorts
    target: npt.NDArray[np.float64]
    chosen: Shorts
    totals: Ints


def new_host(capacity: int, policy: int, n_identities: int) -> Host:
    """Return an empty tier."""
    ends = np.arange(n_identities + 5, dtype=np.int32)
    shorts = np.full((5, n_identities), -1, dtype=np.int32)
    return Host(
        capacity, policy, np.zeros(n_identities, np.int8), ends.copy(), ends.copy(),
        np.zeros(5, np.int64), shorts[0], shorts[1], shorts[2], shorts[3], np.zeros(1), shorts[4],
        np.zeros(N_TOTALS, np.int64),
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
def _refresh(host: Host, chain: Shorts, base: int, low: int, high: int) -> None:
    """Make blocks `low` to `high - 1` of a request LRU's newest, the first one last."""
    for back in range(high - low):
        v = chain[base + high - 1 - back]
        if _is_present(host, v):
            _append(host, v, _T1)


@helper
def _learn(host: Host, v: int) -> None:
    """Change ARC's target after a miss of an identity that is a ghost."""
    n1, n2 = host.size[_B1], host.size[_B2]
    if host.where[v] == _B1:
        host.target[0] = min(host.target[0] + max(1.0, n2 / n1), float(host.capacity))
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
def _evict(host: Host, n: int, offer: int) -> Any:
    """Evict blocks that are not offered; return False, with all of them kept, if too few are."""
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
        if host.policy == HOST_LRU:
            _unlink(host, v)
        else:
            _append(host, v, _B1 if host.where[v] == _T1 else _B2)
    for ghosts in (_B1, _B2):
        while host.size[ghosts] > host.capacity:
            _unlink(host, host.after[ends + ghosts])
    return True


@helper
def _offer(
    host: Host, chain: Shorts, base: int, low: int, high: int, request: int, number: int
) -> Any:
    """Store blocks `low` to `high - 1` of a request that the host lacks, and evict others for them.

    Return False, with none of them stored, if too few others can be evicted; else True.
    """
    n_new = 0
    host.totals[OFFERED] += high - low
    for k in range(low, high):
        v = chain[base + k]
        host.offer[v] = number
        n_new += 0 if _is_present(host, v) else 1
    for back in range(high - low if host.policy == HOST_ARC else 0):
        v = chain[base + high - 1 - back]
        if _is_present(host, v):
            if host.inserted[v] != request:
                host.reused[v] = request
        elif host.missed[v] != request:
            host.missed[v] = request
            _learn(host, v)
    if n_new == 0:
        return True
    present = host.size[_T1] + host.size[_T2]
    over = n_new - (host.capacity - present)
    if over > 0:
        if over > present - (high - low - n_new) or not _evict(host, over, number):
            host.totals[FAILED] += 1
            return False
        host.totals[EVICTED] += over
    host.totals[STORED] += n_new
    for k in range(low, high):
        v = chain[base + k]
        if not _is_present(host, v):
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
    host: Host,
    blocks: Blocks,
    traits: Traits,
    held: Shorts,
    hits: Ints,
    host_hits: Ints,
) -> None:
    """Run requests one after the other with two tiers; loads and stores complete at once.

    Args:
      pool: First tier; one without blocks is left out.
      host: Second tier.
      blocks, traits: Requests.
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
            touch(pool, chain, base, held, 0, found)
            allocate(pool, held, found, need - found)
            for k in range(found, prompt):
                name(pool, held[k], chain[base + k])
        is_lru = host.policy == HOST_LRU
        if is_lru:
            _refresh(host, chain, base, found, found + loaded)
        for k in range(found, found if is_lru else found + loaded):
            if host.inserted[chain[base + k]] != request:
                host.reused[chain[base + k]] = request
        first, low = (found, found + loaded) if loaded > 0 else (0, 0)
        for end in (prompt, n_full):
            number += 1
            if low >= end:
                continue
            is_stored = _offer(host, chain, base, low, end, request, number)
            if is_lru:
                _refresh(host, chain, base, first, end)
            if is_stored:
                low = end
        if has_pool:
            for k in range(prompt, n_full):
                name(pool, held[k], chain[base + k])
            release(pool, blocks, traits, request, held, 0, need)
        if host.policy == HOST_ARC:
            _close(host, chain, base, n_full, request)
