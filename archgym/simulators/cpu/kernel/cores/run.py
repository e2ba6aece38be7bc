"""Several cores on one trace each: counters of all of them together."""

from collections.abc import Sequence
from typing import Final, final

import numpy as np

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import COUNTERS, Ideal, counters_of, state_of
from archgym.simulators.cpu.kernel.state import make_weights
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.workloads.programs import InstructionTrace
from archgym.simulators.kit import SimulatorError
from archgym.simulators.kit.control import branch_of

MAX_CORES: Final = 4
"""A cache has room for four channels from above."""
# chosen: four cores then fit the 8 GiB of one DRAM channel.
_MAX_PAGES: Final = 1 << 19
_QUEUES: Final = (lay.C_READS, lay.C_PREFETCHES, lay.C_WRITES)
_SHARED: Final = ("LLC_", "DRAM_")
_NO_CYCLE: Final = 1 << 62


def run_cores(
    parameters: Machine,
    traces: Sequence[InstructionTrace],
    warmup: int,
    length: int,
    ideal: Ideal | None = None,
) -> tuple[Ints, tuple[int, ...]] | None:
    """Return `COUNTERS` of cores that share last level and DRAM, and cycles by core.

    Cycles are those of the slowest core. Counts of last level and DRAM last until it is done;
    those of a core until it has retired its instructions. A core that is done runs on until its
    trace ends.

    Args:
      parameters: Every parameter, of `machine`; the last level and the DRAM exist once.
      traces: One for each core.
      warmup: Instructions of each core before counting.
      length: Instructions of each core that are counted.
      ideal: Costs that are free.

    Returns:
      (n_counters,) and a number for each core; None if a machine never ends.

    Raises:
      SimulatorError: A trace is too short, or more is in flight than the model can hold.
    """
    cores = Cores(parameters, traces, warmup, length, ideal)
    cores.advance(_NO_CYCLE)
    return cores.finish()


@final
class Cores:
    """Cores that share last level and DRAM, in the counted phase, whose run may stop and continue.

    Attributes:
      states, shared, counters, spent: As of `kernel.advance_cores`.
      now: Last cycle that ran.
    """

    def __init__(
        self,
        parameters: Machine,
        traces: Sequence[InstructionTrace],
        warmup: int,
        length: int,
        ideal: Ideal | None = None,
        strides: tuple[int, ...] = (),
    ) -> None:
        """Warm the cores up.

        Args:
          parameters: As of `run_cores`, like the others.
          strides: Caches that have room for the stride prefetcher.
        """
        from archgym.simulators.cpu.kernel.cores import kernel

        self._kernel = kernel
        self._length = length
        self._traces, self._region = traces, (warmup, length)
        rows = [state_of(parameters, t, self._region, ideal, strides=strides) for t in traces]
        self.states = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
        next_page = 0
        own = lay.CHANNELS + lay.CHANNEL_SIZE * lay.L2C_LLC
        for state, row, trace in zip(self.states, rows, traces, strict=True):
            state[: len(row)] = row
            # Nobody is woken by a core's own channel: the kernel carries its requests over.
            state[own + lay.C_LOWER] = kernel.FLAGS
            # Physical pages do not overlap; every walk may use up numbers of pages.
            state[lay.G_NEXT_PAGE] += next_page
            next_page += min(4 * trace.n_pages + 2 * (length + warmup), _MAX_PAGES)
        self.shared = _shared_state(parameters, traces[0], self._region, ideal, len(traces))
        self._weights = np.array([make_weights(parameters) for _ in traces])
        self._records = np.concatenate([trace.records for trace in traces])
        starts = np.cumsum([0, *(len(trace.records) for trace in traces[:-1])])
        self._starts = starts.astype(np.int64)
        self.counters = np.zeros((len(traces), lay.N_COUNTERS), dtype=np.int64)
        self.spent = np.zeros((len(traces), 4), dtype=np.int64)
        self.now = 0
        kernel.start_cores(self.states, self.shared, int(warmup > 0))
        if warmup > 0:
            self._advance(warmup, 0, _NO_CYCLE, 1)
        kernel.count_cores(self.states, self.shared, self.now)
        self._advance(length, 1, 0, 1)

    def _advance(self, length: int, runs_on: int, until: int, begins: int) -> None:
        self.now = self._kernel.advance_cores(
            self.states, self.shared, self._weights, self._records, self._starts,
            self.counters, self.spent, self.now, length, runs_on, until, begins,
        )  # fmt: skip

    def advance(self, until: int) -> None:
        """Run to the end of a cycle, or until every core is done."""
        self._advance(self._length, 1, until, 0)

    @property
    def is_over(self) -> bool:
        """True if every core is done, or a machine cannot continue."""
        return bool((self.spent[:, 0] >= 0).all()) or self.shared[lay.G_STATUS] != lay.STATUS_OK

    def copy(self, into: "Cores | None" = None) -> "Cores":
        """Return independent cores that continue alike; `into` are some that are used again."""
        return branch_of(self, into, ("states", "shared", "_weights", "counters", "spent"))

    def finish(self) -> tuple[Ints, tuple[int, ...]] | None:
        """Return what `run_cores` does; the cores stay as they are."""
        if int(self.shared[lay.G_STATUS]) == lay.STATUS_OVERFLOW:
            raise SimulatorError("The CPU model holds too little for this many cores.")
        return _together(
            self.states.copy(), self.shared, self.counters, self.spent[:, :3], self._traces,
            self._region,
        )  # fmt: skip


