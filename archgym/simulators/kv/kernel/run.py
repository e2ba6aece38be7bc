"""Runs of streams on engines: counts by name, with the optimum of prefix hits."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kv.kernel import drivers, offload, pool, radix
from archgym.simulators.kv.kernel.optimum import (
    concurrent_optimum,
    new_sweep,
    sequential_optimum,
)
from archgym.simulators.kv.kernel.policies import HOST_POLICIES, POLICIES, RADIX_POLICIES
from archgym.simulators.kv.workloads.stream import StreamBlocks

Ints = npt.NDArray[np.int64]

_WORD: Final = 2**64
_FACTOR: Final = 6364136223846793005
# chosen: prompt tokens that a user hardly notices the recomputation of, for tail-lru.
_TAIL_TOKENS: Final = 2048


def checksum(values: Ints) -> int:
    """Return the checksum of a number per request, of 64 bits."""
    total = 0
    for value in values.tolist():
        total = (total * _FACTOR + value + 1) % _WORD
    return total


def traits_of(made: StreamBlocks) -> pool.Traits:
    """Return what policies look at, before the first request."""
    stream = made.stream
    n_agents = int(stream.agent.max(initial=-1)) + 1
    pauses = np.diff(stream.arrivals.time)
    usual = int(pauses.mean()) * max(1, n_agents // 4) if len(pauses) else 1
    return pool.Traits(
        stream.is_last, stream.agent, np.full(n_agents, -1, np.int64),
        np.zeros(n_agents, np.int64), max(1, _TAIL_TOKENS // made.block), max(1, usual),
    )  # fmt: skip


def counts_of(made: StreamBlocks, most: int, hits: Ints) -> dict[str, Any]:
    """Return counts of all engines: those that no policy changes, and hits.

    Args:
      made: Requests as blocks.
      most: Blocks of a request that is not rejected, at most.
      hits: (n,), blocks that were hits; -1 for rejected requests.
    """
    blocks, admitted = made.blocks, hits >= 0
    kept = blocks.need <= most
    return {
        "requests": len(kept),
        "rejected": int((~kept).sum()),
        "prompt_blocks": int(blocks.prompt[kept].sum()),
        "eligible_blocks": int(blocks.eligible[kept].sum()),
        "prompt_tokens": int(made.stream.arrivals.prompt[kept].sum()),
        "output_tokens": int(made.stream.arrivals.output[kept].sum()),
        "distinct_blocks": made.n_identities,
        "hits": hits,
        "hit_blocks": int(hits[admitted].sum()),
        "allocated": int((blocks.need - hits)[admitted].sum()),
        "hits_checksum": checksum(hits),
    }


def optimum(made: StreamBlocks, capacity: int, most: int, is_forced: bool = True) -> int:
    """Return the most hit blocks of requests that run one after the other."""
    blocks, _ = made.with_next_uses(most)
    sweep = new_sweep(len(made.stream))
    return int(sequential_optimum(blocks, sweep, capacity, most, is_forced))


def run_pool(
    made: StreamBlocks,
    driver: str,
    capacity: int,
    policy: str,
    log: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the counts of vLLM's pool; `hits` holds those of each request.

    Args:
      made: Requests as blocks.
      driver: `sequential` or `concurrent`.
      capacity: Blocks of the pool.
      policy: One of `POLICIES`.
      log: Filled with `evicted`, the identities that each request evicts, one after the other.
    """
    code = POLICIES.index(policy)
    blocks, arrivals = made.blocks, made.stream.arrivals
    n = len(made.stream)
    n_logged = int(blocks.need.sum()) if log is not None else 0
    if code == pool.BELADY:
        blocks, _ = made.with_next_uses(capacity)
    state = pool.new_pool(capacity, made.n_identities, code, n_logged)
    traits = traits_of(made)
    hits = np.zeros(n, dtype=np.int64)
    found = dict[str, Any]()
    if driver == "sequential":
        held = np.zeros(int(blocks.need.max(initial=1)), dtype=np.int32)
        logged = np.zeros(n if log is not None else 0, dtype=np.int64)
        drivers.run_sequential(state, blocks, traits, arrivals, held, hits, logged, 0, n)
        if log is not None:
            log["evicted"] = np.split(state.log[: logged[-1]], logged[:-1])
        found["optimum_blocks"] = optimum(made, capacity, capacity)
    else:
        sizes = np.where(blocks.need <= capacity, blocks.need, 0)
        held_at = np.concatenate([[0], np.cumsum(sizes)])
        held = np.zeros(max(1, int(held_at[-1])), dtype=np.int32)
    peak = np.zeros(1, dtype=np.int64)
    if driver == "concurrent":
        heap, place = np.zeros((2, n), dtype=np.int32)
        wait, order = np.full(n, -1, dtype=np.int64), np.zeros(2 * n, dtype=np.int64)
        n_events = drivers.run_concurrent(
            state, blocks, traits, arrivals, held, held_at, heap, place,
            np.zeros(n, dtype=np.int64), hits, wait, order, peak,
        )  # fmt: skip
        waits = wait[wait > 0]
        found |= {
            "waited": len(waits),
            "wait_ms": int(waits.sum()),
            "max_wait_ms": int(waits.max(initial=0)),
            "wait_checksum": checksum(wait),
        }
        used, upcoming = made.with_next_uses(capacity, prompts_only=True)
        marks = np.zeros((2, made.n_identities), dtype=np.int32)
        marks[1] = -1
        found["optimum_blocks"] = concurrent_optimum(
            used, new_sweep(n), capacity, order[:n_events], upcoming, marks[0], marks[1]
        )
    evictions = int(state.state[pool.EVICTIONS])
    return counts_of(made, capacity, hits) | found | {
        "evictions": evictions, "peak_running": int(peak[0])
    }  # fmt: skip


