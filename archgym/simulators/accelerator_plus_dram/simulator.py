"""A systolic array and its memory controller, designed together: stalls delay the layers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, Final, final

import numpy as np

from archgym.simulators.accelerator.kernel.tiles import Array
from archgym.simulators.accelerator.workloads import Network
from archgym.simulators.accelerator_plus_dram.memory import (
    CLOCK_PS,
    LayerRun,
    least_ps,
    run_layer,
)
from archgym.simulators.dram.controllers.ramulator import controllers_of, requests_of
from archgym.simulators.dram.metrics import ENERGY_CAUSES
from archgym.simulators.dram.ramulator.kernel.run import Configuration, peak_bytes_per_ps
from archgym.simulators.kit import (
    Columns,
    Laws,
    Limit,
    MetricSpec,
    Objective,
    P,
    Simulator,
    SimulatorSpec,
    Term,
    Workload,
)
from archgym.simulators.kit.composition import Composition, Part

# chosen: a DDR4 PHY and controller take about 2 mm2 per 64 data pins, as in the CPU simulator.
_CHANNEL_MM2, _CHANNEL_PINS = 2.0, 64
AREA_LIMIT_MM2: Final = 9.0
"""chosen: about a seventh above the default design, two channels and a 32 x 32 array."""
_REQUESTS: Final[Mapping[str, int]] = {"sampled": 8_000, "long": 2**18}
"""Requests of a layer that are simulated at most, by fidelity."""
# Metrics of the memory that grow with the number of requests, and with time.
_BY_REQUESTS: Final = (
    "row_hits", "row_misses", "row_conflicts", "forwarded", "coalesced", "estimated_energy_pj",
    *(f"{cause}_energy_pj" for cause in ENERGY_CAUSES if cause not in ("background", "refresh")),
)  # fmt: skip
_BY_TIME: Final = ("refreshes", "background_energy_pj", "refresh_energy_pj")
_MEANS: Final = ("mean_latency_ns", "p50_latency_ns")
_WORST: Final = ("p95_latency_ns", "p99_latency_ns")
_JOINT: Final = (
    MetricSpec("latency_us", "us", "minimise", 1e-3, "Latency of one inference, stalls included."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-6, "Area of array, buffers and channels."),
    MetricSpec("dram_energy_uj", "uJ", "minimise", 1e-3, "Energy of the memory's devices."),
    MetricSpec(
        "energy_uj", "uJ", "minimise", 1e-3, "Energy of array, buffers and the memory's devices.",
        identifies=False,
    ),
    MetricSpec(
        "edp_nj_s", "nJ s", "minimise", 1e-9, "That energy times latency.",
        P("energy_uj") * P("latency_us") * 1e-3, identifies=False,
    ),
    MetricSpec("stall_percent", "%", "none", 1e-2, "Share of the latency that memory causes."),
    MetricSpec("bandwidth_gb_per_s", "GB/s", "none", 1e-3, "Bytes of the tiles over latency."),
)  # fmt: skip
_LATENCY: Final = Term("latency_us", "minimise")
_LIMITS: Final = (Limit("area_mm2", "<=", AREA_LIMIT_MM2),)
_OBJECTIVES: Final = (
    Objective("low-latency", (_LATENCY,), f"Latency within {AREA_LIMIT_MM2:g} mm2.", _LIMITS),
    Objective(
        "latency-and-energy",
        (_LATENCY, Term("dram_energy_uj", "minimise")),
        f"Latency and the memory's energy within {AREA_LIMIT_MM2:g} mm2.",
        _LIMITS,
    ),
    Objective(
        "edp", (Term("edp_nj_s", "minimise"),),
        f"Energy times latency within {AREA_LIMIT_MM2:g} mm2.", _LIMITS,
    ),
    Objective(
        "latency-and-area", (_LATENCY, Term("area_mm2", "minimise")), "Latency against area."
    ),
)  # fmt: skip


@final
class AcceleratorDramSimulator(Composition):
    """A systolic array, its buffers and its memory controller.

    The tiles of each layer are requests to the controllers of the DRAM simulator, reads and writes
    as the array needs and leaves them. A phase of the array waits for its tiles.
    """

    spec = SimulatorSpec(
        name="accelerator+dram",
        title="Accelerator and memory controller",
        compared=(
            "cycles without stalls equal SCALE-Sim, the controllers equal Ramulator 2.1; "
            "the schedule of tiles was compared with no tool"
        ),
        version=0,
        evaluation_s=0.1,
        fidelity_names=tuple(_REQUESTS),
        bounded_by=(
            "accelerator.array_height",
            "accelerator.array_width",
            "accelerator.dataflow",
            "accelerator.weight_kib",
            "accelerator.input_kib",
            "accelerator.output_kib",
            "dram.organisation",
            "dram.speed_bin",
            "dram.channels",
        ),
        objectives={o.name: o for o in _OBJECTIVES},
        default_objective="low-latency",
    )
    kinds: ClassVar[Mapping[str, str]] = {"accelerator": "accelerator", "dram": "dram"}
    usual_options: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "accelerator": {"space": "systolic-buffered"},
        "dram": {"device": "ddr4"},
    }
    decided: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "accelerator": (
            "space", "fidelity", "counts", "mapper", "area_mm2", "power_mw", "layer",
            "architecture", "node", "dies", "grid", "hours",
        ),
        "dram": ("space", "fidelity", "requests", "window_us", "sink_k_per_w"),
    }  # fmt: skip
    links: Mapping[str, str] = {
        "accelerator > dram": "reads and writes of each phase's tiles, when a buffer has room",
        "dram > accelerator": "the time at which the last tile of each phase arrives",
    }
    joint_metrics: tuple[MetricSpec, ...] = _JOINT

    limit = 0
    """Requests of a layer that are simulated at most; 0 for those of the fidelity."""

    def join(self, parts: Mapping[str, Simulator]) -> None:
        """Take over what the parts declare.

        Raises:
          InvalidArgumentError: The device has no open controller model of ticks.
        """
        controllers_of(parts["dram"])
        super().join(parts)

    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return the joint metrics of one design; see `Composition.couple`."""
        accelerator, dram = parts["accelerator"], parts["dram"]
        alone = accelerator.run(workload)
        memory = controllers_of(dram.simulator)
        c = memory.configuration(dram.design)
        if refusal := memory.refusal(c):
            dram.refuse(refusal)
        network: Network = workload.content
        array = Array.of(accelerator.design)

        def runs(limit: int) -> Iterator[tuple[int, LayerRun]]:
            for layer in network.layers:
                run = run_layer(layer.problem, array, memory.made, c, limit, dram.without)
                if run is None:
                    dram.refuse(dram.simulator.spec.model_reasons[0])
                yield layer.count, run

        found = _memory_metrics(dram.simulator, c, runs(self.limit or _REQUESTS[self.fidelity]))

        def requests() -> Workload:
            sampled = [run for _, run in runs(_REQUESTS["sampled"])]
            each = [(run.outcome, run.is_write, run.addresses) for run in sampled]
            return requests_of(network.name, each)

        dram.report(found, requests)
        time_ps = 1000.0 * found["total_time_ns"]
        compute_ps = alone["latency_cycles"] * CLOCK_PS
        energy_pj = found.get("total_energy_pj", found.get("estimated_energy_pj", 0.0))
        return {
            "latency_us": time_ps / 1e6,
            "area_mm2": alone["area_mm2"] + _CHANNEL_MM2 * found["data_pins"] / _CHANNEL_PINS,
            "dram_energy_uj": energy_pj / 1e6,
            "energy_uj": alone["energy_uj"] + energy_pj / 1e6,
            "stall_percent": 100.0 * max(0.0, 1.0 - compute_ps / time_ps),
            "bandwidth_gb_per_s": found["bandwidth_gb_per_s"],
        }

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        memory = controllers_of(self.parts["dram"])
        least_us = self.bounds_of(indices, workload)[:, 0]
        designs = map(self.parts["dram"].space.design_at, self.of_part("dram", indices))
        standby_mw = [memory.limits(memory.configuration(design))[2] for design in designs]
        latency = column["latency_us"]
        return {
            **super().laws(indices, column, workload),
            "latency is the operations and the bytes over their peaks": (latency, least_us),
            "energy is standby power times time": (
                column["dram_energy_uj"], 1e-3 * np.array(standby_mw) * latency
            ),
        }  # fmt: skip

    def bounds_of(self, indices: np.ndarray, workload: Workload) -> np.ndarray:
        """Return bounds of latency, and the area; see `Composition.bounds_of`.

        No layer is faster than its array without stalls, or than its bytes at the peak rate.
        """
        memory = controllers_of(self.parts["dram"])
        values = super().bounds_of(indices, workload)
        arrays, of_array = self.different("accelerator", indices)
        memories, of_memory = self.different("dram", indices)
        built = [memory.configuration(part.design) for part in memories]
        rates = np.array([peak_bytes_per_ps(memory.made, c) for c in built])[of_memory]
        widths = [memory.made.organisations[c.organisation].channel_width for c in built]
        pins = np.array([c.channels * w for c, w in zip(built, widths, strict=True)])[of_memory]
        network: Network = workload.content
        for number, part in enumerate(arrays):
            rows = np.flatnonzero(of_array == number)
            array = Array.of(part.design)
            least = [
                layer.count * least_ps(layer.problem, array, rates[rows])
                for layer in network.layers
            ]
            values[rows, 0] = np.sum(least, axis=0) / 1e6
            values[rows, 1] = array.area_mm2 + _CHANNEL_MM2 * pins[rows] / _CHANNEL_PINS
        return values


