"""Layers on an array with its memory: requests of the tiles, their run, and what follows from it.

A run has blocks of phases from all over a layer, up to a number of requests. The others follow
from one time of a byte, with which the blocks would have taken as long as they did: a phase takes
as long as it computes, or as its tiles need at that rate.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.accelerator.kernel.tiles import Array, Tiles, tiles_of
from archgym.simulators.accelerator.problem import Problem
from archgym.simulators.dram.ramulator.kernel.run import (
    Configuration,
    Outcome,
    outcome_of,
    peak_bytes_per_ps,
    placed_requests,
    work_of,
)
from archgym.simulators.dram.ramulator.machine import Standard

CLOCK_PS: Final = 1000
"""chosen: a clock of 1 GHz, as of TPU v2 and later."""
# chosen: rows and columns of folds differ; eight blocks meet most of their combinations.
_BLOCKS: Final = 8
# chosen: the time of a byte to a billionth of its range.
_HALVINGS: Final = 30
Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class LayerRun:
    """A layer on an array with its memory, all repeats of its groups together.

    Attributes:
      time_ps: Time of the layer [ps].
      compute_ps: Time without stalls [ps].
      n_bytes: Bytes between buffers and memory.
      share: Phases of the layer over those that were simulated, by bytes; 1 for a whole layer.
      outcome: The run of the controllers.
      addresses: (n,) int64, addresses of the requests of the run [byte].
      is_write: (n,) bool.
    """

    time_ps: float
    compute_ps: float
    n_bytes: int
    share: float
    outcome: Outcome
    addresses: Ints
    is_write: npt.NDArray[np.bool_]


def run_layer(
    problem: Problem,
    array: Array,
    made: Standard,
    configuration: Configuration,
    limit: int,
    without: str | None = None,
) -> LayerRun | None:
    """Return the run of a layer, or None if the controllers cannot serve it.

    Args:
      problem: The layer.
      array: Array with its buffers.
      made: Family of the memory's devices.
      configuration: The memory and its controllers.
      limit: Requests that are simulated at most; further phases are estimated.
      without: Cost of the memory that is not paid.
    """
    # Numba takes a while to import, which describing should not wait for.
    from archgym.simulators.accelerator_plus_dram.kernel.phases import (
        IS_STUCK,
        N_ACCEPTED,
        TICKS,
        run_phases,
    )

    tiles = tiles_of(problem, array)
    burst = made.organisations[configuration.organisation].burst_bytes
    each = tiles.reads.sum(axis=1) + tiles.writes
    chosen = _chosen(each // burst, limit)
    requests = _requests(tiles, chosen, burst)
    tick_ps = made.tick_ps(configuration.timing)
    numbers = requests.addresses // burst
    table = placed_requests(made, configuration, requests.addresses, numbers, requests.is_write)
    work = work_of(made, configuration, table, int(numbers.max()) + 1, without)
    ends_ps = np.cumsum(tiles.cycles[chosen]) * CLOCK_PS
    ticks = np.maximum(1, np.diff(-(-ends_ps // tick_ps), prepend=0))
    starts, out = np.zeros(len(chosen), dtype=np.int64), np.zeros(3, dtype=np.int64)
    run_phases(work, requests.read_from, requests.read_to, requests.release, ticks, starts, out)
    if out[IS_STUCK]:
        return None
    outcome = outcome_of(
        made, configuration, work, np.array([0, out[TICKS], out[TICKS], out[N_ACCEPTED]])
    )
    time_ps = float(out[TICKS]) * tick_ps
    others = np.ones(len(each), dtype=bool)
    others[chosen] = False
    if others.any():
        compute_ps = (tiles.cycles * CLOCK_PS).astype(np.float64)
        ran_ps = float(starts[-1] + ticks[-1] - starts[0]) * tick_ps
        slowness = _slowness(compute_ps[chosen], each[chosen], ran_ps)
        slowness = max(slowness, 1.0 / peak_bytes_per_ps(made, configuration))
        time_ps += float(np.maximum(compute_ps[others], each[others] * slowness).sum())
    return LayerRun(
        tiles.repeats * time_ps,
        float(tiles.repeats * tiles.cycles.sum() * CLOCK_PS),
        tiles.n_bytes,
        tiles.n_bytes / (burst * len(table)),
        outcome,
        requests.addresses,
        requests.is_write,
    )


def least_ps(
    problem: Problem, array: Array, bytes_per_ps: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the time that a layer takes at least: to compute, and to move its bytes, (n,) [ps].

    Args:
      problem: The layer.
      array: Array with its buffers.
      bytes_per_ps: (n,), peak rates of memories.
    """
    tiles = tiles_of(problem, array)
    compute_ps = float(tiles.repeats * tiles.cycles.sum() * CLOCK_PS)
    return np.maximum(compute_ps, tiles.n_bytes / bytes_per_ps)


