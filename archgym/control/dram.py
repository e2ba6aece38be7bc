"""Memory controllers under control: runs of both controllers, and tasks of phases in turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, final

import numpy as np

from archgym.control.runs import Counter, Part, Run, completed
from archgym.control.tasks import ControlTask, episodes_of, joined_names, product, seed_of, turns
from archgym.errors import (
    InvalidArgumentError,
    InvalidDesignError,
    SimulatorError,
    sentence,
    unknown_name,
)
from archgym.evaluation.options import Option
from archgym.evaluation.simulator import Workload
from archgym.simulators.dram.formats.trace import Trace
from archgym.simulators.dram.kernel.currents import core_power
from archgym.simulators.dram.ramulator.kernel.run import SCHEDULERS, bursts_of, peak_bytes_per_ps
from archgym.simulators.dram.ramulator.simulator import RamulatorSimulator
from archgym.simulators.dram.simulator import DramSimulator, device_names
from archgym.simulators.dram.workloads import generators
from archgym.simulators.dram.workloads.generators import Traffic
from archgym.simulators.dram.workloads.shipped import SHIPPED, load_trace
from archgym.spaces.parameter import Value

_FOOTPRINT: Final = 2**30
_AT_ONCE: Final = "Takes effect with the next command of each bank; nothing is drained."
# chosen: ten times the latency at which the counter's range ends.
_LOST_NS: Final = 1e6
"""Latency that a burst counts which is never answered."""
COUNTERS: Final = (
    Counter(name="locality", low=0.0, high=1.0,
        doc="Share of requests that go to the row of their bank's previous request."),
    Counter(name="rate", low=0.0, high=1.0, doc="Share of the data bus's time in use."),
    Counter(name="hits", low=0.0, high=1.0, doc="Share of row hits."),
    Counter(name="misses", low=0.0, high=1.0, doc="Share of requests that found no row open."),
    Counter(name="conflicts", low=0.0, high=1.0, doc="Share that found another row open."),
    Counter(name="writes", low=0.0, high=1.0, doc="Share of writes."),
    Counter(name="backlog", low=1.0, high=4096.0, is_log=True,
        doc="Requests due but not answered, and one."),
    Counter(name="latency_ns", low=10.0, high=100_000.0, is_log=True,
        doc="Mean time from when a request is due to its answer."),
    Counter(name="held_ns", low=1.0, high=100_000.0, is_log=True,
        doc="Part of that time before the request is sent."),
)  # fmt: skip


class _MemoryRun(Run):
    """Counters of both controllers.

    Under some settings controllers cannot continue, as published: bursts that they never answer
    are lost, and the run is over.
    """

    counters = COUNTERS
    _run: Any
    _burst_ps: float
    _n_answered = _n_lost = 0

    @property
    def is_over(self) -> bool:
        """True if every burst was answered or is lost."""
        return self._n_lost > 0 or bool(self._run.is_over)

    def _advance(self, choices: tuple[Any, ...], until: int) -> Part:
        """Run until bursts are answered, or accepted by Ramulator's controllers."""
        machine = self._run
        is_stuck = False
        try:
            machine.advance(choices[0], until)
        except SimulatorError:
            is_stuck = True
        (
            answered, latency, due, time, accepted, same, writes, hits, misses, conflicts, backlog,
        ) = machine.counters.tolist()  # fmt: skip
        self._n_answered += int(answered)
        lost = self._n_lost = is_stuck * (machine.n_requests - self._n_answered)
        served = max(1.0, hits + misses + conflicts)
        done = max(1.0, answered)
        values = np.array([[
            same / max(1.0, accepted), answered * self._burst_ps / max(1.0, time), hits / served,
            misses / served, conflicts / served, writes / max(1.0, accepted), 1.0 + backlog,
            due / done / 1000.0, (due - latency) / done / 1000.0,
        ]])  # fmt: skip
        cost = due / 1000.0 + _LOST_NS * lost
        return Part(np.array([answered + lost]), np.array([cost]), values)


