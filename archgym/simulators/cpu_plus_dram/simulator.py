"""The core and its memory controller, designed together and advanced cycle by cycle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final, cast, final

import numpy as np

from archgym.simulators.cpu.kernel.composed.memory import Memory, run_composed
from archgym.simulators.cpu.metrics import (
    AREA_LIMIT_MM2,
    CYCLE_NS,
    POWER_LIMIT_MW,
    STRUCTURAL_AREA_MM2,
    STRUCTURAL_POWER_MW,
)
from archgym.simulators.cpu.simulator import CpuSimulator
from archgym.simulators.cpu.space import GROUPS
from archgym.simulators.dram.controllers.ramulator import (
    RamulatorController,
    controllers_of,
    requests_of,
)
from archgym.simulators.dram.ramulator.kernel.run import Configuration
from archgym.simulators.kit import (
    Columns,
    InvalidArgumentError,
    Laws,
    Metrics,
    MetricSpec,
    Objective,
    Simulator,
    SimulatorSpec,
    Term,
    Workload,
    derived_values,
    parse_limits,
)
from archgym.simulators.kit.composition import Composition, Part, PartInfeasible

_LINE_BYTES: Final = 64
_MODULE_PINS: Final = 64
"""Data pins of a module: one channel of DDR4, two of DDR5."""
_OF_WRITES: Final = ("dram.write_buffer", "dram.wr_low", "dram.wr_high")
_JOINT: Final = (
    MetricSpec("time_ns", "ns", "minimise", 1.0, "Time of the counted instructions."),
    MetricSpec("ipc", "instructions/cycle", "maximise", 1e-4, "Instructions per cycle."),
    MetricSpec(
        "energy_per_instruction_pj", "pJ", "minimise", 0.1, "Energy of core, caches and devices."
    ),
    MetricSpec("power_mw", "mW", "minimise", 0.1, "Mean power of core, caches and devices."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-3, "Area of core, caches and channels."),
    MetricSpec("energy_delay", "pJ ns", "minimise", 0.1, "Energy times delay per instruction."),
)
_PROMOTED: Final = tuple(spec.name for spec in _JOINT[1:])
_IPC, _ENERGY_DELAY = Term("ipc", "maximise"), Term("energy_delay", "minimise")


def _objectives(area_mm2: float, power_mw: float) -> dict[str, Objective]:
    """Return the objectives, by name, for limits of area and power."""
    limits = parse_limits(f"area_mm2 <= {area_mm2:g}, power_mw <= {power_mw:g}", _JOINT)
    found = (
        Objective(
            "performance-under-limits",
            (_IPC,),
            f"IPC within {area_mm2:g} mm2 and {power_mw:g} mW.",
            limits,
        ),
        Objective("performance", (_IPC,), "IPC; over several workloads their geometric mean."),
        Objective("energy", (Term("energy_per_instruction_pj", "minimise"),), "Energy."),
        Objective("edp", (_ENERGY_DELAY,), "Energy times delay."),
    )
    return {objective.name: objective for objective in found}


@final
class CpuDramSimulator(Composition):
    """A core, its caches and its memory controller.

    Core and controllers advance together, cycle by cycle, as in fidelity `dram` of the simulator
    `cpu`, to which results are equal. Mapping, scheduler, row policy, refresh, buffers and the
    devices are part of the design.
    """

    spec = SimulatorSpec(
        name="cpu+dram",
        title="Core and memory controller",
        compared=(
            "equal to fidelity dram of cpu, whose parts equal ChampSim and Ramulator 2.1;"
            " not compared with silicon"
        ),
        version=0,
        evaluation_s=0.05,
        bounded_by=(
            *(f"cpu.{name}" for names in GROUPS.values() for name in names),
            "dram.organisation",
            "dram.speed_bin",
            "dram.channels",
        ),
        objectives=_objectives(STRUCTURAL_AREA_MM2, STRUCTURAL_POWER_MW),
        default_objective="performance-under-limits",
    )
    kinds: ClassVar[Mapping[str, str]] = {"cpu": "cpu", "dram": "dram"}
    usual_options: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "cpu": {"fidelity": "dram"},
        "dram": {"device": "ddr4"},
    }
    decided: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "cpu": (
            "dram_data_rate", "dram_channels", "dram_queue", "fidelity", "cores", "corunners",
            "window_us", "sink_k_per_w",
        ),
        "dram": ("space", "fidelity", "requests", "window_us", "sink_k_per_w"),
    }  # fmt: skip
    links: Mapping[str, str] = {
        "cpu > dram": "reads and writes of the last level, when they leave it",
        "dram > cpu": "the time at which each read's data arrive",
    }
    joint_metrics: tuple[MetricSpec, ...] = _JOINT

    def join(self, parts: Mapping[str, Simulator]) -> None:
        """Take over what the parts declare.

        Raises:
          InvalidArgumentError: The memory has bursts of another size than a line of a cache.
        """
        if controllers_of(parts["dram"]).burst_bytes != _LINE_BYTES:
            raise InvalidArgumentError(
                "`dram.device` must be ddr4, ddr5 or one of their speed bins, whose bursts are "
                "lines of a cache; got another device."
            )
        super().join(parts)
        # Metrics of the whole that the core computes have a direction once.
        repeated = {f"cpu.{name}" for name in _PROMOTED}
        found = tuple(
            replace(spec, goal="none") if spec.name in repeated else spec for spec in self.metrics
        )
        aims = self.spec.objectives
        if "giga_instructions_per_s" not in {spec.name for spec in parts["cpu"].metrics}:
            # Area and power of arrays alone.
            aims = _objectives(AREA_LIMIT_MM2, POWER_LIMIT_MW)
        self.spec = replace(self.spec, metrics=found, objectives=aims)

    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return the joint metrics of one design; see `Composition.couple`."""
        cpu, dram = parts["cpu"], parts["dram"]
        core = cast(CpuSimulator, cpu.simulator)
        memory = controllers_of(dram.simulator)
        c = memory.configuration(dram.design)
        if refusal := memory.refusal(c):
            dram.refuse(refusal)
        found = core.built(cpu.indices, cpu.without, _channels(memory, c))
        if isinstance(found, str):
            cpu.refuse(found)
        program, trace, warmup, length = core.opened(workload)
        run = run_composed(
            found.running, trace, warmup, length, found.ideal, Memory(memory.made, c), dram.without
        )
        if run is None:
            cpu.refuse(core.spec.model_reasons[0])
        own = found.measures(run.counters, run.dram_pj, ())
        values = derived_values(own[None, :], core.metrics)[0].tolist()
        measured = dict(zip((spec.name for spec in core.metrics), values, strict=True))
        cpu.report(measured, lambda: workload)
        is_done = run.outcome.depart >= 0
        late = (run.outcome.depart - run.outcome.due)[is_done]
        dram.report(
            memory.measures(c, late, run.is_write[is_done], run.outcome),
            lambda: requests_of(program.name, [(run.outcome, run.is_write, run.addresses)]),
        )
        time_ns = measured["total_cycles"] * CYCLE_NS
        return {"time_ns": time_ns, **{name: measured[name] for name in _PROMOTED}}

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        memory = controllers_of(self.parts["dram"])
        found = super().laws(indices, column, workload)
        designs = map(self.parts["dram"].space.design_at, self.of_part("dram", indices))
        limits = [memory.limits(memory.configuration(design)) for design in designs]
        burst_ns, _, standby_mw = np.array(limits).T
        # The core's own law is for ChampSim's DRAM.
        own = {text: law for text, law in found.items() if "DRAM" not in text}
        peak = memory.burst_bytes / burst_ns
        return {
            **own,
            "the memory has the bandwidth that is used": (peak, column["dram.bandwidth_gb_per_s"]),
            **({"power is standby power of the devices": (column["power_mw"], standby_mw)}),
        }

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return area and least power, or all metrics where only the write buffer is left.

        A run that writes nothing to the memory is the same whatever the buffer of writes and its
        thresholds. See `Simulator.bounds`.
        """
        found = super().bounds(partial, workload)
        is_left = np.array([name in _OF_WRITES for name in self.space.names])
        designs = self.space.canonical(
            np.where(is_left | (partial < 0), self.space.default_indices, partial)
        )
        is_free = np.asarray((partial < 0).any(axis=1))
        is_chosen = (partial[:, ~is_left] >= 0).all(axis=1) & self.space.feasible(designs)
        for row in np.flatnonzero(is_chosen):
            key = ("unwritten", workload.digest, designs[row].tobytes())
            known = self._memory.get(key)
            if known is None and is_free[row]:
                known = self._unwritten(self.opened(designs[row]), workload)
                self._memory.put(key, known)
            if isinstance(known, Metrics):
                found[row] = list(known.values())
        return found

    def _unwritten(self, parts: Mapping[str, Part], workload: Workload) -> Metrics | str:
        """Return all metrics of a run that writes nothing to the memory; a text for another."""
        try:
            values = self._numbers(cast(Mapping[str, float], self.couple(parts, workload)), parts)
        except PartInfeasible as refusal:
            return str(refusal)
        requests = cast(Workload, parts["dram"].workload).content
        metrics = zip((spec.name for spec in self.metrics), values, strict=True)
        return "it writes" if requests.is_write.any() else Metrics(dict(metrics))

    def bounds_of(self, indices: np.ndarray, workload: Workload) -> np.ndarray:
        """Return area, and leakage as the least power; see `Composition.bounds_of`."""
        values = super().bounds_of(indices, workload)
        core = cast(CpuSimulator, self.parts["cpu"])
        memory = controllers_of(self.parts["dram"])
        names = [spec.name for spec in self.metrics]
        cores, of_core = self.different("cpu", indices)
        memories, of_memory = self.different("dram", indices)
        channels = [_channels(memory, memory.configuration(part.design)) for part in memories]
        for number, place in set(zip(of_core.tolist(), of_memory.tolist(), strict=True)):
            found = core.built(cores[number].indices, None, channels[place])
            if not isinstance(found, str):
                rows = (of_core == number) & (of_memory == place)
                for name, least in found.least().items():
                    values[rows, names.index(name)] = least
        return values


def _channels(memory: RamulatorController, c: Configuration) -> dict[str, int]:
    """Return the parameters of a machine by which the channels' area and power are computed."""
    organisation = memory.made.organisations[c.organisation]
    pins = c.channels * organisation.channel_width
    rate = memory.made.bins[c.timing].values(c.organisation)["rate"]
    # A module with one of its two channels still has its pins.
    return {"DRAM.channels": -(-pins // _MODULE_PINS), "DRAM.data_rate": rate}