def _chosen(counts: Ints, limit: int) -> Ints:
    """Return the phases to simulate: all, or blocks of them at equal distances.

    Args:
      counts: (n,) int64, requests of each phase.
      limit: Requests of all blocks together, of which each has at least four phases.
    """
    n = len(counts)
    if counts.sum() <= limit or n <= 4 * _BLOCKS:
        return np.arange(n)
    ends = np.cumsum(counts)
    is_chosen = np.zeros(n, dtype=bool)
    for block in range(_BLOCKS):
        first = n * (2 * block + 1) // (2 * _BLOCKS)
        last = np.searchsorted(ends, ends[first] + limit // _BLOCKS, side="right")
        is_chosen[first : max(first + 4, int(last))] = True
    return np.flatnonzero(is_chosen)


def _slowness(compute_ps: npt.NDArray[np.float64], each: Ints, ran_ps: float) -> float:
    """Return the time of a byte with which phases would have taken as long as they did [ps/B].

    Args:
      compute_ps: (n,), time of each phase without stalls [ps].
      each: (n,) int64, bytes of each phase.
      ran_ps: Time from the start of the first to the end of the last [ps].
    """
    low, high = 0.0, ran_ps / max(1, int(each.min()))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if np.maximum(compute_ps, each * middle).sum() < ran_ps:
            low = middle
        else:
            high = middle
    return high if np.maximum(compute_ps, each * low).sum() < ran_ps else 0.0


@final
@dataclass(frozen=True, eq=False)
class _Requests:
    """Requests of phases of a layer, in the order in which they are offered.

    Attributes:
      addresses: (n,) int64 [byte].
      is_write: (n,) bool.
      read_from, read_to: (n_phases,) int64, range of the requests of a phase's tiles.
      release: (n_phases,) int64, requests that may be offered when a phase has ended.
    """

    addresses: Ints
    is_write: npt.NDArray[np.bool_]
    read_from: Ints
    read_to: Ints
    release: Ints


def _requests(tiles: Tiles, chosen: Ints, burst: int) -> _Requests:
    """Return the requests of some phases: tiles of two phases, then results and tiles."""
    n = len(chosen)
    phase = np.arange(n)
    # Reads of phases 0 and 1; then the results of each phase, and the reads of the one after next.
    order = np.concatenate([np.repeat(2 * phase - 1, 3), 2 * phase + 2])
    addresses = np.concatenate([tiles.read_at[chosen].ravel(), tiles.write_at[chosen]])
    lengths = np.concatenate([tiles.reads[chosen].ravel(), tiles.writes[chosen]]) // burst
    is_write = np.arange(4 * n) >= 3 * n
    sorted_by = np.argsort(order, kind="stable")
    addresses, lengths = addresses[sorted_by], lengths[sorted_by]
    is_write, order = is_write[sorted_by], order[sorted_by]
    ends = np.cumsum(lengths)
    place = np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)
    read_to = ends[np.searchsorted(order, 2 * phase - 1, side="right") - 1]
    first = np.searchsorted(order, 2 * phase - 1, side="left")
    after = np.searchsorted(order, np.minimum(2 * phase + 3, 2 * n), side="right")
    return _Requests(
        np.repeat(addresses, lengths) + place * burst,
        np.repeat(is_write, lengths),
        ends[first] - lengths[first],
        read_to,
        ends[after - 1],
    )
