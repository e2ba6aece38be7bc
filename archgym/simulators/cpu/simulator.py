"""The CPU simulator: an out-of-order core with its caches, TLBs and DRAM on instruction traces."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective
from archgym.evaluation.simulator import BatchResult, Simulator, Workload, require_kept
from archgym.runtime.reductions import report_reduction
from archgym.simulators.cpu.costs import COSTS, idealised
from archgym.simulators.cpu.metrics import METRICS, OBJECTIVES, measures
from archgym.simulators.cpu.run import Ideal, run
from archgym.simulators.cpu.space import (
    GROUPS,
    SPACE_NAMES,
    TABLE_SPACE,
    design_space,
    machine_of,
)
from archgym.simulators.cpu.trace import InstructionTrace, kinds_of
from archgym.simulators.cpu.workloads import DEFAULT_WORKLOAD, Program, load, names
from archgym.traces.instructions.records import MAX_RECORDS, MIN_RECORDS

INSTRUCTIONS: Final = 80_000
"""chosen: a tenth of a second for each design of a search; `instructions` sets another number."""
_ENDLESS: Final = 1
# A phase may retire a few instructions more than it is to.
_MARGIN: Final = 16
_IN_FLIGHT: Final = 4096


def _number(text: str) -> int:
    n = int(text) if text.isdecimal() else 0
    if not MIN_RECORDS <= n <= MAX_RECORDS:
        raise InvalidArgumentError(
            f"`instructions` must be from {MIN_RECORDS:,} to {MAX_RECORDS:,}; got {text!r}."
        )
    return n


def _corunners(cores: str, programs: str, fidelity: str) -> tuple[str, ...]:
    """Return the program of each further core, empty for the workload's."""
    most = 4
    if cores not in {str(n) for n in range(1, most + 1)}:
        raise InvalidArgumentError(f"`cores` must be from 1 to {most}; got {cores!r}.")
    n_further = int(cores) - 1
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
class CpuSimulator(Simulator):
    """An out-of-order core, its branch predictors, caches, TLBs, page walks and DRAM.

    The model equals ChampSim in every counter. A design is the machine's sizes and policies;
    latencies follow from the sizes. Area and power are a proposal without reference.
    """

    name = "cpu"
    version = 0
    space_names: ClassVar[tuple[str, ...]] = SPACE_NAMES
    fidelity_names: ClassVar[tuple[str, ...]] = ("standard", "dram")
    default_objective = "performance-under-limits"
    default_workload = DEFAULT_WORKLOAD
    table_space = TABLE_SPACE
    metrics: tuple[MetricSpec, ...] = METRICS
    model_reasons = ("it never ends: its queues or registers hold less than one instruction needs",)
    objectives: Mapping[str, Objective] = OBJECTIVES
    costs = COSTS
    exports: Mapping[str, str] = {"champsim": "Configuration of ChampSim."}

    def __init__(
        self,
        space: str = "default",
        fidelity: str = "standard",
        instructions: str = "",
        cores: str = "1",
        corunners: str = "",
    ) -> None:
        """Make the simulator of one space and number of instructions.

        Args:
          space: One of `space_names`.
          fidelity: `standard` has ChampSim's DRAM. `dram` has DDR4 or DDR5 devices under the
            controllers of the DRAM simulator, with their energy.
          instructions: Instructions to run, three eighths of them as warm-up; 80,000 by default.
            A recorded trace that is shorter is run whole.
          cores: Cores that share last level and DRAM, at most 4; nothing validates several.
          corunners: Programs of the further cores, joined by `+`; by default the workload's.

        Raises:
          UnknownNameError: There is no such space, fidelity or program.
          InvalidArgumentError: `instructions` is not a number from 1,000 to 20,000,000, or
            `cores` and `corunners` do not fit each other or the fidelity.
        """
        if fidelity not in self.fidelity_names:
            raise unknown_name("fidelity", fidelity, self.fidelity_names)
        self.fidelity = fidelity
        self._n = _number(instructions) if instructions else INSTRUCTIONS
        # The default is left out, so that its tasks have the short name.
        self.options = {} if self._n == INSTRUCTIONS else {"instructions": str(self._n)}
        self._corunners = _corunners(cores, corunners, fidelity)
        if self._corunners:
            self.options["cores"] = str(1 + len(self._corunners))
        if any(self._corunners):
            self.options["corunners"] = "+".join(self._corunners)
        self.space = design_space(space)
        self.groups: Mapping[str, tuple[str, ...]] = {
            group: present
            for group, members in GROUPS.items()
            if (present := tuple(m for m in members if m in self.space.names))
        }

    def __reduce__(self) -> tuple[type["CpuSimulator"], tuple[str, ...]]:
        corunners = "+".join(self._corunners) if any(self._corunners) else ""
        cores = str(1 + len(self._corunners))
        return CpuSimulator, (self.space.name, self.fidelity, str(self._n), cores, corunners)

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

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self._results(indices, workload, None)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of an ideal machine that does not pay one of `costs`."""
        return self._results(indices, workload, cost)

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
        warmup = 3 * n // 8
        return trace, warmup, n - warmup

    def _results(self, indices: np.ndarray, workload: Workload, cost: str | None) -> BatchResult:
        trace, warmup, length = self.region(workload.content)
        values = np.full((len(indices), len(METRICS)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        for row, design in enumerate(indices):
            built: Mapping[str, int] = machine_of(self.space.name, self.space.design_at(design))
            machine, ideal = (built, None) if cost is None else idealised(cost, built)
            # An ideal machine runs, but area and energy are those of the design.
            machines = built, machine
            if self._corunners:
                found = self._run_cores(machines, workload.content, (warmup, length), ideal)
            else:
                found = self._run(machines, trace, (warmup, length), ideal)
            if found is None:
                reason[row] = _ENDLESS
            else:
                values[row] = found
        return BatchResult(values, reason)

    def _run(
        self,
        machines: tuple[Mapping[str, int], Mapping[str, int]],
        trace: InstructionTrace,
        region: tuple[int, int],
        ideal: Ideal | None,
    ) -> np.ndarray | None:
        """Return the metrics of a machine, or None if it never ends.

        Args:
          machines: The machine that is built, and the one that runs.
        """
        built, machine = machines
        if self.fidelity == "standard":
            counters = run(machine, trace, *region, ideal)
            return None if counters is None else measures(built, counters)
        # The devices of the DRAM simulator are read where they are asked for.
        from archgym.simulators.cpu.composed.memory import run_composed

        composed = run_composed(machine, trace, *region, ideal)
        if composed is None:
            return None
        return measures(built, composed.counters, composed.dram_pj)

    def _run_cores(
        self,
        machines: tuple[Mapping[str, int], Mapping[str, int]],
        program: Program,
        region: tuple[int, int],
        ideal: Ideal | None,
    ) -> np.ndarray | None:
        """Return the metrics of several cores as `_run`, or None if one never ends."""
        from archgym.simulators.cpu.cores.run import run_cores

        built, machine = machines
        # A fast core runs on until the slow ones are done, for as long as its trace lasts.
        n = 2 * sum(region) + _IN_FLIGHT
        further = [load(name) if name else program for name in self._corunners]
        traces = [each.instructions(n) for each in (program, *further)]
        found = run_cores(machine, traces, *region, ideal)
        if found is None:
            return None
        return measures(built, found[0], core_cycles=found[1])

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
        require_kept(
            "cpu",
            "energy x delay is the product",
            column["energy_per_instruction_pj"] / column["ipc"] * 0.25,
            column["energy_delay"],
        )

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        """Return the machine of a design as a configuration of ChampSim."""
        from archgym.simulators.cpu.export import champsim_files

        return champsim_files(machine_of(self.space.name, self.space.design_at(indices)))

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
