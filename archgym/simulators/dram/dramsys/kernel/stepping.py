"""Runs in parts: settings may change between them, and a run may be copied."""

from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.dramsys.kernel.batch import (
    OUTPUTS,
    Job,
    begin_design,
    blank_heap,
    blank_requests,
    end_design,
    job_of,
    load_trace,
    trace_table,
)
from archgym.simulators.dram.dramsys.kernel.commands import PER_BANK
from archgym.simulators.dram.dramsys.kernel.controller import ROW_HIT, start_bank
from archgym.simulators.dram.dramsys.kernel.events import NEXT_COMMAND, clear_events, wake_soon
from archgym.simulators.dram.dramsys.kernel.run import run_design
from archgym.simulators.dram.dramsys.kernel.state import COMMAND_LOG, EVENTS, MAX_BANKS, NONE
from archgym.simulators.dram.kernel.records import COUNTERS, record
from archgym.simulators.kit import SimulatorError
from archgym.simulators.kit.control import branch_of, copied
from archgym.simulators.kit.kernels import compiled, entry_point, pointer

# Places in `COUNTERS`.
(
    _ANSWERED, _LATENCY, _DUE, _TIME, _ACCEPTED, _SAME_ROW, _WRITES, _HITS, _MISSES, _CONFLICTS,
    _BACKLOG,
) = range(len(COUNTERS))  # fmt: skip
_EPOCH: Final = record(
    (np.int64, "oldest"),  # burst before which all were counted
    (np.int64, "n_accepted"),  # those of earlier parts, as all that follow
    (np.int64, "n_due time"),
    (np.int64, "served", 3),
    (np.int32, "last_row", MAX_BANKS),
)


@entry_point(seconds=5.0)
def _start(job: Job, events: Any) -> None:
    """Load a trace and a design."""
    load_trace(job)
    begin_design(job, 0)
    clear_events(events[0])


@entry_point(seconds=20.0)
def _advance(
    job: Job, events: Any, heap: Any, epoch: Any, controller: Any, until: int, out: Any
) -> bool:
    """Change settings where they differ, run until `until` bursts are answered, and count.

    Args:
      job: The run; its latencies and requests are filled in as it goes.
      events: (1,) of `EVENTS`.
      heap: Room for wake-ups.
      epoch: (1,) of `_EPOCH`.
      controller: (12,), settings of this part.
      until: Bursts answered since the start.
      out: (n_counters,) float64, filled in.

    Returns:
      False if the controller cannot continue.
    """
    s = job.state[0]
    d = job.device[0]
    e = events[0]
    requests = pointer(job.requests)
    entries = pointer(heap)
    changes = False
    for column in range(len(controller)):
        changes |= controller[column] != job.controllers[0, column]
        job.controllers[0, column] = controller[column]
    if changes:
        _switch(s, d, requests, e, controller)
    log = pointer(job.log)
    latencies = pointer(job.latencies)
    done = run_design(s, d, requests, log, latencies, e, entries, until)
    _count(s, d, requests, e, epoch[0], out)
    return done


@entry_point(seconds=5.0)
def _finish(job: Job, events: Any, done: bool) -> None:
    """Fill in the outputs of a run that has ended, as those of a whole run."""
    s = job.state[0]
    e = events[0]
    if e.n_in_controller == 0:
        s.idle += s.last_handed - e.idle_since
    end_design(job, 0, done)


@compiled
def _switch(s: Any, d: Any, requests: Any, e: Any, controller: Any) -> None:
    """Put settings into effect: every bank chooses again, and the controller runs once more now."""
    s.page_policy = controller[0]
    s.scheduler = controller[1]
    s.buffer_size = controller[3]
    per_command = d.banks_per_rank if s.refresh_policy == PER_BANK else 1
    s.max_postponed = controller[7] * per_command
    s.max_pulled_in = controller[8] * per_command
    for bus in range(2):
        s.bus_free[bus] = max(s.bus_free[bus], e.now)
    for bank in range(d.n_banks):
        # A bank that is blocked keeps its prepared command until the block takes effect.
        if not s.halted[bank] and s.head[bank] != NONE:
            start_bank(s, d, requests, bank)
    s.is_stale = 1
    wake_soon(e, NEXT_COMMAND)


@compiled
def _count(s: Any, d: Any, requests: Any, e: Any, epoch: Any, out: Any) -> None:
    """Fill in the counters of the part that ends."""
    for place in range(len(out)):
        out[place] = 0.0
    clock = s.player_clock
    for index in range(epoch.oldest, s.n_accepted):
        request = requests[index]
        if request.received == NONE or request.is_reported:
            continue
        request.is_reported = 1
        out[_ANSWERED] += 1.0
        out[_LATENCY] += request.received - request.sent
        due = request.sent if s.is_relative else min(request.sent, request.due)
        out[_DUE] += request.received - due
    while epoch.oldest < s.n_accepted and requests[epoch.oldest].is_reported:
        epoch.oldest += 1
    for index in range(epoch.n_accepted, s.n_accepted):
        request = requests[index]
        bank = np.int64(request.bank)
        out[_SAME_ROW] += request.row == epoch.last_row[bank]
        out[_WRITES] += request.is_write
        epoch.last_row[bank] = request.row
    out[_ACCEPTED] = s.n_accepted - epoch.n_accepted
    epoch.n_accepted = s.n_accepted
    out[_TIME] = e.now - epoch.time
    epoch.time = e.now
    for outcome in range(3):
        served = s.n_hits_served if outcome == ROW_HIT else s.n_misses_served
        served = s.n_conflicts_served if outcome == 2 else served
        out[_HITS + outcome] = served - epoch.served[outcome]
        epoch.served[outcome] = served
    if not s.is_relative and not e.is_held:
        due = e.now - s.stall
        while epoch.n_due < s.n_requests and requests[epoch.n_due].tick * clock <= due:
            epoch.n_due += 1
    out[_BACKLOG] = max(epoch.n_due, e.n_sent) - e.n_received


