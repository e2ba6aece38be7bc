"""Tasks of control of memory controllers: phases in turns."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np

from archgym.simulators.dram.control.runs import (
    COSTS,
    ChannelsRun,
    DramRun,
    RamulatorRun,
)
from archgym.simulators.dram.controllers.dramsys import DramsysController
from archgym.simulators.dram.ramulator.kernel.run import SCHEDULERS
from archgym.simulators.dram.simulator import DramSimulator, device_names
from archgym.simulators.dram.workloads import generators
from archgym.simulators.dram.workloads.generators import Traffic
from archgym.simulators.dram.workloads.shipped import SHIPPED, load_trace
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import InvalidArgumentError, Option, Value, Workload, unknown_name
from archgym.simulators.kit.control import (
    Control,
    ControlTask,
    RuleView,
    Run,
    episodes_of,
    joined_names,
    product,
    seed_of,
    turns,
)
from archgym.simulators.kit.rules import templates

logger = logging.getLogger(__name__)
_FOOTPRINT: Final = 2**30
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


def _copy(n: int, seed: int) -> Trace:
    start = 4096 * int(np.random.default_rng(seed).integers(_FOOTPRINT // 16384))
    return generators.copy(n, seed=seed, block_requests=64, source_address=start,
        target_address=start + _FOOTPRINT // 2, traffic=_PACED)  # fmt: skip


def _spread(make: Callable[..., Trace], **options: Any) -> _Kind:
    return lambda n, seed: make(n, seed=seed, footprint_bytes=_FOOTPRINT, **options)


def _read(name: str, simulator: Any, wraps: bool, sorts: bool) -> Trace:
    """Return a trace that fits, with times that do not fall."""
    trace = load_trace(name)
    if trace.relative:
        raise InvalidArgumentError(f"Trace {name!r} must count ticks from its start.")
    falls = np.flatnonzero(np.diff(trace.ticks) < 0)
    if len(falls) and not sorts:
        before, after = trace.ticks[falls[0] : falls[0] + 2].tolist()
        raise InvalidArgumentError(
            f"Times of trace {name!r} must not fall, since phases are cut from it; {before} is "
            f"followed by {after}. Sort its lines, or take the task's option `times=sort`."
        )
    end, capacity = trace.addresses + np.maximum(1, trace.lengths), simulator.capacity_bytes
    if not wraps and end.max() > capacity:
        raise InvalidArgumentError(
            f"Trace {name!r} must lie below {capacity:#x}, the capacity of the device; "
            f"{(end > capacity).sum():,} of {len(trace):,} requests reach beyond it. Choose a "
            "larger `device`, move the addresses, or take the task's option `addresses=wrap`."
        )
    order = np.argsort(trace.ticks, kind="stable")
    waits = trace.waits_for
    if len(falls) and len(waits):
        places = np.argsort(order)
        waits = np.where(waits < 0, -1, places[waits])[order]
        # A read that is due later cannot be waited for.
        waits = np.where(waits < np.arange(len(waits)), waits, -1)
    fields = {f: getattr(trace, f)[order] for f in ("ticks", "is_write", "lengths")}
    addresses = trace.addresses[order] % capacity
    return replace(trace, addresses=addresses, waits_for=waits, lines=_NONE, **fields)


def _piece(trace: Trace, first: int, n: int) -> Trace:
    """Return requests of a trace, which begin at time 0."""
    piece = slice(first, first + n)
    fields = {f: getattr(trace, f)[piece] for f in ("is_write", "addresses", "lengths")}
    if len(trace.waits_for):
        fields["waits_for"] = np.maximum(trace.waits_for[piece] - first, -1)
    return replace(trace, ticks=trace.ticks[piece] - trace.ticks[first], **fields)


def _recorded(whole: Callable[[], Trace]) -> _Kind:
    """Return pieces of a trace, which is read once."""

    def make(n: int, seed: int) -> Trace:
        trace = whole()
        first = int(np.random.default_rng(seed).integers(max(1, len(trace) - n)))
        return _piece(trace, first, n)

    return make


def _whole(name: str, *options: Any) -> Callable[[], Trace]:
    """Return a function that returns a trace, which it reads once."""
    is_file = name.endswith((".stl", ".rstl", ".gz", ".npz")) or Path(name).is_file()
    if name not in SHIPPED and not is_file:
        raise unknown_name("workload", name, {*_KINDS, *SHIPPED, "FILE.stl"})
    return cache(lambda: _read(name, *options))


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
    "copy": _copy,
    "stride": _spread(generators.strided, stride_bytes=4096, traffic=_PACED),
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
_NONE: Final = np.zeros(0, dtype=np.int64)
_OPEN, _CLOSED = 0, 4
"""Places among either's settings."""
_N: Final = 20_000