@final
class DramRun(_MemoryRun):
    """A controller of DRAMSys on a trace, exact in every event."""

    switchable: ClassVar[Mapping[str, str]] = {
        "page_policy": f"{_AT_ONCE} Rows that are open stay open until they are used or replaced.",
        "scheduler": _AT_ONCE,
        "request_buffer_size": "A smaller buffer takes no request until it has drained by itself.",
        "refresh_max_postponed": "Refreshes that are owed beyond it are forced at once.",
        "refresh_max_pulled_in": "Refreshes that were done ahead beyond it stay done.",
    }

    def __init__(
        self, simulator: DramSimulator, design: Mapping[str, Value], workload: Workload
    ) -> None:
        """Begin a run.

        Args:
          simulator: Simulator of the device.
          design: Values of its space; others are the default's.
          workload: The trace.
        """
        from archgym.simulators.dram.kernel import stepping

        self._simulator = simulator
        self._design = completed(simulator.space, design)
        indices = _indices(simulator, self._design)
        self._run = stepping.Run(simulator.kernel_arguments(indices, workload))
        device = simulator.device
        self._burst_ps = device.burst_bytes * 1000.0 / device.peak_bandwidth_gbps

    def _choice(self, settings: Mapping[str, Value]) -> np.ndarray:
        """Return the kernel's row of settings; see `Run.choice`."""
        indices = _indices(self._simulator, {**self._design, **settings})
        found: np.ndarray = self._simulator._controllers(indices)[0]
        return found

    def _finish(self) -> Mapping[str, float]:
        """Return the kernel's outputs by name, without energy that needs a log of commands."""
        found: dict[str, float] = self._run.finish()
        if core_power(self._simulator.device) is None:
            return found
        return {
            name: value
            for name, value in found.items()
            if "energy" not in name and name not in ("power_mw", "accounted_cycles")
        }


@final
class RamulatorRun(_MemoryRun):
    """Controllers of Ramulator on a trace."""

    switchable: ClassVar[Mapping[str, str]] = {
        "scheduler": _AT_ONCE,
        "row_policy": f"{_AT_ONCE} Precharges that were asked for still come.",
        "cap": _AT_ONCE,
        "wr_low": _AT_ONCE,
        "wr_high": _AT_ONCE,
    }

    def __init__(
        self, simulator: RamulatorSimulator, design: Mapping[str, Value], workload: Workload
    ) -> None:
        """Begin a run; arguments are those of `DramRun`."""
        from archgym.simulators.dram.ramulator.kernel.stepping import Run as Controllers

        self._simulator = simulator
        self._design = completed(simulator.space, design)
        made = simulator.made
        c = simulator.configuration(self._design)
        self._bursts = bursts_of(workload.content, simulator.burst_bytes)
        if simulator.refusal(c, self._bursts.end_address):
            raise InvalidArgumentError(
                f"The design must hold workload {workload.name!r}; its capacity or its refreshes "
                "do not fit."
            )
        self._run = Controllers(made, c, self._bursts.requests)
        self._burst_ps = simulator.burst_bytes / peak_bytes_per_ps(made, c)

    def _choice(self, settings: Mapping[str, Value]) -> Any:
        """Return the configuration; see `Run.choice`."""
        design = {**self._design, **settings}
        _indices(self._simulator, design)
        return self._simulator.configuration(design)

    def _finish(self) -> Mapping[str, float]:
        """Return the metrics by name."""
        run = self._run
        if self._n_lost:
            raise SimulatorError(f"The controllers never answered {self._n_lost} bursts.")
        return self._simulator._measure(run.configuration, self._bursts, run.finish())


@final
class ChannelsRun(Run):
    """Channels with a controller each, an agent each; epochs are in bursts of each channel."""

    switchable: ClassVar[Mapping[str, str]] = {**RamulatorRun.switchable, **DramRun.switchable}
    counters = COUNTERS
    _written = ("_runs",)

    def __init__(self, runs: Sequence[Run]) -> None:
        """Take a run for each channel."""
        self._runs = tuple(runs)
        self.n_agents = len(self._runs)

    @property
    def is_over(self) -> bool:
        """True if every channel is done."""
        return all(run.is_over for run in self._runs)

    def _choice(self, settings: Mapping[str, Value]) -> Any:
        """Return settings as every channel takes them; see `Run.choice`."""
        return self._runs[0].choice(settings)

    def _advance(self, choices: tuple[Any, ...], until: int) -> Part:
        """Run every channel until its bursts are answered; see `Run.advance`."""
        pairs = zip(self._runs, choices, strict=True)
        parts = [run.advance((choice,), until) for run, choice in pairs]
        fields = zip(*((part.work, part.cost, part.values) for part in parts), strict=True)
        return Part(*(np.concatenate(field) for field in fields))

    def _finish(self) -> Mapping[str, float]:
        """Return the metrics of each channel by name."""
        return {
            f"{name}_{channel}": value
            for channel, run in enumerate(self._runs)
            for name, value in run.finish().items()
        }


def _indices(simulator: Any, design: Mapping[str, Value]) -> np.ndarray:
    """Return (1, n_parameters) of a design.

    Raises:
      InvalidDesignError: The space does not allow it.
    """
    space = simulator.space
    found: np.ndarray = space.canonical(space.indices_of(design)[None, :])
    broken = int(space.violations(found)[0])
    if broken >= 0:
        why = sentence(space.constraints[broken].reason)
        raise InvalidDesignError(f"The design with these settings is infeasible: {why}")
    return found


_Kind = Callable[[int, int], Trace]
"""Function of a number of requests and a seed."""


