"""Cores under control: prefetchers change while programs run in turns, alone or side by side."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Annotated, ClassVar, Final, final

import numpy as np

from archgym.checks import check_whole
from archgym.control.runs import Counter, Floats, Part, Run, completed
from archgym.control.tasks import ControlTask, episodes_of, joined_names, product, seed_of, turns
from archgym.errors import InvalidArgumentError, SimulatorError, unknown_name
from archgym.evaluation.options import Option
from archgym.simulators.cpu.kernel.cores.run import Cores
from archgym.simulators.cpu.kernel.layout import G_RETIRED, Ints
from archgym.simulators.cpu.kernel.run import PLACES, STRIDES, SWITCHABLE, Core, switch_prefetchers
from archgym.simulators.cpu.machine import PREFETCHERS
from archgym.simulators.cpu.space import design_space, machine_of
from archgym.simulators.cpu.workloads import InstructionTrace, trace_of
from archgym.spaces.parameter import Value
from archgym.traces.instructions.generators import GENERATORS, generate
from archgym.traces.instructions.records import ENDINGS, looks_like_trace, read_records

COUNTERS: Final = (
    Counter(name="ipc", low=0.0, high=4.0, doc="Instructions a cycle."),
    Counter(name="l1d_mpki", low=0.1, high=300.0, is_log=True,
        doc="Misses of loads and stores in the L1D in 1,000 instructions."),
    Counter(name="l2_mpki", low=0.1, high=300.0, is_log=True, doc="The same in the L2."),
    Counter(name="llc_mpki", low=0.1, high=300.0, is_log=True, doc="The same in the last level."),
    Counter(name="l1d_accuracy", low=0.0, high=1.0,
        doc="Prefetches into the L1D that were used, of those that missed it; 0 without any."),
    Counter(name="l2_accuracy", low=0.0, high=1.0, doc="The same of the L2."),
    Counter(name="l1d_prefetches", low=0.1, high=1000.0, is_log=True,
        doc="Prefetches that missed the L1D in 1,000 instructions."),
    Counter(name="l2_prefetches", low=0.1, high=1000.0, is_log=True, doc="The same of the L2."),
    Counter(name="late", low=0.0, high=1.0, doc="Used prefetches that came too late."),
    Counter(name="dram_reads", low=0.1, high=100.0, is_log=True,
        doc="Reads of the DRAM in 1,000 cycles, of all cores."),
    Counter(name="row_hits", low=0.0, high=1.0, doc="Reads of the DRAM that hit an open row."),
)  # fmt: skip
_SPACE: Final = design_space("default")
_DEMAND: Final = ("load_miss", "rfo_miss")
_NAMES: Final = (
    *(f"{cache}_{kind}" for cache in ("L1D", "L2C", "LLC") for kind in _DEMAND),
    *(f"{cache}_pf_{kind}" for cache in ("L1D", "L2C") for kind in ("fill", "useful", "late")),
    "DRAM_rq_row_hit", "DRAM_rq_row_miss",
)  # fmt: skip
_WORDS: Final = np.array([PLACES[name] for name in _NAMES])
# Last level and DRAM are counted in the state that cores share.
_IS_SHARED: Final = np.array([name.startswith(("LLC", "DRAM")) for name in _NAMES])
_KEPT: Final = (
    "Takes effect in the next cycle. Prefetches on their way still come; a table is kept as it is "
    "while its prefetcher is off, so that it is stale afterwards."
)


class _CpuRun(Run):
    """Settings and counters of one core and of several."""

    switchable: ClassVar[Mapping[str, str]] = dict.fromkeys(SWITCHABLE, _KEPT)
    counters = COUNTERS
    _design: Mapping[str, Value]

    def _choice(self, settings: Mapping[str, Value]) -> dict[int, int]:
        """Return the prefetcher by cache; see `Run.choice`."""
        design = completed(_SPACE, {**self._design, **settings})
        return {cache: PREFETCHERS.index(str(design[name])) for name, cache in SWITCHABLE.items()}

    def _values(self, counts: Floats, retired: float, cycles: float) -> list[float]:
        (
            l1_load, l1_rfo, l2_load, l2_rfo, llc_load, llc_rfo, l1_filled, l1_useful, l1_late,
            l2_filled, l2_useful, l2_late, row_hits, row_misses,
        ) = counts.tolist()  # fmt: skip
        kilo = max(1.0, retired) / 1000.0
        reads = row_hits + row_misses
        # A prefetch that a load waits for fills the cache as a load.
        l1_sent, l2_sent = l1_filled + l1_late, l2_filled + l2_late
        return [
            retired / max(1.0, cycles), (l1_load + l1_rfo) / kilo, (l2_load + l2_rfo) / kilo,
            (llc_load + llc_rfo) / kilo, l1_useful / max(1.0, l1_sent),
            l2_useful / max(1.0, l2_sent), l1_sent / kilo, l2_sent / kilo,
            (l1_late + l2_late) / max(1.0, l1_useful + l2_useful),
            1000.0 * reads / max(1.0, cycles), row_hits / max(1.0, reads),
        ]  # fmt: skip


@final
class CpuRun(_CpuRun):
    """One core; epochs are in instructions."""

    _run: Core

    def __init__(
        self,
        design: Mapping[str, Value],
        trace: InstructionTrace,
        warmup: int,
        length: int,
        data_rate: int | None = None,
    ) -> None:
        """Warm the core up.

        Args:
          design: Values of the simulator's default space; others are the default's.
          trace: Program or programs.
          warmup: Instructions before counting.
          length: Instructions that are counted.
          data_rate: Transfers of the DRAM [MT/s], from 200; None for those of the design.
        """
        self._design = completed(_SPACE, design)
        check_whole("warmup", warmup, 0)
        self._run = Core(_machine(self._design, data_rate), trace, warmup, length)
        self._before = self._run.state[_WORDS]

    @property
    def is_over(self) -> bool:
        """True if all instructions have retired."""
        return self._run.is_over

    def _advance(self, choices: tuple[dict[int, int], ...], until: int) -> Part:
        """Run until instructions have retired; see `Run.advance`."""
        core = self._run
        cycles, retired = core.n_cycles, core.n_retired
        switch_prefetchers(core.state, choices[0], core.now)
        core.advance(until)
        seen = core.state[_WORDS]
        work, cost = float(core.n_retired - retired), float(core.n_cycles - cycles)
        values = self._values((seen - self._before).astype(np.float64), work, cost)
        self._before = seen
        if work == 0.0 and until > retired:
            raise SimulatorError("The core never ends: no instruction retires.")
        return Part(np.array([work]), np.array([cost]), np.array([values]))

    def _finish(self) -> Mapping[str, float]:
        """Return the kernel's counters by name."""
        from archgym.simulators.cpu.kernel.run import COUNTERS as NAMES

        found = self._run.finish()
        if found is None:
            raise SimulatorError("The core never ends: no instruction retires.")
        return dict(zip(NAMES, found.tolist(), strict=True))


