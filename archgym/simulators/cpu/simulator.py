"""The CPU simulator: an out-of-order core with its caches, TLBs and DRAM on instruction traces."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np

from archgym.physics.economics import (
    NODES,
    ChipUse,
)
from archgym.physics.thermal import CONVECTION_K_PER_W, ThermalWindow
from archgym.simulators.cpu.costs import COSTS, idealised
from archgym.simulators.cpu.kernel.run import COUNTERS, STRIDES, Ideal, run
from archgym.simulators.cpu.kernel.warmup import WARM_UPS, key_of
from archgym.simulators.cpu.machine import CHAMPSIM_PREDICTORS, Machine, at_clock, cycle_ps
from archgym.simulators.cpu.metrics import (
    METRICS,
    OBJECTIVES,
    STRUCTURAL_METRICS,
    STRUCTURAL_OBJECTIVES,
    Operation,
    breakdown,
    measures,
    on_and_off_chip,
    peaks,
    run_in_windows,
)
from archgym.simulators.cpu.power import NOMINAL_GHZ, highest_ghz
from archgym.simulators.cpu.space import (
    GROUPS,
    SPACE_NAMES,
    TABLE_SPACE,
    design_space,
    machine_of,
)
from archgym.simulators.cpu.workloads.programs import (
    DEFAULT_WORKLOAD,
    InstructionTrace,
    Program,
    kinds_of,
    load,
    names,
)
from archgym.simulators.kit import (
    Columns,
    Files,
    InvalidArgumentError,
    InvalidDesignError,
    Laws,
    Option,
    RowSimulator,
    SimulatorSpec,
    Workload,
    declared,
    report_reduction,
    require_kept,
    unknown_name,
)
from archgym.simulators.kit.exports import stated
from archgym.traces.instructions.generators import generate
from archgym.traces.instructions.records import MAX_RECORDS, MIN_RECORDS

DEFAULT_NODE: Final = "22nm"
NO_NODE: Final = "none"
INSTRUCTIONS: Final = 80_000
"""chosen: a tenth of a second for each design of a search; `instructions` sets another number."""
# A phase may retire a few instructions more than it is to.
_MARGIN: Final = 16
_IN_FLIGHT: Final = 4096

# Parameters that no warm-up touches where the memory is that of the DRAM simulator.
_AFTER_WARM_UP: Final = frozenset(("registers", "dram_data_rate", "dram_channels", "dram_queue"))

_Opened = tuple[Program, InstructionTrace, int, int]
# Counters, energy of a DRAM that was simulated [pJ], and cycles of each of several cores.
_Counted = tuple[np.ndarray, float | None, tuple[int, ...]]


def _further(n_cores: int, programs: str, fidelity: str) -> tuple[str, ...]:
    """Return the program of each core but the first, empty for the workload's."""
    n_further = n_cores - 1
    named = tuple(programs.split("+")) if programs else ("",) * n_further
    if len(named) != n_further:
        raise InvalidArgumentError(
            f"`corunners` must name a program for each core but the first, {n_further}; "
            f"got {len(named)}."
        )
    for name in named:
        if name and name not in names():
            raise unknown_name("program", name, names())
    if named and fidelity != "standard":
        raise InvalidArgumentError("`cores` must be 1 under fidelity 'dram', which has one core.")
    return named


@final
@dataclass(frozen=True, kw_only=True)
class CooledWindow(ThermalWindow):
    """Options of windows of time, for a core under a heat sink."""

    window_us: Annotated[
        float,
        Option(
            "Windows of time whose largest power and temperature are metrics; 0 for none. A whole "
            "run takes some 0.04 ms.",
            high=1000,
            unit="us",
        ),
    ] = 0.0
    sink_k_per_w: Annotated[
        float,
        Option(
            "Resistance from heat sink to air; needs `window_us`. 0.1 is a server's fan.",
            low=0.01,
            high=100,
            unit="K/W",
        ),
    ] = CONVECTION_K_PER_W


