"""Runs of the controllers in parts: settings may change between them, and a run may be copied."""

from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.kernel.currents import energies_pj
from archgym.simulators.dram.kernel.power import count_commands
from archgym.simulators.dram.kernel.records import COUNTERS
from archgym.simulators.dram.ramulator.kernel.controller import Work, run
from archgym.simulators.dram.ramulator.kernel.run import (
    SCHEDULERS,
    Configuration,
    Outcome,
    Requests,
    outcome_of,
    prepare,
)
from archgym.simulators.dram.ramulator.kernel.state import NONE
from archgym.simulators.dram.ramulator.machine import Standard, power_of
from archgym.simulators.kit import SimulatorError
from archgym.simulators.kit.control import branch_of
from archgym.simulators.kit.kernels import entry_point

_CHANGING: Final = (
    "controller", "channels", "banks", "used", "ready", "rings", "priority", "requests",
    "is_buffered", "bank_accounts", "rank_accounts", "hash",
)  # fmt: skip
_REPORTED: Final = ("_progress", "_before", "_reported", "_last_row", "counters")


@entry_point(seconds=3.0)
def _switch(work: Work, clock: int) -> None:
    """Let every channel look at all candidates again under new settings, from the next tick on."""
    k = work.controller[0]
    n_banks = work.device[0].n_banks
    for c in range(len(work.channels)):
        ch = work.channels[c]
        ch.n_capped = 0
        for bank in range(c * n_banks, (c + 1) * n_banks):
            b = work.banks[bank]
            b.bound[0] = b.bound[1] = 0
            if k.closes and b.n_columns >= k.cap and not b.is_closing:
                ch.n_capped += 1
        ch.capped_from = 0
        ch.scan_from[0] = ch.scan_from[1] = 0
        ch.active_from = ch.active_wake = ch.priority_bound = 0
        ch.n_quiet = 0
        ch.wake = clock + 1


@entry_point(seconds=3.0)
def _count(
    work: Work,
    progress: Any,
    before: Any,
    reported: Any,
    last_row: Any,
    tick_ps: int,
    out: Any,
    waited: Any,
) -> None:
    """Fill in the counters of a part, by `COUNTERS`.

    Args:
      work: The run.
      progress: (4,), as the kernel filled it in.
      before: (6,) int64 sums at the end of the part before: oldest request that is not reported,
        accepted, ticks, hits, misses, conflicts; replaced.
      reported: (n_requests,) uint8.
      last_row: (n_channels * n_banks,) int64.
      tick_ps: Length of a tick [ps].
      out: (n_counters,) float64.
      waited: (n_requests,), filled in with the latencies of the bursts that were answered, from
        when they were due [ps].
    """
    d = work.device[0]
    clock, accepted = progress[1], progress[3]
    for place in range(len(out)):
        out[place] = 0.0
    n_waiting = 0
    for index in range(before[0], accepted):
        r = work.requests[index]
        if r.depart == NONE:
            n_waiting += 1
        elif not reported[index]:
            reported[index] = 1
            waited[np.int64(out[0])] = (r.depart - r.due) * tick_ps
            out[0] += 1.0
            out[1] += (r.depart - r.arrive) * tick_ps
            out[2] += (r.depart - r.due) * tick_ps
    while before[0] < accepted and reported[before[0]]:
        before[0] += 1
    for index in range(before[1], accepted):
        r = work.requests[index]
        place = r.channel * d.n_banks + r.bank
        out[5] += r.row == last_row[place]
        out[6] += r.is_write
        last_row[place] = r.row
    out[4] = accepted - before[1]
    before[1] = accepted
    out[3] = (clock - before[2]) * tick_ps
    before[2] = clock
    for kind in range(3):
        total = 0
        for c in range(len(work.channels)):
            ch = work.channels[c]
            if kind == 0:
                total += ch.hits
            elif kind == 1:
                total += ch.misses
            else:
                total += ch.conflicts
        out[7 + kind] = total - before[3 + kind]
        before[3 + kind] = total
    index = accepted
    stall = work.controller[0].stall
    while index < len(work.requests) and work.requests[index].due + stall <= clock:
        index += 1
    out[10] = n_waiting + index - accepted