@final
class Run:
    """A run that has stopped, and all that is to come.

    Attributes:
      counters: (n_counters,) of the last part, by `COUNTERS`.
      n_requests: Bursts of the trace.
      n_answered: Those that were answered.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Begin a run of one design before its first event.

        Arguments are those of `batch.simulate`. Energy that is counted from a log of commands is
        left out.
        """
        names = ("addresses", "ticks", "is_write", "waits")
        self.n_requests, first = len(arguments["addresses"]), arguments["first_burst"]
        self._job = job_of(
            # Settings change in place.
            arguments["controllers"].copy(),
            arguments["mapping_index"],
            arguments["decoded"],
            trace_table(*(arguments[name] for name in names)),
            (arguments["player_clock_ps"], arguments["is_relative"]),
            arguments["device"],
            blank_requests(self.n_requests),
            np.zeros(0, dtype=np.int64) if first is None else first,
            np.zeros(0, dtype=COMMAND_LOG),
        )
        self._events = np.zeros(1, dtype=EVENTS)
        self._heap = blank_heap(self.n_requests)
        self._epoch = np.zeros(1, dtype=_EPOCH)
        self._epoch["last_row"] = NONE
        self.counters = np.zeros(len(COUNTERS))
        self.n_answered = 0
        # Burst before which a copy and its origin are equal.
        self._copied_from = 0
        _start(self._job, self._events)

    @property
    def is_over(self) -> bool:
        """True if every burst was answered."""
        return self.n_answered == self.n_requests

    def advance(self, controller: npt.NDArray[np.int64], until: int) -> npt.NDArray[np.float64]:
        """Run a part, and return its counters by `COUNTERS`.

        Args:
          controller: (12,), by `CONTROLLER_COLUMNS`; `_switch` says which may differ from before.
          until: Bursts answered since the start with which it stops; a few more may be.

        Raises:
          SimulatorError: The controller cannot continue under these settings.
        """
        until = min(until, self.n_requests)
        done = _advance(
            self._job, self._events, self._heap, self._epoch, controller, until, self.counters
        )
        self.n_answered = int(self._events[0]["n_received"])
        if not done:
            raise SimulatorError("The controller never ends under these settings.")
        return self.counters.copy()

    @property
    def reported(self) -> npt.NDArray[np.int64]:
        """Places of the bursts that parts so far have counted as answered."""
        return np.flatnonzero(self._job.requests["is_reported"])

    def due_latency_ps(self, bursts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the latencies of bursts that were answered, from when they are due [ps]."""
        found = self._job.requests[bursts]
        is_relative = self._job.state[0]["is_relative"]
        due = found["sent"] if is_relative else np.minimum(found["sent"], found["due"])
        return np.asarray(found["received"] - due)

    def copy(self, into: "Run | None" = None) -> "Run":
        """Return an independent run that continues alike.

        Args:
          into: Copy of the same run that is used again, which is faster; it may be ahead.
        """
        job, first, end = self._job, 0, self.n_requests
        if into is None:
            state = np.empty_like(job.state)
            own = job._replace(
                controllers=job.controllers.copy(),
                state=state,
                state_words=state.view(np.int64),
                requests=np.empty_like(job.requests),
                latencies=np.empty_like(job.latencies),
                out=job.out.copy(),
            )
            heap = np.zeros_like(self._heap)
        else:
            # Neither has changed other requests since the last copy.
            own, heap, first = into._job, into._heap, into._copied_from
            end = max(int(run._events[0]["n_sent"]) for run in (self, into))
        waiting = slice(2 * (int(self._events[0]["n_heap"]) + 1))
        copied(self._heap[waiting], heap[waiting])
        copied(job.state_words, own.state_words)
        copied(job.controllers, own.controllers)
        copied(job.requests[first:end], own.requests[first:end])
        copied(job.latencies[first:end], own.latencies[first:end])
        other = branch_of(self, into, ("_events", "_epoch", "counters"))
        other._job, other._heap = own, heap
        other._copied_from = int(self._epoch[0]["oldest"])
        return other

    def _outputs(self) -> dict[str, float]:
        end = self.copy()
        _finish(end._job, end._events, True)
        return dict(zip(OUTPUTS, end._job.out[0].tolist(), strict=True))

    def account(self) -> tuple[float, float]:
        """Return energy [pJ] and time [ns] so far, as if the last command ended the run."""
        found = self._outputs()
        return found["energy_pj"], found["energy_pj"] / found["power_mw"]

    def finish(self) -> dict[str, float]:
        """Return the outputs of a run that is over, by `batch.OUTPUTS`; the run stays as it is.

        Raises:
          SimulatorError: Bursts wait for an answer.
        """
        if not self.is_over:
            raise SimulatorError(
                f"A run must be over to be finished; {self.n_answered} of {self.n_requests} bursts "
                "were answered."
            )
        return self._outputs()
