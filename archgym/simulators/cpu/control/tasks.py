"""Tasks of control of cores: prefetchers change while programs run in turns, also side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, islice, repeat
from typing import Annotated, Final

import numpy as np

from archgym.simulators.cpu.control.runs import COSTS, CYCLES, CoresRun, CpuRun
from archgym.simulators.cpu.workloads.programs import InstructionTrace, trace_of
from archgym.simulators.kit import InvalidArgumentError, Option, Value, unknown_name
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
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import (
    ENDINGS,
    iterate_records,
    looks_like_trace,
    read_records,
)

_RECORDS: Final = 120_000


@lru_cache(maxsize=32)
def _program(name: str) -> np.ndarray:
    """Return records of a program, of which episodes take pieces."""
    is_file = looks_like_trace(name)
    found: np.ndarray = read_records(name, _RECORDS) if is_file else generate(name, _RECORDS)
    if len(found) < 2:
        raise InvalidArgumentError(f"Trace {name!r} must have two instructions or more.")
    return found


def _pieces(path: str, n: int) -> Iterator[np.ndarray]:
    """Yield a trace in pieces, (n,), without end: it begins again where it ends."""
    held: list[np.ndarray] = []
    for records in chain.from_iterable(map(iterate_records, repeat(path))):
        held.append(records)
        if sum(map(len, held)) >= n:
            joined = np.concatenate(held)
            yield from np.split(joined[: len(joined) // n * n], len(joined) // n)
            held = [joined[len(joined) // n * n :]]


def _in_order(path: str, n: int) -> Callable[[int], np.ndarray]:
    """Return a function of a piece's number; pieces in order read a file once, as far as asked."""
    at, pieces = 0, _pieces(path, n)

    def piece(number: int) -> np.ndarray:
        nonlocal at, pieces
        if number < at:
            at, pieces = 0, _pieces(path, n)
        found = next(islice(pieces, number - at, None))
        at = number + 1
        return found

    return piece


def in_turns(programs: Sequence[str], n: int, seed: int, name: str) -> InstructionTrace:
    """Return programs in turns, as one trace; each has pages of its own.

    Args:
      programs: Names of programs that ship, or files of traces.
      n: Instructions in all.
      seed: Random seed of order, lengths and pieces.
      name: Name of the trace.
    """
    rng = np.random.default_rng([seed, 1])
    parts: list[np.ndarray] = []
    left = n
    # chosen: 6 to 14 epochs of 2,500.
    for which, longest in turns(rng, len(programs), 15_000, 35_000):
        records = _program(programs[which])
        length = min(left, longest, len(records) - 1)
        first = int(rng.integers(len(records) - length))
        piece = records[first : first + length].copy()
        for field in ("ip", "writes", "reads"):
            # Bits above every address of the programs that ship.
            piece[field] |= np.where(piece[field] != 0, np.uint64(which << 40), np.uint64(0))
        parts.append(piece)
        left -= length
        if not left:
            break
    return trace_of(name, np.concatenate(parts))


_IN_FLIGHT: Final = 4096
_PREFETCHERS: Final = product(
    {"l1d_prefetcher": ("none", "next-line", "ip-stride"),
     "l2_prefetcher": ("none", "next-line", "ip-stride")}
)  # fmt: skip
# Next lines in both caches are best for the chase, and cost most where hash join and sort run,
# which want the stride in the L2. Programs of the other split differ as well.
_MIXED: Final = "hash-join+pointer-chase-small+sort"
_NEW: Final = "circuit-simulation+stencil+picture-filter"
# Episodes of training.
_N_TRAIN: Final = 24
# Instructions of warm-up and counted; several cores take longer.
_WARMUP: Final = {True: 20_000, False: 10_000}


_STRIDES_ONLY: Final = 2
_NEXT_LINES: Final = 4


def _by_use(counters: Mapping[str, float], previous: int) -> int:
    """Prefetch strides; next lines where many misses have none, as long as they are used."""
    if counters["l2_mpki"] < 30.0:
        return _STRIDES_ONLY
    if previous == _NEXT_LINES:
        return previous if counters["l2_accuracy"] > 0.25 else _STRIDES_ONLY
    return _NEXT_LINES if counters["l2_prefetches"] < 1.0 else _STRIDES_ONLY


# Steps of aggressiveness, weakest first.
_LADDER: Final = tuple(
    _PREFETCHERS.index({"l1d_prefetcher": l1d, "l2_prefetcher": l2})
    for l1d, l2 in (
        ("none", "none"), ("none", "ip-stride"), ("ip-stride", "ip-stride"),
        ("next-line", "ip-stride"), ("next-line", "next-line"),
    )
)  # fmt: skip


def _feedback(counters: Mapping[str, float], previous: int) -> int:
    """Move one step by accuracy and lateness.

    Source:
      Srinath et al., *Feedback Directed Prefetching*, HPCA 2007: accuracy above 0.75 is high, below
      0.40 low; lateness above 0.01 is late. High and late moves up, low moves down. Pollution is
      not counted here. Where nothing is prefetched, it moves up.
    """
    step = _LADDER.index(previous) if previous in _LADDER else 2
    accuracy = max(counters["l1d_accuracy"], counters["l2_accuracy"])
    is_idle = counters["l1d_prefetches"] + counters["l2_prefetches"] == 0.0
    if is_idle or (accuracy > 0.75 and counters["late"] > 0.01):
        step += 1
    elif accuracy < 0.40:
        step -= 1
    return _LADDER[min(max(step, 1), len(_LADDER) - 1)]