@final
@dataclass(frozen=True)
class Built:
    """Machine of a design.

    Attributes:
      machine: Every parameter, by which area and energy are computed.
      running: Every parameter of the machine that runs, which may be an ideal one.
      ideal: Costs that the kernel makes free.
      operation: Node, clock and supply of the structural model.
    """

    machine: Machine
    running: Machine
    ideal: Ideal | None
    operation: Operation | None

    def measures(
        self, counters: np.ndarray, dram_pj: float | None, core_cycles: tuple[int, ...]
    ) -> np.ndarray:
        """Return the metrics of a run, (n_metrics,); see `metrics.measures`."""
        return measures(self.machine, counters, dram_pj, core_cycles, self.operation)

    def least(self, n_cores: int = 1) -> Mapping[str, float]:
        """Return area, and leakage as the least power, by metric; none without an operation."""
        if self.operation is None:
            return {}
        counts = dict.fromkeys(COUNTERS, 0)
        found = on_and_off_chip(self.machine, counts, self.operation, n_cores)
        leakage_mw = sum(each.leakage_mw for each in found)
        # Sums in another order differ in the last digits.
        return {
            "area_mm2": sum(each.area_mm2 for each in found),
            "power_mw": leakage_mw * (1.0 - 1e-9),
        }


# Machine of the design, counts of a run, and counters at the ends of windows.
_Ran = tuple[Built, _Counted, tuple[np.ndarray, ...]]