def _memory_metrics(
    memory: Simulator, c: Configuration, runs: Iterable[tuple[int, LayerRun]]
) -> dict[str, float]:
    """Return the memory's metrics over all layers, each weighted by how often it runs."""
    total: dict[str, float] = dict.fromkeys((s.name for s in memory.metrics), 0.0)
    controllers, time_ns, n_bytes, peak = controllers_of(memory), 0.0, 0.0, 0.0
    for count, run in runs:
        late = run.outcome.depart - run.outcome.due
        found = controllers.measures(c, late, run.is_write, run.outcome)
        for name in found.keys() & _BY_REQUESTS:
            total[name] += count * run.share * found[name]
        longer = count * run.time_ps / 1000.0 / found["total_time_ns"]
        for name in found.keys() & _BY_TIME:
            total[name] += longer * found[name]
        for name in _MEANS:
            total[name] += count * run.n_bytes * found[name]
        for name in _WORST:
            total[name] = max(total[name], found[name])
        total |= {name: found[name] for name in ("data_pins", "capacity_mib")}
        peak = found["bandwidth_gb_per_s"] / found["bandwidth_percent"]
        time_ns += count * run.time_ps / 1000.0
        n_bytes += count * run.n_bytes
    for name in _MEANS:
        total[name] /= n_bytes
    total["total_time_ns"] = time_ns
    total["bandwidth_gb_per_s"] = n_bytes / time_ns
    total["bandwidth_percent"] = total["bandwidth_gb_per_s"] / peak
    if "total_energy_pj" in total:
        total["total_energy_pj"] = sum(total[f"{cause}_energy_pj"] for cause in ENERGY_CAUSES)
        total["power_mw"] = total["total_energy_pj"] / time_ns
    return total