_CROWDED: Final[Mapping[str, Value]] = {"llc_sets": 512}
_NARROW: Final = 800
"""Data rate of a DRAM for which programs queue [MT/s]; lower than designs of the space have."""


def _task(
    name: str,
    doc: str,
    cores: int = 1,
    *,
    data_rate: Annotated[int, Option("Of the DRAM.", low=200, high=6400, unit="MT/s")] = 3200,
    programs: Annotated[
        str, Option("Programs to train on: names or files of traces, joined by +.")
    ] = _MIXED,
    unseen: Annotated[
        str, Option("The same of split `programs`; one file is played in order.")
    ] = "",
    instructions: Annotated[
        int, Option("Counted instructions of a core.", low=1000, high=10**7)
    ] = 150_000,
    epoch: Annotated[
        int, Option("Instructions of an epoch; with several cores, cycles.", low=100, high=10**7)
    ] = 2500,
    episodes: Annotated[int, Option("Episodes of a split to test on.", low=1, high=100)] = 10,
) -> ControlTask:
    """Return the task of one core, or of several that are an agent each."""
    is_one = cores == 1
    _program.cache_clear()  # a file may have changed
    region = (_WARMUP[is_one], instructions)
    # A fast core runs on until the slow ones are done.
    n = (1 if is_one else 3) * sum(region) + _IN_FLIGHT
    for each in (*joined_names(programs), *joined_names(unseen or _NEW)):
        if each not in GENERATORS and not looks_like_trace(each):
            raise unknown_name("workload", each, (*GENERATORS, *(f"FILE{end}" for end in ENDINGS)))
    named = {"train": programs, "held-out": programs, "programs": unseen or _NEW}
    is_in_order = looks_like_trace(unseen) and len(joined_names(unseen)) == 1

    in_order = _in_order(unseen, n) if is_in_order else None

    # chosen: some 500 MB, or all episodes of the default tasks.
    @lru_cache(maxsize=max(1, min(48, 8_000_000 // (n * cores))))
    def traces(episode: str) -> tuple[InstructionTrace, ...]:
        split, first, number = seed_of(episode)
        if split == "programs" and in_order is not None:
            return (trace_of(episode, in_order(number)),) * cores
        first += 100 * number
        mixed = joined_names(named[split])
        return tuple(in_turns(mixed, n, first + c, f"{episode}-{c}") for c in range(cores))

    def begin(episode: str) -> Run:
        if is_one:
            return CpuRun({}, traces(episode)[0], *region, data_rate)
        return CoresRun(_CROWDED, traces(episode), *region, data_rate)

    def alone(episode: str) -> tuple[int, ...]:
        found = []
        for trace in traces(episode):
            runs = [CpuRun({**_CROWDED, **a}, trace, *region, data_rate) for a in _PREFETCHERS]
            cycles = [run.advance((run.choice({}),), 1 << 62).cost[0] for run in runs]
            found.append(int(np.argmin(cycles)))
        return tuple(found)

    return ControlTask(
        name=name,
        doc=doc,
        begin=begin,
        actions=_PREFETCHERS,
        epoch=epoch,
        cost="cycles_per_instruction",
        splits=episodes_of(_N_TRAIN, episodes),
        by_counters={"hand": _by_use, "feedback": _feedback},
        agents=tuple(f"core_{core}" for core in range(cores)),
        alone=None if is_one else alone,
        costs=COSTS if is_one else CYCLES,
        horizons=(2500, 5000, 10_000) if is_one else (4000, 8000, 16_000),
    )


def _cores(n: int) -> Callable[..., ControlTask]:
    doc = f"{n} cores that share last level and one DRAM channel, programs in turns."
    return partial(
        _task, f"cpu-cores-{n}", doc, n, data_rate=_NARROW, instructions=60_000, epoch=10_000
    )


CONTROL: Final = Control(
    simulator="cpu",
    tasks={
        "cpu-mixture": partial(
            _task, "cpu-mixture", "Programs in turns that want different prefetchers, 3200 MT/s."
        ),
        "cpu-narrow": partial(
            _task, "cpu-narrow", "The same with a DRAM of 800 MT/s.", data_rate=_NARROW
        ),
        **{f"cpu-cores-{n}": _cores(n) for n in (2, 3, 4)},
    },
    team=("cpu-cores", "cores"),
    options=("programs", "unseen"),
    families={
        "chases": "pointer-chase+pointer-chase-small",
        "hashing": "hash-join+hash-join-small+k-mer-count",
        "sorting": "sort",
        "trees": "b-tree",
        "graphs": "graph-search",
        "grids": "stencil+picture-filter",
        "matrices": "matrix-product+sparse-matrix",
        "circuits": "circuit-simulation",
        "bytes": "decompress+digest",
        "interpreters": "interpreter+rules",
    },
    rules=RuleView(
        doc="Prefetchers of a core after each epoch.",
        seen=(
            "ipc", "l1d_mpki", "l2_mpki", "l1d_accuracy", "l2_accuracy", "l2_prefetches",
            "dram_reads",
        ),
        templates=templates(__file__),
        n_actions=len(_PREFETCHERS),
        by_counters=("hand", "feedback"),
        compiled_with=("cpu-cores-2:instructions=1000",),
    ),
)  # fmt: skip
"""Control of cores."""