@cache
def _simulator(device: str) -> Any:
    made: Any = DramSimulator
    return made(device=device)


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


def _kinds(names: str, *options: Any) -> tuple[_Kind, ...]:
    """Return the phases of names that + joins: of `_KINDS`, or traces."""
    return tuple(
        _KINDS.get(name) or _recorded(_whole(name, *options)) for name in joined_names(names)
    )


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
    unseen: Annotated[
        str, Option("The same of split `programs`; one file is played in order.")
    ] = "",
    times: Annotated[
        str, Option("Requests of traces whose times fall.", choices=("refuse", "sort"))
    ] = "refuse",
    addresses: Annotated[
        str, Option("Addresses of traces beyond the device.", choices=("refuse", "wrap"))
    ] = "refuse",
    requests: Annotated[int, Option("Requests of an episode.", low=1000, high=10**7)] = _N,
    epoch: Annotated[int, Option("Bursts of an epoch.", low=1, high=10**6)] = 250,
    episodes: Annotated[int, Option("Episodes of a split to test on.", low=1, high=5000)] = 10,
) -> ControlTask:
    """Return the task with the kinds of phases to train on, and with those of other programs."""
    simulator = (_simulator if device in device_names() else _simulator.__wrapped__)(device)
    is_dramsys = isinstance(simulator.controller, DramsysController)
    options = (simulator, addresses == "wrap", times == "sort")
    trained = _kinds(phases or train, *options)
    kinds = {"train": trained, "held-out": trained}
    kinds["programs"] = _kinds(unseen or programs, *options)
    is_one_file = len(kinds["programs"]) == 1 and unseen not in {"", *_KINDS, *SHIPPED}
    in_order = _whole(unseen, *options) if is_one_file else None

    # Training opens the same episodes again and again. chosen: some 200 MB.
    @lru_cache(maxsize=max(1, min(128, 5_000_000 // requests)))
    def workload(episode: str, channel: int) -> Workload:
        split, first, number = seed_of(episode)
        if split == "programs" and in_order is not None:
            trace = in_order()
            start = number * requests % len(trace)
            if len(trace) > requests and number == 0:
                logger.warning(
                    "Trace %r has %d requests, of which an episode plays %d; for more, take the "
                    "task's option `requests` or more episodes.",
                    unseen, len(trace), requests,
                )  # fmt: skip
            trace = _piece(trace, start, requests)
            return Workload(episode, trace.digest, trace)
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
        is_shared=False,
        costs=COSTS,
        horizons=(250, 500, 1000),
    )


_TURNS: Final = "stream+random"
_UNSEEN: Final = "recorded-moe-gather+recorded-random-access"


def _named(name: str, *given: Any, **options: Any) -> dict[str, Callable[..., ControlTask]]:
    return {name: partial(_task, name, *given, **options)}


CONTROL: Final = Control(
    simulator="dram",
    tasks={
        **_named("dram-locality", "Streams and random requests in turns.", _TURNS, _UNSEEN),
        **_named("dram-locality-ddr4", "The same on DDR4-2400.", _TURNS, _UNSEEN,
            device="ddr4-2400"),
        **_named("dram-load", "Bursts, sparse and dense requests in turns.",
            "bursts-50+sparse-50+dense-50", "bursts-30+sparse-30+dense-30"),
        **_named("dram-recorded", "Recorded programs in turns.", f"{_UNSEEN}+recorded-hash-join",
            "recorded-sort+recorded-graph-search+recorded-kmer-count"),
        **{
            name: task
            for n in (2, 4)
            for name, task in _named(f"dram-channels-{n}",
                f"{n} channels with a controller each, between which streams and random requests "
                "move.", "+".join([_TURNS] * (n // 2)), "+".join([_UNSEEN] * (n // 2)), n).items()
        },
    },
    team=("dram-channels", "channels"),
    options=("phases", "unseen"),
    families={
        "streams": "stream",
        "copies": "copy",
        "strides": "stride",
        "random": "random+recorded-random-access",
        "bursts": "bursts-30+bursts-50",
        "sparse and dense": "sparse-30+sparse-50+dense-30+dense-50",
        "hashing": "recorded-hash-join+recorded-kmer-count",
        "graphs": "recorded-graph-search",
        "sorting": "recorded-sort",
        "gathering": "recorded-moe-gather",
    },
    rules=RuleView(
        doc="Page policy and scheduler of a memory controller after each epoch.",
        seen=("locality", "rate", "hits", "conflicts", "backlog", "latency_ns", "held_ns"),
        templates=templates(__file__),
        n_actions=len(_PAGES),
        by_counters=("hand", "feedback"),
        compiled_with=("dram-load:device=ddr5,requests=1000",),
    ),
)  # fmt: skip
"""Control of memory controllers."""