@final
class CpuSimulator(RowSimulator):
    """An out-of-order core, its branch predictors, caches, TLBs, page walks and DRAM.

    The model equals ChampSim in every counter. A design is the machine's sizes and policies;
    latencies follow from the sizes. Area and power by structure follow McPAT.
    """

    spec = SimulatorSpec(
        name="cpu",
        title="Core and caches",
        compared="equal to ChampSim in every counter of 1,541 runs; not compared with silicon",
        version=2,  # at other clocks than 4 GHz the memory keeps its own
        # Version 0 had area and power of arrays alone.
        # Measured with the benchmark's tasks; see archgym/bench/data/hardness.jsonl.
        evaluation_s=0.03,
        space_names=SPACE_NAMES,
        fidelity_names=("standard", "dram"),
        default_objective="performance-under-limits",
        bounded_by=tuple(name for names in GROUPS.values() for name in names),
        default_workload=DEFAULT_WORKLOAD,
        table_space=TABLE_SPACE,
        metrics=(
            *STRUCTURAL_METRICS,
            *ChipUse().metrics(DEFAULT_NODE),
        ),
        model_reasons=(
            "it never ends: its queues or registers hold less than one instruction needs",
            "its clock is faster than its supply allows",
            "its clock is another one than the 4 GHz of fidelity dram",
        ),
        objectives=STRUCTURAL_OBJECTIVES,
        costs=COSTS,
        exports={"champsim": "Configuration of ChampSim, and the trace of the program."},
        groups=GROUPS,
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        fidelity: str = "standard",
        instructions: Annotated[
            int,
            Option(
                "Instructions to run, three eighths of them as warm-up. A recorded trace that is "
                "shorter is run whole.",
                low=MIN_RECORDS,
                high=MAX_RECORDS,
            ),
        ] = INSTRUCTIONS,
        warmup: Annotated[
            int,
            Option(
                "Instructions of warm-up; -1 for three eighths of all.", low=-1, high=MAX_RECORDS
            ),
        ] = -1,
        cores: Annotated[
            int,
            Option(
                "Cores that share last level and DRAM; nothing validates several.", low=1, high=4
            ),
        ] = 1,
        corunners: Annotated[
            str,
            Option("Programs of the further cores, joined by `+`; by default the workload's."),
        ] = "",
        node: Annotated[
            str,
            Option(
                "Technology node: area and power by structure, price and carbon. `none` has area "
                "and power of arrays alone, as version 0 of the simulator and space as-shipped.",
                choices=(*NODES, NO_NODE),
            ),
        ] = DEFAULT_NODE,
        *,
        window: CooledWindow,
        use: ChipUse,
    ) -> None:
        """Make the simulator of one space and number of instructions.

        Args:
          space: One of `space_names`.
          fidelity: `standard` has ChampSim's DRAM. `dram` has DDR4 or DDR5 devices under the
            controllers of the DRAM simulator, with their energy.
          instructions: As its `Option` says; so do the others.

        Raises:
          UnknownNameError: There is no such space, fidelity or program.
          InvalidArgumentError: An option is outside its limits, or `cores` and `corunners` do not
            fit each other or the fidelity.
        """
        if warmup >= instructions:
            raise InvalidArgumentError(
                f"`warmup` must be below `instructions`, {instructions}; got {warmup}."
            )
        if space == "as-shipped":
            if node not in (DEFAULT_NODE, NO_NODE):
                raise InvalidArgumentError("`node` must be left out in space as-shipped.")
            node = NO_NODE
        if space == "dvfs" and node == NO_NODE:
            raise InvalidArgumentError("`node` must not be none in space dvfs.")
        self._operation = None if node == NO_NODE else Operation(node)
        if node == NO_NODE:
            use.metrics("")
            found, aims = METRICS, OBJECTIVES
        else:
            found = (*STRUCTURAL_METRICS, *use.metrics(node))
            aims = self.spec.objectives
        self._window, observed = window, window.metrics
        if observed:
            if cores > 1 or fidelity != "standard" or node == NO_NODE:
                raise InvalidArgumentError(
                    "`window_us` needs one core, fidelity 'standard' and a `node`; leave it out."
                )
            n = len(STRUCTURAL_METRICS)
            found = (*found[:n], *observed, *found[n:])
        self._n, self._warmup = instructions, warmup
        self._corunners = _further(cores, corunners, fidelity)
        self.spec = self.spec.completed(space=design_space(space), metrics=found, objectives=aims)

    def workload_names(self) -> tuple[str, ...]:
        """Return the programs that ship: see `archgym.traces.instructions.generators`."""
        return names()

    def workload(self, name: str | Path) -> Workload:
        """Return the program with this name, or the ChampSim trace in the file at this path.

        Raises:
          UnknownNameError: Neither.
          FileFormatError: The file cannot be read, or has too few instructions.
        """
        program = load(name)
        return Workload(program.name, program.digest, program)

    def opened(self, workload: Workload) -> _Opened:
        """Return the program with its trace and the regions of warm-up and counting."""
        return (workload.content, *self.region(workload.content))

    def measure(self, indices: np.ndarray, opened: _Opened, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one design; see `RowSimulator`."""
        ran = self._ran(indices, opened, cost)
        if isinstance(ran, str):
            return ran
        found, counted, ends = ran
        values = found.measures(*counted)
        if not ends or found.operation is None:
            return values
        sink = self._window.sink_k_per_w
        return np.append(values, peaks(found.machine, ends, found.operation, sink))

    def order(self, indices: np.ndarray, opened: _Opened, cost: str | None) -> Iterable[int]:
        """Put designs with the same warm-up next to each other, and have its end kept."""
        late = {"registers"} if self.fidelity == "standard" else _AFTER_WARM_UP
        kept = [place for place, name in enumerate(self.space.names) if name not in late]
        if len(kept) == self.space.n_parameters or len(indices) < 2:
            return range(len(indices))
        _, first, group, count = np.unique(
            indices[:, kept], axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        _, trace, warmup, _ = opened
        for row in first[count > 1] if not self._corunners and warmup else ():
            found = self.built(indices[row], cost)
            if not isinstance(found, str):
                choices = (found.ideal, STRIDES) if self._window.window_us else found.ideal
                WARM_UPS.expect(
                    key_of(found.running, trace, warmup, choices, self.fidelity == "dram")
                )
        return np.argsort(group.ravel(), kind="stable")

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return area and leakage of whole designs; see `Bounded.bounds`."""
        values = np.full((len(partial), len(self.metrics)), np.nan)
        column = {spec.name: place for place, spec in enumerate(self.metrics)}
        decided = self.space.canonical(np.maximum(partial, 0))
        for row in np.flatnonzero((partial >= 0).all(axis=1)):
            found = self.built(decided[row])
            if not isinstance(found, str):
                for name, least in found.least(1 + len(self._corunners)).items():
                    values[row, column[name]] = least
        return values

    def breakdown(
        self, indices: np.ndarray, workload: Workload | None
    ) -> Mapping[str, Mapping[str, float]]:
        """Return area, power and cycles by what they go to; nothing with `node=none`."""
        if self._operation is None:
            return {}
        if workload is None:
            built = machine_of(self.space.name, self.space.design_at(indices))
            return breakdown(built, None, self._operation)
        ran = self._ran(indices, self.opened(workload), None)
        if isinstance(ran, str):
            return {}
        found, (counters, dram_pj, core_cycles), _ = ran
        if found.operation is None:
            return {}
        return breakdown(found.machine, counters, found.operation, dram_pj, core_cycles)

    def _ran(self, indices: np.ndarray, opened: _Opened, cost: str | None) -> "_Ran | str":
        """Return a design's machine, what it counted, by window too, or why it cannot run."""
        found = self.built(indices, cost)
        if isinstance(found, str):
            return found
        counted: _Counted | None
        ends: tuple[np.ndarray, ...] = ()
        if self._window.window_us and found.operation is not None:
            cycles = round(1000.0 * self._window.window_us * found.operation.ghz)
            _, trace, warmup, length = opened
            seen = run_in_windows(found.running, trace, warmup, length, found.ideal, cycles)
            counted, ends = (None, ()) if seen is None else ((seen[0], None, ()), seen[1])
        else:
            counted = self._counted(found.running, opened, found.ideal)
        # An ideal machine runs, but area and energy are those of the design.
        return self.spec.model_reasons[0] if counted is None else (found, counted, ends)

    def built(
        self, indices: np.ndarray, cost: str | None = None, changes: Machine | None = None
    ) -> "Built | str":
        """Return the machine of a design, or the entry of `model_reasons` why it has none.

        Args:
          indices: (n_parameters,), a canonical design that breaks no constraint.
          cost: One of `costs` that the machine that runs does not pay.
          changes: Parameters of the machine that the design does not decide, by full name.
        """
        design = self.space.design_at(indices)
        built: Machine = {**machine_of(self.space.name, design), **(changes or {})}
        machine, ideal = (built, None) if cost is None else idealised(cost, built)
        operation = self._operation
        if operation is not None and "clock_ghz" in design:
            ghz, volts = float(str(design["clock_ghz"])), float(str(design["voltage"]))
            highest = highest_ghz(volts, operation.node)
            if ghz > highest:
                return self.spec.model_reasons[1]
            if self.fidelity == "dram" and ghz != NOMINAL_GHZ:
                return self.spec.model_reasons[2]
            operation = replace(operation, ghz=ghz, volts=volts)
            machine = at_clock(machine, ghz, highest)
        return Built(built, machine, ideal, operation)

    def _counted(self, machine: Machine, opened: _Opened, ideal: Ideal | None) -> _Counted | None:
        """Return the counts of a machine, or None if it never ends."""
        program, trace, warmup, length = opened
        region = (warmup, length)
        if self._corunners:
            from archgym.simulators.cpu.kernel.cores.run import run_cores

            # A fast core runs on until the slow ones are done, for as long as its trace lasts.
            n = 2 * sum(region) + _IN_FLIGHT
            further = [load(name) if name else program for name in self._corunners]
            traces = [each.instructions(n) for each in (program, *further)]
            several = run_cores(machine, traces, *region, ideal)
            return None if several is None else (several[0], None, several[1])
        if self.fidelity == "standard":
            counters = run(machine, trace, *region, ideal)
            return None if counters is None else (counters, None, ())
        # The devices of the DRAM simulator are read where they are asked for.
        from archgym.simulators.cpu.kernel.composed.memory import run_composed

        composed = run_composed(machine, trace, *region, ideal)
        return None if composed is None else (composed.counters, composed.dram_pj, ())

    def region(self, program: Program) -> tuple[InstructionTrace, int, int]:
        """Return the trace of a program, and instructions before counting and counted."""
        # More than the counted ones may be in flight.
        trace = program.instructions(self._n + _IN_FLIGHT)
        n = min(self._n, trace.n - _MARGIN)
        if program.is_recorded:
            report_reduction(
                f"instructions of {program.name}", n, trace.n - _MARGIN,
                f"set the option `instructions`, at most {MAX_RECORDS:,}",
            )  # fmt: skip
        warmup = 3 * n // 8 if self._warmup < 0 else min(self._warmup, n - 1)
        return trace, warmup, n - warmup

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results whose parts do not add up.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """
        column = {spec.name: values[:, i] for i, spec in enumerate(self.metrics)}
        slots = sum(
            column[name]
            for name in (
                "retiring_percent", "front_end_percent", "bad_speculation_percent",
                "memory_bound_percent", "core_bound_percent",
            )
        )  # fmt: skip
        require_kept("cpu", "dispatch slots sum to 100 %", np.asarray(slots), 100.0)
        clocked = self._operation is not None
        speed = column["giga_instructions_per_s"] if clocked else column["ipc"] / 0.25
        require_kept(
            "cpu",
            "energy x delay is the product",
            column["energy_per_instruction_pj"] / speed,
            column["energy_delay"],
        )

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        built = [each for each in map(self.built, indices) if not isinstance(each, str)]
        wide, rob, peak, least_mw, least, at_once = np.array(list(map(self._limits, built))).T
        cycles = column["total_cycles"]
        # Those in flight were executed before they are counted.
        counted = column["ipc"] * cycles - (1 + len(self._corunners)) * rob
        laws: dict[str, Any] = {
            "cycles are the instructions over the width": (cycles + 1.0, counted / wide),
            "DRAM has the bandwidth that is used": (peak, column["dram_bandwidth_gb_per_s"]),
        }
        if self._operation is not None:
            laws["power is leakage"] = column["power_mw"], least_mw
        if self.fidelity == "standard":
            ns = np.array([1.0 / (each.operation.ghz if each.operation else 4.0) for each in built])
            moved = column["dram_bandwidth_gb_per_s"] * cycles * ns / 64.0
            # Those under way when counting ends need no time.
            laws["cycles are the DRAM's misses times their latency over those at once"] = (
                cycles, (moved / at_once - 1.0) * least
            )  # fmt: skip
        return laws

    def _limits(self, built: Built) -> tuple[float, float, float, float, float, float]:
        """Return what bounds a run.

        They are width, reorder buffer, bandwidth [GB/s], leakage [mW], and of transfers of the DRAM
        the least latency [cycles] and the most at once.
        """
        m, n_cores = built.machine, 1 + len(self._corunners)
        wide = min(m[f"CPU.{stage}_width"] for stage in ("dispatch", "execute", "retire"))
        peak = 8e-3 * m["DRAM.channels"] * m["DRAM.data_rate"]
        # A bank's access and eight beats. A read has an entry of the queue and a miss of the last
        # level, and a write an entry; each has a bank of its own.
        rate, channels = m["DRAM.data_rate"], m["DRAM.channels"]
        reads = min(m["LLC.mshr"], channels * m["DRAM.rq"])
        at_once = min(reads + channels * m["DRAM.wq"], channels * m["DRAM.ranks"] * 32)
        latency_ps = m["DRAM.tCAS"] * (2_000_000 // rate) + 8 * (1_000_000 // rate)
        least_mw = built.least(n_cores).get("power_mw", 0.0)
        return (
            n_cores * wide,
            m["CPU.rob"],
            peak,
            least_mw,
            latency_ps / cycle_ps(built.running),
            at_once,
        )

    def expressible(self, form: str) -> Mapping[str, Sequence[Any]]:
        """Return the predictors that ChampSim has."""
        return {"branch_predictor": CHAMPSIM_PREDICTORS}

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return the machine of a design as a configuration of ChampSim, with its trace.

        Raises:
          InvalidDesignError: The design cannot be built, or ChampSim cannot express it.
        """
        from archgym.simulators.cpu.formats.champsim import champsim_files

        program: Program = workload.content
        refusals = {
            "`cores` must be 1, since nothing compares several": bool(self._corunners),
            "`fidelity` must be standard; ChampSim lacks the devices of dram": self.fidelity
            != "standard",
            f"workload {program.name!r} must be a program that ships; run the recorded trace "
            "with the exported configuration of one": program.is_recorded,
        }
        for problem, is_so in refusals.items():
            if is_so:
                raise InvalidDesignError(f"For ChampSim, {problem}.")
        found = self.built(indices)
        if isinstance(found, str):
            raise InvalidDesignError(f"The design cannot be built: {found}.")
        metrics = stated(self, indices, workload)
        _, warmup, length = self.region(program)
        records = generate(program.name, self._n + _IN_FLIGHT)
        return champsim_files(found.running, records, warmup, length, metrics)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what `champsim_config.json` says of a machine; see `Stating.file_settings`."""
        from archgym.simulators.cpu.formats.champsim import champsim_config

        found = self.built(indices)
        if isinstance(found, str):
            raise InvalidDesignError(f"The design cannot be built: {found}.")
        return champsim_config(found.running)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return what characterises the program's counted region: name to (value, unit)."""
        program: Program = workload.content
        trace = program.instructions(self._n + _IN_FLIGHT)
        records = trace.records[: trace.n]
        info = records[:, 1]
        branches = kinds_of(trace) != 7
        blocks = np.unique(records[:, 2:] >> 6)
        return {
            "instructions": (float(trace.n), "instructions"),
            "static instructions": (float(len(np.unique(records[:, 0]))), "instructions"),
            "code": (len(np.unique(records[:, 0] >> 6)) / 16.0, "KiB"),
            "data": ((len(blocks) - 1) / 16.0, "KiB"),
            "pages": (float(trace.n_pages), "pages"),
            "loads": (100.0 * float(((info >> 9) & 7).sum()) / trace.n, "per 100 instructions"),
            "stores": (100.0 * float(((info >> 12) & 3).sum()) / trace.n, "per 100 instructions"),
            "branches": (100.0 * float(branches.mean()), "%"),
        }
