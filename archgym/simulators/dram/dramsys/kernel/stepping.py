"""Runs in parts: settings may change between them, and a run may be copied.

A run holds a window of the trace's bursts, which moves on as they are answered, so that memory and
the cost of a copy do not grow with the trace. Within the window bursts are known by their place in
it; the module `state` says by which fields.
"""

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
from archgym.simulators.dram.dramsys.kernel.commands import (
    ARBITER_REORDER,
    ARBITER_SIMPLE,
    CONTROLLER_COLUMNS,
    PER_BANK,
)
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
# chosen: 2 MB, which stay in a cache; an epoch is some hundred bursts.
_WINDOW: Final = 1 << 14
# chosen: bursts on their way between player and arbiter, and those answered at one time.
_ON_THE_WAY: Final = 32
_ARBITER: Final = CONTROLLER_COLUMNS.index("arbiter")
_MAX_ACTIVE: Final = CONTROLLER_COLUMNS.index("max_active_transactions")
_EPOCH: Final = record(
    (np.int64, "base"),  # burst of the trace with which the window begins
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
    job.state[0].n_requests = len(job.trace)


@entry_point(seconds=5.0)
def _move(job: Job, events: Any, epoch: Any, by: int, n_kept: int) -> None:
    """Let the window begin `by` bursts later, and fill it behind those that were kept.

    Kept bursts stand at their new places already. All before them were counted.
    """
    s = job.state[0]
    e = events[0]
    n = epoch[0]
    n.base += by
    n.oldest -= by
    n.n_accepted -= by
    n.n_due -= by
    for field in (0, 1):
        for kind in range(4):
            e.message_request[field, kind] -= by
    e.n_queued -= by
    e.n_left -= by
    e.outgoing = _moved(e.outgoing, by)
    e.parked = _moved(e.parked, by)
    e.pending_first -= by
    e.pending_end -= by
    e.n_responses -= by
    e.n_responses_handed -= by
    e.n_sent -= by
    e.n_received -= by
    s.n_requests -= by
    s.n_accepted -= by
    s.n_issued -= by
    s.incoming = _moved(s.incoming, by)
    s.accepted = _moved(s.accepted, by)
    s.issued = _moved(s.issued, by)
    s.selected_request = _moved(s.selected_request, by)
    s.issued_request = _moved(s.issued_request, by)
    for bank in range(MAX_BANKS):
        s.head[bank] = _moved(s.head[bank], by)
        s.tail[bank] = _moved(s.tail[bank], by)
        s.current[bank] = _moved(s.current[bank], by)
        s.prepared_request[bank] = _moved(s.prepared_request[bank], by)
    for index in range(n_kept):
        request = job.requests[index]
        request.handed -= by
        request.previous = _moved(request.previous, by)
        request.next = _moved(request.next, by)
        if s.arbiter != ARBITER_REORDER:
            request.arbiter_order = _moved(request.arbiter_order, by)
        request.waits[0] -= by
        request.waits[1] -= by
    decoded = job.decoded[job.mapping_index[0]]
    for index in range(n_kept, min(len(job.requests), s.n_requests)):
        request = job.requests[index]
        asked = job.trace[n.base + index]
        place = decoded[n.base + index]
        request.address = asked.address
        request.tick = asked.tick
        request.is_write = asked.is_write
        request.waits[0] = asked.waits[0] - n.base
        request.waits[1] = asked.waits[1] - n.base
        request.row = place.row
        request.bank = place.bank
        request.group = place.group
        request.rank = place.rank
        request.is_reported = 0


@compiled
def _moved(index: int, by: int) -> int:
    return index if index == NONE else index - by


@entry_point(seconds=20.0)
def _advance(
    job: Job,
    events: Any,
    heap: Any,
    epoch: Any,
    controller: Any,
    until: int,
    out: Any,
    waited: Any,
) -> bool:
    """Change settings where they differ, run until `until` bursts are answered, and count.

    Args:
      job: The run; its latencies and requests are filled in as it goes.
      events: (1,) of `EVENTS`.
      heap: Room for wake-ups.
      epoch: (1,) of `_EPOCH`.
      controller: (12,), settings of this part.
      until: Bursts of the window that are answered.
      out: (n_counters,) float64, filled in.
      waited: (n_requests,), filled in with the latencies of the bursts that were answered, from
        when they were due [ps].

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
    _count(s, d, requests, e, epoch[0], job.trace, out, waited)
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
def _count(
    s: Any, d: Any, requests: Any, e: Any, epoch: Any, trace: Any, out: Any, waited: Any
) -> None:
    """Fill in the counters of the part that ends."""
    for place in range(len(out)):
        out[place] = 0.0
    n_answered = 0
    clock = s.player_clock
    for index in range(epoch.oldest, s.n_accepted):
        request = requests[index]
        if request.received == NONE or request.is_reported:
            continue
        request.is_reported = 1
        out[_LATENCY] += request.received - request.sent
        due = request.sent if s.is_relative else min(request.sent, request.due)
        out[_DUE] += request.received - due
        waited[n_answered] = request.received - due
        n_answered += 1
    out[_ANSWERED] = n_answered
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
        # Those that are due may lie beyond the window.
        while epoch.n_due < s.n_requests and trace[epoch.base + epoch.n_due].tick * clock <= due:
            epoch.n_due += 1
    out[_BACKLOG] = max(epoch.n_due, e.n_sent) - e.n_received


@final
class Run:
    """A run that has stopped, and all that is to come.

    Attributes:
      counters: (n_counters,) of the last part, by `COUNTERS`.
      due_latency_ps: (n,) of the bursts that were answered in the last part, from when they were
        due [ps].
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
        # Settings change in place.
        controllers = arguments["controllers"].copy()
        self._n_active = _ON_THE_WAY + int(controllers[0, _MAX_ACTIVE])
        size = min(self.n_requests, _WINDOW)
        # Without an arbiter that limits them, or where bursts are joined, all are held.
        if controllers[0, _ARBITER] == ARBITER_SIMPLE or first is not None:
            size = self.n_requests
        trace = trace_table(*(arguments[name] for name in names))
        self._job = job_of(
            controllers,
            arguments["mapping_index"],
            arguments["decoded"],
            trace,
            (arguments["player_clock_ps"], arguments["is_relative"]),
            arguments["device"],
            blank_requests(size),
            np.zeros(0, dtype=np.int64) if first is None else first,
            np.zeros(0, dtype=COMMAND_LOG),
        )
        # None where the window holds all.
        self._needed = _needed_from(trace) if size < self.n_requests else None
        self._events = np.zeros(1, dtype=EVENTS)
        self._heap = blank_heap(2 * size)
        self._epoch = np.zeros(1, dtype=_EPOCH)
        self._epoch["last_row"] = NONE
        self.counters = np.zeros(len(COUNTERS))
        self.due_latency_ps = np.zeros(0, dtype=np.int64)
        self._waited = np.empty(size, dtype=np.int64)
        self.n_answered = 0
        # Latencies of bursts before the window.
        self._before: tuple[npt.NDArray[np.int64], ...] = ()
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
        waited: list[npt.NDArray[np.int64]] = []
        found, done = self.counters, True
        while done and (not waited or self.n_answered < until):
            # Half of a window at a time, so that those under way fit.
            stop = min(until, self.n_answered + _WINDOW // 2)
            base = self._hold(stop) if self._needed is not None else 0
            now = self.counters if not waited else np.empty_like(found)
            done = _advance(
                self._job, self._events, self._heap, self._epoch, controller, stop - base, now,
                self._waited,
            )  # fmt: skip
            events = self._events[0]
            assert events["n_sent"] <= len(self._job.requests)
            self.n_answered = base + int(events["n_received"])
            if waited:
                found += now
                found[_BACKLOG] = now[_BACKLOG]
            waited.append(self._waited[: int(now[_ANSWERED])].copy())
        self.due_latency_ps = waited[0] if len(waited) == 1 else np.concatenate(waited)
        if not done:
            raise SimulatorError("The controller never ends under these settings.")
        return found.copy()

    def _hold(self, until: int) -> int:
        """Move the window so that it holds all bursts that are sent before `until` are answered.

        Returns:
          The burst of the trace with which it begins.
        """
        job, base = self._job, int(self._epoch[0]["base"])
        n_held, end = len(job.requests), min(self.n_requests, until + self._n_active)
        if base + n_held >= end:
            return base
        n_sent = int(self._events[0]["n_sent"])
        assert self._needed is not None
        # Those to come may wait for an answer that is long known.
        needed = int(self._needed[base + n_sent]) - base
        first = max(0, min(int(self._epoch[0]["oldest"]), n_sent - 1, needed))
        n_kept, size = n_held - first, max(_WINDOW, end - base - first)
        requests, latencies = job.requests, job.latencies
        if size > n_held:
            requests, latencies = blank_requests(size), np.zeros(size, dtype=np.int64)
            self._waited = np.empty(size, dtype=np.int64)
        self._before = (*self._before, job.latencies[:first].copy())
        copied(job.requests[first:].copy(), requests[:n_kept])
        latencies[:n_kept] = job.latencies[first:].copy()
        self._job = job._replace(requests=requests, latencies=latencies)
        n_heap = 2 * (int(self._events[0]["n_heap"]) + 1)
        if len(self._heap) < n_heap + len(blank_heap(size)):
            heap = blank_heap(2 * (size + n_heap))
            heap[:n_heap] = self._heap[:n_heap]
            self._heap = heap
        _move(self._job, self._events, self._epoch, first, n_kept)
        self._copied_from = 0
        return base + first

    def copy(self, into: "Run | None" = None) -> "Run":
        """Return an independent run that continues alike.

        Args:
          into: Copy of the same run that is used again, which is faster; it may be ahead.
        """
        job, first, end = self._job, 0, len(self._job.requests)
        if into is None or len(into._job.requests) != end:
            state = np.empty_like(job.state)
            own = job._replace(
                controllers=job.controllers.copy(),
                state=state,
                state_words=state.view(np.int64),
                requests=np.empty_like(job.requests),
                latencies=np.empty_like(job.latencies),
                out=job.out.copy(),
            )
        else:
            own = into._job
            if into._epoch["base"] == self._epoch["base"]:
                # Neither has changed other requests since the last copy.
                first = into._copied_from
                end = max(int(run._events["n_sent"][0]) for run in (self, into))
        heap = self._heap if into is None else into._heap
        if into is None or len(heap) < len(self._heap):
            heap = np.empty(len(self._heap), dtype=np.int64)
        waiting = slice(2 * (int(self._events[0]["n_heap"]) + 1))
        copied(self._heap[waiting], heap[waiting])
        copied(job.state_words, own.state_words)
        copied(job.controllers, own.controllers)
        copied(job.requests[first:end], own.requests[first:end])
        copied(job.latencies[first:end], own.latencies[first:end])
        room = np.empty(len(self._waited), np.int64) if into is None else into._waited
        other = branch_of(self, into, ("_events", "_epoch", "counters"))
        other._job, other._heap = own, heap
        other._waited = room if len(room) == len(self._waited) else np.empty_like(self._waited)
        other._copied_from = int(self._epoch["oldest"][0])
        return other

    def _outputs(self, latencies: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return `batch.OUTPUTS` as if the run ended now, of requests with these latencies."""
        job, state = self._job, self._job.state.copy()
        end = job._replace(state=state, state_words=state.view(np.int64), latencies=latencies)
        _finish(end, self._events, True)
        return dict(zip(OUTPUTS, end.out[0].tolist(), strict=True))

    def account(self) -> tuple[float, float]:
        """Return energy [pJ] and time [ns] so far, as if the last command ended the run."""
        found = self._outputs(np.zeros(max(1, len(self._job.first_burst)), dtype=np.int64))
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
        n_left = self.n_requests - int(self._epoch["base"][0])
        return self._outputs(np.concatenate((*self._before, self._job.latencies[:n_left])))


def _needed_from(trace: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return (n + 1,), the first burst whose answer one from each place on waits for."""
    waits = trace["waits"]
    first = np.where(waits[:, 1] > waits[:, 0], waits[:, 0], len(trace))
    return np.append(np.minimum.accumulate(first[::-1])[::-1], len(trace))