def in_turns(kinds: Sequence[_Kind], n: int, seed: int, name: str) -> Trace:
    """Return phases in turns, each a trace of its own, one after the other in time.

    Args:
      kinds: One for each kind of phase.
      n: Requests in all.
      seed: Random seed of order, lengths and phases.
      name: Name of the trace.
    """
    rng = np.random.default_rng([seed, 0])
    parts: list[Trace] = []
    # chosen: 6 to 14 epochs of 250, so that a policy that reacts in one can win.
    for kind, length in turns(rng, len(kinds), 1500, 3500):
        left = n - sum(map(len, parts))
        parts.append(kinds[kind](min(left, length), int(rng.integers(1 << 31))))
        # A trace may have fewer.
        if len(parts[-1]) == left:
            break
    ticks, waits, start, n_before = [], [], 0, 0
    clock_mhz = parts[0].clock_mhz
    for part in parts:
        # A clock of its own, such as that of a recorded trace, is another scale.
        ticks.append(start + part.ticks * clock_mhz // part.clock_mhz)
        start = int(ticks[-1][-1]) + 1
        own = part.waits_for if len(part.waits_for) else np.full(len(part), -1)
        waits.append(np.where(own < 0, -1, own + n_before))
        n_before += len(part)
    return Trace(
        name,
        np.concatenate(ticks),
        np.concatenate([part.is_write for part in parts]),
        np.concatenate([part.addresses for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        clock_mhz=clock_mhz,
        waits_for=np.concatenate(waits),
    )


def _stream(n: int, seed: int) -> Trace:
    start = 4096 * int(np.random.default_rng(seed).integers(_FOOTPRINT // 8192))
    return generators.stream(n, seed=seed, start_address=start, traffic=_PACED)


def _spread(make: Callable[..., Trace], **options: Any) -> _Kind:
    return lambda n, seed: make(n, seed=seed, footprint_bytes=_FOOTPRINT, **options)


def _recorded(name: str) -> _Kind:
    is_file = name.endswith((".stl", ".rstl", ".gz", ".npz")) or Path(name).is_file()
    if name not in SHIPPED and not is_file:
        raise unknown_name("workload", name, {*_KINDS, *SHIPPED, "FILE.stl"})

    def make(n: int, seed: int) -> Trace:
        trace = load_trace(name)
        first = int(np.random.default_rng(seed).integers(max(1, len(trace) - n)))
        piece = slice(first, first + n)
        fields = {f: getattr(trace, f)[piece] for f in ("is_write", "addresses", "lengths")}
        if trace.relative:
            raise InvalidArgumentError(f"Trace {name!r} must count ticks from its start.")
        if len(trace.waits_for):
            fields["waits_for"] = np.maximum(trace.waits_for[piece] - first, -1)
        ticks = trace.ticks[piece] - trace.ticks[first]
        return replace(trace, ticks=ticks, lines=trace.lines[:0], **fields)

    return make


# Phases that differ in locality: gaps at which DDR3-1600 keeps up with both, if set right.
_PACED: Final = Traffic(gap_ticks=(6, 20), read_share=0.8, write_run=4)
_LOADS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bursts": {"gap_ticks": (1, 3), "burst_requests": (8, 32), "idle_ticks": (50, 300)},
    "sparse": {"gap_ticks": (10, 40)},
    "dense": {"gap_ticks": (3, 9)},
}
_KINDS: Final[Mapping[str, _Kind]] = {
    "stream": _stream,
    "random": _spread(generators.random_access, traffic=_PACED),
} | {
    f"{name}-{percent}": _spread(generators.local, sequential_share=percent / 100,
        traffic=Traffic(read_share=0.7, write_run=4, **load))
    for percent in (30, 50)
    for name, load in _LOADS.items()
}  # fmt: skip
"""Phases by name; loads name the percentage of their requests that are sequential."""
# Closed is left out: on a stream it serves one request a row cycle, less than arrive, so that each
# epoch in which it is tried costs hundreds of others. Fifo equals FrFcfs at these rates.
_PAGES: Final = product(
    {
        "page_policy": ("Open", "OpenAdaptive", "ClosedAdaptive"),
        "scheduler": ("FrFcfs", "FrFcfsGrp"),
    }
)
_BASE: Final[Mapping[str, Value]] = {"arbiter": "Fifo", "request_buffer_size": 16}
# Ramulator's, in the same order. chosen: a cap that closes at once, and the default's.
_ROWS: Final[tuple[Mapping[str, Value], ...]] = tuple(
    {"row_policy": policy, **cap, "scheduler": scheduler}
    for policy, cap in (("Open", {}), ("ClosedCAP", {"cap": 4}), ("ClosedCAP", {"cap": 1}))
    for scheduler in SCHEDULERS
)
_OPEN, _CLOSED = 0, 4
"""Places among either's settings."""
_N: Final = 20_000


@cache
def _simulator(device: str) -> Any:
    kind: Any
    kind, options = DramSimulator.variant({"device": device})
    return kind(**options)


def _by_locality(counters: Mapping[str, float], previous: int) -> int:
    """Keep rows open where requests return to them, else close them."""
    return _OPEN if counters["locality"] > 0.5 else _CLOSED


def _by_hits(counters: Mapping[str, float], previous: int) -> int:
    """Close rows after more conflicts than hits, open them after more hits than misses.

    Adaptive page policies of memory controllers count the same, for each bank.
    """
    if counters["conflicts"] > counters["hits"]:
        return _CLOSED
    # Of the settings with a page policy, the first has the plain scheduler.
    return _OPEN if counters["hits"] > counters["misses"] else previous - previous % 2


def _drawn(kind: _Kind, channel: int) -> _Kind:
    """Return a kind of phase whose requests are not those of other channels."""
    return lambda n, seed: kind(n, seed + channel)


def _kinds(names: str) -> tuple[_Kind, ...]:
    """Return the phases of names that + joins: of `_KINDS`, or traces."""
    return tuple(_KINDS.get(name) or _recorded(name) for name in joined_names(names))


def _task(
    name: str,
    doc: str,
    train: str,
    programs: str,
    channels: int = 1,
    *,
    device: Annotated[
        str, Option("Memory, which decides what may change.", choices=device_names, takes_file=True)
    ] = "ddr3-1600",
    phases: Annotated[
        str, Option(f"Phases to train on: traces, or {', '.join(_KINDS)}, joined by +.")
    ] = "",
    requests: Annotated[int, Option("Requests of an episode.", low=1000, high=10**6)] = _N,
    epoch: Annotated[int, Option("Bursts of an epoch.", low=1, high=10**6)] = 250,
    episodes: Annotated[int, Option("Episodes of a split to test on.", low=1, high=5000)] = 10,
) -> ControlTask:
    """Return the task with the kinds of phases to train on, and with those of other programs."""
    simulator = (_simulator if device in device_names() else _simulator.__wrapped__)(device)
    is_dramsys = isinstance(simulator, DramSimulator)
    kinds = {"train": _kinds(phases or train), "held-out": _kinds(phases or train)}
    kinds["programs"] = _kinds(programs)

    # Training opens the same episodes again and again.
    @lru_cache(maxsize=128)
    def workload(episode: str, channel: int) -> Workload:
        split, first, number = seed_of(episode)
        # Programs change channels together: what runs here was next door before.
        turned = [_drawn(k, channel) for k in kinds[split][channel:] + kinds[split][:channel]]
        trace = in_turns(turned, requests, first + number, episode)
        return Workload(episode, trace.digest, trace)

    def begin(episode: str) -> Run:
        loads = [workload(episode, channel) for channel in range(channels)]
        if not is_dramsys:
            runs: list[Run] = [RamulatorRun(simulator, {}, load) for load in loads]
        else:
            runs = [DramRun(simulator, _BASE, load) for load in loads]
        return runs[0] if channels == 1 else ChannelsRun(runs)

    return ControlTask(
        name=name,
        doc=doc,
        begin=begin,
        actions=_PAGES if is_dramsys else _ROWS,
        default=_OPEN,
        epoch=epoch,
        cost="latency_from_due_ns",
        splits=episodes_of(96, episodes),
        by_counters={"hand": _by_locality, "feedback": _by_hits},
        agents=tuple(f"channel_{c}" for c in range(channels)) if channels > 1 else ("controller",),
    )


_TURNS: Final = "stream+random"
_UNSEEN: Final = "recorded-moe-gather+recorded-random-access"


def _named(name: str, *given: Any, **options: Any) -> dict[str, Callable[..., ControlTask]]:
    return {name: partial(_task, name, *given, **options)}


TASKS: Final = {
    **_named("dram-locality", "Streams and random requests in turns.", _TURNS, _UNSEEN),
    **_named("dram-locality-ddr4", "The same on DDR4-2400.", _TURNS, _UNSEEN, device="ddr4-2400"),
    **_named("dram-load", "Bursts, sparse and dense requests in turns.",
        "bursts-50+sparse-50+dense-50", "bursts-30+sparse-30+dense-30"),
    **_named("dram-recorded", "Recorded programs in turns.", f"{_UNSEEN}+recorded-hash-join",
        "recorded-sort+recorded-graph-search+recorded-kmer-count"),
    **{
        name: task
        for n in (2, 4)
        for name, task in _named(f"dram-channels-{n}",
            f"{n} channels with a controller each, between which streams and random requests move.",
            "+".join([_TURNS] * (n // 2)), "+".join([_UNSEEN] * (n // 2)), n).items()
    },
}  # fmt: skip
