"""Seeded generators of memory traces: where requests go, times how they come.

A generator decides the addresses; a `Traffic` decides when requests come, which of them write,
and how long they are. Every stream of random numbers is spawned from the seed, so that a change in
one (say, the gaps) leaves the others (say, the addresses) as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import require


@final
@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Traffic pattern: times, directions and length of requests.

    Attributes:
      read_share: Share of reads, 0 to 1.
      write_run: Directions are drawn for groups of this many requests, 1 or more: caches write
        back in groups.
      gap_ticks: Least and most time from a request to the next [player clocks], drawn evenly.
      burst_requests: Least and most requests of a burst, drawn evenly; (0, 0) for no bursts.
      idle_ticks: Least and most time added between two bursts [player clocks], drawn evenly.
      request_bytes: Length of each request [bytes].
      clock_mhz: Clock of the player.
    """

    read_share: float = 1.0
    write_run: int = 1
    gap_ticks: tuple[int, int] = (1, 1)
    burst_requests: tuple[int, int] = (0, 0)
    idle_ticks: tuple[int, int] = (0, 0)
    request_bytes: int = 64
    clock_mhz: int = 800

    def __post_init__(self) -> None:
        require("read_share", 0.0 <= self.read_share <= 1.0, "lie in 0 to 1", self.read_share)
        require("write_run", self.write_run >= 1, "be at least 1", self.write_run)
        require("request_bytes", self.request_bytes >= 1, "be at least 1", self.request_bytes)
        for name in ("gap_ticks", "burst_requests", "idle_ticks"):
            low, high = getattr(self, name)
            require(name, 0 <= low <= high, "be (low, high) with 0 <= low <= high", (low, high))
        low, high = self.burst_requests
        require("burst_requests", low >= 1 or high == 0, "be (0, 0) or start at 1", (low, high))

    def gaps(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return times from each request's predecessor, (n,) int64, 0 at first [player clocks]."""
        gaps = _between(self.gap_ticks, n, rng)
        gaps[0] = 0
        if self.burst_requests[1]:
            lengths = _between(self.burst_requests, n, rng)
            starts = np.cumsum(lengths)
            starts = starts[starts < n]
            gaps[starts] += _between(self.idle_ticks, len(starts), rng)
        return gaps

    def writes(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return (n,) bool, which requests write."""
        n_groups = -(-n // self.write_run)
        return np.repeat(rng.random(n_groups) >= self.read_share, self.write_run)[:n]


# One read of 64 bytes a tick.
_STEADY: Final = Traffic()
# The time that a program takes to follow a pointer.
_CHAIN: Final = Traffic(gap_ticks=(40, 56))


def stream(
    n_requests: int,
    *,
    seed: int = 0,
    start_address: int = 0,
    traffic: Traffic = _STEADY,
) -> Trace:
    """Return requests one after the other in memory.

    Args:
      n_requests: 1 or more.
      seed: Random seed of the traffic.
      start_address: Start of the traffic [bytes].
      traffic: Arrival of requests; by default one read of 64 bytes a tick.
    """
    addresses = start_address + traffic.request_bytes * np.arange(_count(n_requests))
    return _trace("stream", addresses, traffic, seed)


def random_access(
    n_requests: int,
    *,
    seed: int,
    footprint_bytes: int,
    start_address: int = 0,
    traffic: Traffic = _STEADY,
) -> Trace:
    """Return requests anywhere, evenly.

    Args:
      n_requests: 1 or more.
      seed: Random seed of addresses and traffic.
      footprint_bytes: Size of the region; at least one request.
      start_address: Start of the region [bytes].
      traffic: Arrival of requests; by default one read of 64 bytes a tick.
    """
    lines = _lines(footprint_bytes, traffic)
    places = _rng(seed, "addresses").integers(lines, size=_count(n_requests))
    return _trace("random", start_address + traffic.request_bytes * places, traffic, seed)


def strided(
    n_requests: int,
    *,
    stride_bytes: int,
    footprint_bytes: int,
    seed: int = 0,
    start_address: int = 0,
    traffic: Traffic = _STEADY,
) -> Trace:
    """Return requests a stride apart that sweep a region, each sweep one request further.

    Args:
      n_requests: 1 or more.
      stride_bytes: Distance of neighbours; at least the length of a request.
      footprint_bytes: Size of the region; at least a stride.
      seed: Random seed of the traffic.
      start_address: Start of the region [bytes].
      traffic: Arrival of requests; by default one read of 64 bytes a tick.
    """
    length = traffic.request_bytes
    require("stride_bytes", stride_bytes >= length, f"be at least {length}", stride_bytes)
    require(
        "footprint_bytes", footprint_bytes >= stride_bytes, "be at least a stride", footprint_bytes
    )
    sweep, step = np.divmod(np.arange(_count(n_requests)), footprint_bytes // stride_bytes)
    addresses = step * stride_bytes + sweep % (stride_bytes // length) * length
    return _trace("strided", start_address + addresses, traffic, seed)


def pointer_chase(
    n_requests: int,
    *,
    seed: int,
    n_nodes: int,
    footprint_bytes: int,
    start_address: int = 0,
    traffic: Traffic = _CHAIN,
) -> Trace:
    """Return requests that follow a closed chain through nodes that lie anywhere.

    A request needs its predecessor's data. Traces cannot say so; they say how long the program
    waits, so the times are delays after the previous request (`relative`), and the gaps of
    `traffic` stand for the latency that the program sees.

    Args:
      n_requests: 1 or more.
      seed: Random seed of the chain and the traffic.
      n_nodes: Nodes of the chain, each of one request, 1 or more.
      footprint_bytes: Size of the region; at least one request a node.
      start_address: Start of the region [bytes].
      traffic: Arrival of requests; by default a read of 64 bytes every 40 to 56 ticks.
    """
    require("n_nodes", n_nodes >= 1, "be at least 1", n_nodes)
    spacing = _lines(footprint_bytes, traffic) // n_nodes
    require("footprint_bytes", spacing >= 1, "hold one request a node", footprint_bytes)
    rng = _rng(seed, "addresses")
    nodes = np.arange(n_nodes) * spacing + rng.integers(spacing, size=n_nodes)
    chain = nodes[np.argsort(rng.random(n_nodes), kind="stable")]
    places = np.resize(chain, _count(n_requests))
    addresses = start_address + traffic.request_bytes * places
    return _trace("pointer-chase", addresses, traffic, seed, relative=True)


def local(
    n_requests: int,
    *,
    seed: int,
    sequential_share: float,
    footprint_bytes: int,
    start_address: int = 0,
    traffic: Traffic = _STEADY,
) -> Trace:
    """Return requests that continue in memory or else jump anywhere: short runs, as after a cache.

    Args:
      n_requests: 1 or more.
      seed: Random seed of addresses and traffic.
      sequential_share: Share of requests that follow their predecessor in memory, 0 to 1.
      footprint_bytes: Size of the region; at least one request.
      start_address: Start of the region [bytes].
      traffic: Arrival of requests; by default one read of 64 bytes a tick.
    """
    require("sequential_share", 0.0 <= sequential_share <= 1.0, "lie in 0 to 1", sequential_share)
    lines = _lines(footprint_bytes, traffic)
    n = _count(n_requests)
    rng = _rng(seed, "addresses")
    jumps = rng.random(n) >= sequential_share
    jumps[0] = True
    targets = rng.integers(lines, size=n)
    last_jump = np.maximum.accumulate(np.where(jumps, np.arange(n), 0))
    places = (targets[last_jump] + np.arange(n) - last_jump) % lines
    return _trace("local", start_address + traffic.request_bytes * places, traffic, seed)


def phases(
    *,
    seed: int,
    n_sequential: int,
    n_random: int,
    n_runs: int,
    phase_requests: int,
    starts_sequential: bool,
    footprint_bytes: int,
    traffic: Traffic = _STEADY,
) -> Trace:
    """Return phases of equal length that are sequential or random, as programs that share a server.

    Sequential phases continue one stream from address 0; random ones go anywhere.

    Args:
      seed: Random seed of the order of phases, addresses and traffic.
      n_sequential: Sequential phases.
      n_random: Random phases.
      n_runs: Runs of phases of one kind; the two kinds alternate from run to run.
      phase_requests: Requests of a phase, 1 or more.
      starts_sequential: True if the first run is sequential.
      footprint_bytes: Size of the region of random phases; at least one request.
      traffic: Arrival of requests; by default one read of 64 bytes a tick.
    """
    require("phase_requests", phase_requests >= 1, "be at least 1", phase_requests)
    first_runs, second_runs = -(-n_runs // 2), n_runs // 2
    kinds = (n_sequential, n_random) if starts_sequential else (n_random, n_sequential)
    require(
        "n_runs",
        1 <= first_runs <= kinds[0]
        and (second_runs <= kinds[1])
        and bool(second_runs) == bool(kinds[1]),
        "leave each kind at least one phase a run",
        n_runs,
    )
    rng = _rng(seed, "phases")
    runs = np.zeros(n_runs, np.int64)
    runs[0::2] = _parts(kinds[0], first_runs, rng)
    runs[1::2] = _parts(kinds[1], second_runs, rng)
    is_sequential = np.repeat((np.arange(n_runs) % 2 == 0) == starts_sequential, runs)
    is_sequential = np.repeat(is_sequential, phase_requests)
    places = _rng(seed, "addresses").integers(
        _lines(footprint_bytes, traffic), size=len(is_sequential)
    )
    places[is_sequential] = np.arange(int(is_sequential.sum()))
    return _trace("phases", traffic.request_bytes * places, traffic, seed)


def copy(
    n_requests: int,
    *,
    seed: int = 0,
    block_requests: int,
    source_address: int,
    target_address: int,
    traffic: Traffic = _STEADY,
) -> Trace:
    """Return blocks that are read in one place and written in another, as a copy does.

    Args:
      n_requests: 1 or more; the last block may be cut.
      seed: Random seed of the times; directions follow the copy.
      block_requests: Requests of a block, read and then written, 1 or more.
      source_address: Start of the reads [bytes].
      target_address: Start of the writes [bytes].
      traffic: Arrival of requests, except for directions; by default 64 bytes a tick.
    """
    require("block_requests", block_requests >= 1, "be at least 1", block_requests)
    block, place = np.divmod(np.arange(_count(n_requests)), 2 * block_requests)
    is_write = place >= block_requests
    lines = block * block_requests + place % block_requests
    addresses = np.where(is_write, target_address, source_address) + lines * traffic.request_bytes
    return _trace("copy", addresses, traffic, seed, is_write=is_write)


def interleave(traces: Sequence[Trace]) -> Trace:
    """Return the requests of several cores, each with its own trace, in order of time.

    Args:
      traces: One a core, of one clock and with times, not delays. Of requests due at the same
        time the earlier core's goes first.

    Raises:
      InvalidArgumentError: There is none, the clocks differ, or one holds delays.
    """
    clocks = {trace.clock_mhz for trace in traces}
    require("traces", len(clocks) == 1, "share one clock", sorted(clocks))
    require("traces", not any(t.relative for t in traces), "hold times, not delays", "delays")
    ticks = np.concatenate([trace.due_ticks for trace in traces])
    order = np.argsort(ticks, kind="stable")
    return Trace(
        name="multicore",
        ticks=ticks[order],
        is_write=np.concatenate([trace.is_write for trace in traces])[order],
        addresses=np.concatenate([trace.addresses for trace in traces])[order],
        lengths=np.concatenate([trace.lengths for trace in traces])[order],
        clock_mhz=clocks.pop(),
    )


# A stream's place in the list is its number in the seed's tree; append only.
_STREAMS = ("addresses", "gaps", "writes", "phases")


def _rng(seed: int, purpose: str) -> np.random.Generator:
    children = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    return np.random.default_rng(children[_STREAMS.index(purpose)])


def _trace(
    name: str,
    addresses: np.ndarray,
    traffic: Traffic,
    seed: int,
    *,
    relative: bool = False,
    is_write: np.ndarray | None = None,
) -> Trace:
    n = len(addresses)
    gaps = traffic.gaps(n, _rng(seed, "gaps"))
    return Trace(
        name=name,
        ticks=gaps if relative else np.cumsum(gaps),
        is_write=traffic.writes(n, _rng(seed, "writes")) if is_write is None else is_write,
        addresses=addresses,
        lengths=np.full(n, traffic.request_bytes, np.int64),
        clock_mhz=traffic.clock_mhz,
        relative=relative,
    )


def _between(bounds: tuple[int, int], n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(bounds[0], bounds[1], size=n, endpoint=True)


def _parts(total: int, n_parts: int, rng: np.random.Generator) -> np.ndarray:
    """Return `n_parts` numbers of at least 1 that add up to `total`, all such sums alike."""
    if n_parts == 0:
        return np.zeros(0, np.int64)
    cuts = np.argsort(rng.random(total - 1), kind="stable")[: n_parts - 1] + 1
    return np.diff(np.concatenate([[0], np.sort(cuts), [total]]))


def _lines(footprint_bytes: int, traffic: Traffic) -> int:
    length = traffic.request_bytes
    require("footprint_bytes", footprint_bytes >= length, "hold a request", footprint_bytes)
    return footprint_bytes // length


def _count(n_requests: int) -> int:
    require("n_requests", n_requests >= 1, "be at least 1", n_requests)
    return n_requests
