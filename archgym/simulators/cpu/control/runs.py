"""Cores in parts: one, and several that share a channel."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.simulators.cpu.kernel.cores.run import Cores
from archgym.simulators.cpu.kernel.layout import G_RETIRED, Ints
from archgym.simulators.cpu.kernel.run import COUNTERS as NAMES_OF_COUNTS
from archgym.simulators.cpu.kernel.run import PLACES, STRIDES, SWITCHABLE, Core, switch_prefetchers
from archgym.simulators.cpu.machine import PREFETCHERS
from archgym.simulators.cpu.metrics import Operation, on_and_off_chip
from archgym.simulators.cpu.power import NOMINAL_GHZ
from archgym.simulators.cpu.space import design_space, machine_of
from archgym.simulators.cpu.workloads.programs import InstructionTrace
from archgym.simulators.kit import SimulatorError, Value, check_whole
from archgym.simulators.kit.control import Counter, Floats, Part, Run, completed

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
_NODE: Final = "22nm"
_KEPT: Final = (
    "Takes effect in the next cycle. Prefetches on their way still come; a table is kept as it is "
    "while its prefetcher is off, so that it is stale afterwards."
)


CYCLES: Final = {"cycles_per_instruction": "Cycles of an instruction."}
COSTS: Final = CYCLES | {
    "energy_pj": "Energy of an instruction at 22 nm, with leakage and DRAM; for ratios only.",
    "energy_delay": "Energy times cycles of an instruction, in each epoch.",
}


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

    costs = COSTS
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
        self._machine = _machine(self._design, data_rate)
        self._run = Core(self._machine, trace, warmup, length)
        self._before = self._run.state[_WORDS]
        self._counts: Any = 0

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

    def _amounts(self, part: Part) -> Mapping[str, Floats]:
        """Return the energy of the last part; see `Run.count`."""
        before, now = self._counts, self._run.finish()
        if now is None or self.counted == (*CYCLES,):
            return {}
        self._counts = now
        counts = dict(zip(NAMES_OF_COUNTS, (now - before).tolist(), strict=True))
        built = on_and_off_chip(self._machine, counts, Operation(_NODE))
        time_ns = part.cost / NOMINAL_GHZ
        energy = np.sum([each.energy_pj + each.leakage_mw * time_ns for each in built], axis=0)
        delay = part.cost / np.maximum(part.work, 1.0)
        return {"energy_pj": energy, "energy_delay": energy * delay}

    def _finish(self) -> Mapping[str, float]:
        """Return the kernel's counters by name."""
        found = self._run.finish()
        if found is None:
            raise SimulatorError("The core never ends: no instruction retires.")
        return dict(zip(NAMES_OF_COUNTS, found.tolist(), strict=True))


@final
class CoresRun(_CpuRun):
    """Several cores, an agent each; epochs are in cycles.

    A core that has retired its instructions runs on, at no work and no cost, until all have.
    """

    costs = CYCLES
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