@final
class Run:
    """A run that has stopped, and all that is to come.

    Attributes:
      configuration: Configuration with the settings that it began with.
      counters: (n_counters,) of the last part, by `COUNTERS`.
      due_latency_ps: (n,) of the bursts that were answered in the last part, from when they were
        due [ps].
      n_requests: Bursts of the trace.
    """

    def __init__(
        self,
        made: Standard,
        configuration: Configuration,
        requests: Requests,
        without: str | None = None,
    ) -> None:
        """Begin before the first tick; arguments are those of `run.run`."""
        self._made, self.configuration = made, configuration
        self._work = prepare(made, configuration, requests, without=without)
        self.n_requests = len(self._work.requests)
        self._progress, self._before = np.zeros(4, dtype=np.int64), np.zeros(6, dtype=np.int64)
        self._reported = np.zeros(self.n_requests, dtype=np.uint8)
        self.n_reported = 0
        self._last_row = np.full(len(self._work.banks), NONE, dtype=np.int64)
        self.counters = np.zeros(len(COUNTERS))
        self.due_latency_ps = np.zeros(0, dtype=np.int64)

    @property
    def is_over(self) -> bool:
        """True if every burst was served."""
        return self.n_reported == self.n_requests

    @property
    def n_answered(self) -> int:
        """Bursts that were accepted, which stand for the progress of a run."""
        return int(self._progress[3])

    def advance(self, settings: Configuration, until: int) -> npt.NDArray[np.float64]:
        """Run a part, and return its counters by `COUNTERS`.

        Args:
          settings: Configuration; scheduler, row policy, cap and marks of writes may
            differ from those of the start.
          until: Bursts accepted since the start with which it stops; all to run to the end.

        Raises:
          SimulatorError: The controllers cannot continue under these settings.
        """
        k = self._work.controller[0]
        wanted = {
            "row_hit_first": settings.scheduler == SCHEDULERS[1],
            "closes": settings.row_policy == "ClosedCAP",
            "cap": settings.cap,
            # In single precision, as at the start.
            "low": float(np.float32(settings.wr_low) * np.float32(settings.write_buffer)),
            "high": float(np.float32(settings.wr_high) * np.float32(settings.write_buffer)),
        }
        if any(k[name] != value for name, value in wanted.items()):
            for name, value in wanted.items():
                k[name] = value
            _switch(self._work, int(self._progress[1]))
        limit = until if until < self.n_requests else self.n_requests + 1
        run(self._work, self._progress, limit)
        tick_ps = self._made.tick_ps(self.configuration.timing)
        waited = np.empty(self.n_requests, dtype=np.int64)
        _count(
            self._work, self._progress, self._before, self._reported, self._last_row, tick_ps,
            self.counters, waited,
        )  # fmt: skip
        n_new = int(self.counters[0])
        self.n_reported, self.due_latency_ps = self.n_reported + n_new, waited[:n_new].copy()
        if self._progress[0]:
            raise SimulatorError("The controllers never end under these settings.")
        return self.counters.copy()

    def copy(self, into: "Run | None" = None) -> "Run":
        """Return an independent run that continues alike; `into` is one that is used again."""
        work = branch_of(self._work, into and into._work, _CHANGING)
        other = branch_of(self, into, _REPORTED)
        other._work = work
        return other

    def account(self) -> tuple[float, float]:
        """Return energy [pJ] and time [ns] so far; the run must count energy."""
        c, made = self.configuration, self._made
        power = power_of(made, c.organisation, c.timing)
        banks, ranks = self._work.bank_accounts.copy(), self._work.rank_accounts.copy()
        none = np.zeros(0, dtype=np.int64)
        ticks = int(self._progress[1])
        # Closes the accounts of the copy; nothing is left to close at the end of a run.
        count_commands(self._work.power_rules, banks, ranks, none, none, none, none, ticks)
        energies = energies_pj(power, banks, ranks, ticks)
        return sum(energies.values()), ticks * made.tick_ps(c.timing) / 1000.0

    def finish(self) -> Outcome:
        """Return the outcome of a run that is over."""
        return outcome_of(self._made, self.configuration, self._work, self._progress)