def run_offload(
    made: StreamBlocks, gpu_blocks: int, host_blocks: int, policy: str, host_policy: str
) -> dict[str, Any]:
    """Return the counts of vLLM's pool with a tier in host memory.

    Args:
      made: Requests as blocks.
      gpu_blocks: Blocks of the pool; 0 for none.
      host_blocks: Blocks of the tier.
      policy: Policy of the pool.
      host_policy: One of `HOST_POLICIES`.
    """
    n, blocks = len(made.stream), made.blocks
    most = gpu_blocks or 2**40
    code = POLICIES.index(policy)
    if code == pool.BELADY:
        blocks, _ = made.with_next_uses(most)
    state = pool.new_pool(gpu_blocks, made.n_identities, code)
    host = offload.new_host(host_blocks, HOST_POLICIES.index(host_policy), made.n_identities)
    hits, host_hits = np.zeros((2, n), dtype=np.int64)
    held = np.zeros(int(blocks.need.max(initial=1)), dtype=np.int32)
    offload.run_offload(state, host, blocks, traits_of(made), held, hits, host_hits)
    found = counts_of(made, most, hits)
    return found | {
        "host_hits": host_hits,
        "host_hit_blocks": int(host_hits[hits >= 0].sum()),
        "host_stored": int(host.totals[offload.STORED]),
        "host_evicted": int(host.totals[offload.EVICTED]),
        "store_failed": int(host.totals[offload.FAILED]),
        "host_offered": int(host.totals[offload.OFFERED]),
        "evictions": int(state.state[pool.EVICTIONS]),
        "allocated": found["allocated"] if gpu_blocks else 0,
        "host_hits_checksum": checksum(host_hits),
        "optimum_blocks": optimum(made, gpu_blocks + host_blocks, most, gpu_blocks > 0),
    }


def run_radix(made: StreamBlocks, capacity: int, policy: str) -> dict[str, Any]:
    """Return the counts of SGLang's radix cache of `capacity` pages."""
    n = len(made.stream)
    tree = radix.new_tree(n, made.n_identities)
    hits = np.zeros(n, dtype=np.int64)
    radix.run_radix(
        tree, RADIX_POLICIES.index(policy), made.blocks, capacity, np.zeros(1, np.int64), hits
    )
    return counts_of(made, capacity, hits) | {
        "evictions": int(tree.state[radix.PAGES_OUT]),
        "evicted_nodes": int(tree.state[radix.NODES_OUT]),
        "used_at_end": int(tree.state[radix.USED]),
        "optimum_blocks": optimum(made, capacity, capacity),
    }