def _together(
    states: Ints,
    shared: Ints,
    counters: Ints,
    spent: Ints,
    traces: Sequence[InstructionTrace],
    region: tuple[int, int],
) -> tuple[Ints, tuple[int, ...]] | None:
    """Return the counters of all cores and of what they share."""
    total = np.zeros(len(COUNTERS), dtype=np.int64)
    end = lay.COUNTERS + lay.N_COUNTERS
    for state, own, (cycles, retired, _), trace in zip(
        states, counters, spent.tolist(), traces, strict=True
    ):
        state[lay.COUNTERS : end] = own
        found = counters_of(state, (cycles, retired), trace, region)
        if found is None:
            return None
        total += found
    below = counters_of(shared, (int(spent[:, 0].max()), 0), traces[0], region)
    assert below is not None
    is_shared = np.array([name.startswith(_SHARED) for name in COUNTERS])
    total[is_shared] = below[is_shared]
    total[0] = below[0]
    return total, tuple(spent[:, 0].tolist())


def _shared_state(
    parameters: Machine,
    trace: InstructionTrace,
    region: tuple[int, int],
    ideal: Ideal | None,
    n_cores: int,
) -> Ints:
    """Return the state of last level and DRAM, with a channel for each core."""
    from archgym.simulators.cpu.kernel.cores.kernel import FLAGS

    state = state_of(parameters, trace, region, ideal)
    level = lay.CACHES + lay.CACHE_SIZE * lay.LLC
    first = int(state[level + lay.K_UPPER])
    state[level + lay.K_N_UPPER] = n_cores
    state[first + lay.C_UPPER] = FLAGS
    end = len(state)
    added = []
    for core in range(1, n_cores):
        # Channels of the first-level caches, which this state does not run, serve the others.
        channel = lay.CHANNELS + lay.CHANNEL_SIZE * (core - 1)
        state[level + lay.K_UPPER + core] = channel
        state[channel + lay.C_UPPER] = FLAGS + core
        state[channel + lay.C_LOWER] = lay.WAKE + lay.LLC
        for queue in _QUEUES:
            for field in (lay.Q_CAPACITY, lay.Q_MASK):
                state[channel + queue + field] = state[first + queue + field]
            state[channel + queue + lay.Q_BUFFER] = end
            added.append(int(state[first + queue + lay.Q_MASK]) + 1)
            end += added[-1]
    return np.concatenate([state, np.zeros(sum(added), dtype=np.int64)])