@final
class CoresRun(_CpuRun):
    """Several cores, an agent each; epochs are in cycles.

    A core that has retired its instructions runs on, at no work and no cost, until all have.
    """

    _run: Cores

    def __init__(
        self,
        design: Mapping[str, Value],
        traces: Sequence[InstructionTrace],
        warmup: int,
        length: int,
        data_rate: int | None = None,
    ) -> None:
        """Warm the cores up; arguments are those of `CpuRun`, with a trace for each core."""
        self._design = completed(_SPACE, design)
        machine = _machine(self._design, data_rate)
        self._run = Cores(machine, traces, warmup, length, strides=STRIDES)
        self.n_agents = len(traces)
        self._begin = self._run.now
        self._retired = self._run.states[:, G_RETIRED].copy()
        self._length = length
        self._work = np.zeros(self.n_agents)
        self._before = self._seen()

    @property
    def is_over(self) -> bool:
        """True if all cores are done."""
        return self._run.is_over

    def _seen(self) -> Ints:
        own = self._run.states[:, _WORDS]
        own[:, _IS_SHARED] = self._run.shared[_WORDS[_IS_SHARED]]
        return own

    def _advance(self, choices: tuple[dict[int, int], ...], until: int) -> Part:
        """Run to the end of a cycle; see `Run.advance`."""
        cores = self._run
        start, was_done = cores.now, cores.spent[:, 0] >= 0
        for state, choice in zip(cores.states, choices, strict=True):
            switch_prefetchers(state, choice, cores.now)
        cores.advance(self._begin + until)
        retired = cores.states[:, G_RETIRED] - self._retired
        # What a core does after its own instructions counts for nobody.
        done = cores.spent[:, 0] >= 0
        work = np.where(done, self._length, retired).astype(np.float64)
        cycles = float(cores.now - start)
        own_end = self._begin + cores.spent[:, 0]
        cost = np.where(was_done, 0.0, np.where(done, own_end - start, cycles))
        seen = self._seen()
        counts = (seen - self._before).astype(np.float64)
        gained = work - self._work
        values = [
            self._values(row, float(gain), cycles) for row, gain in zip(counts, gained, strict=True)
        ]
        self._work, self._before = work, seen
        return Part(gained, cost, np.array(values))

    def _finish(self) -> Mapping[str, float]:
        """Return cycles of each core by name."""
        found = self._run.finish()
        if found is None:
            raise SimulatorError("A core never ends: no instruction retires.")
        return {f"cycles_{core}": float(n) for core, n in enumerate(found[1])}


def _machine(design: Mapping[str, Value], data_rate: int | None) -> dict[str, int]:
    """Return the machine of a design, with a DRAM of another data rate if one is given."""
    return machine_of("default", {**design, **({"dram_data_rate": data_rate} if data_rate else {})})


_RECORDS: Final = 120_000


@lru_cache(maxsize=32)
def _program(name: str) -> np.ndarray:
    """Return records of a program, of which episodes take pieces."""
    is_file = looks_like_trace(name)
    found: np.ndarray = read_records(name, _RECORDS) if is_file else generate(name, _RECORDS)
    if len(found) < 2:
        raise InvalidArgumentError(f"Trace {name!r} must have two instructions or more.")
    return found


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
    for each in joined_names(programs):
        if each not in GENERATORS and not looks_like_trace(each):
            raise unknown_name("workload", each, (*GENERATORS, *(f"FILE{end}" for end in ENDINGS)))
    named = {"train": programs, "held-out": programs, "programs": _NEW}

    @lru_cache(maxsize=48)
    def traces(episode: str) -> tuple[InstructionTrace, ...]:
        split, first, number = seed_of(episode)
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
    )


def _cores(n: int) -> Callable[..., ControlTask]:
    doc = f"{n} cores that share last level and one DRAM channel, programs in turns."
    return partial(
        _task, f"cpu-cores-{n}", doc, n, data_rate=_NARROW, instructions=60_000, epoch=10_000
    )


TASKS: Final[Mapping[str, Callable[..., ControlTask]]] = {
    "cpu-mixture": partial(
        _task, "cpu-mixture", "Programs in turns that want different prefetchers, 3200 MT/s."
    ),
    "cpu-narrow": partial(
        _task, "cpu-narrow", "The same with a DRAM of 800 MT/s.", data_rate=_NARROW
    ),
    **{f"cpu-cores-{n}": _cores(n) for n in (2, 3, 4)},
}
