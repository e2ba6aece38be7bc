"""Systolic arrays at the nodes of a network on chip, which read a memory that all share."""

from collections.abc import Mapping
from typing import ClassVar, Final, cast, final

import numpy as np

from archgym.simulators.kit import (
    Columns,
    Laws,
    Limit,
    MetricSpec,
    Objective,
    SimulatorSpec,
    Term,
    Workload,
)
from archgym.simulators.kit.composition import Composition, Part
from archgym.simulators.noc.simulator import NocSimulator
from archgym.simulators.noc.workloads import WIDTH_BITS

CYCLES: Final = 5.0
"""Cycles of the network in one of an array: 1 GHz, and 200 MHz as the accelerator has it."""
_OVERHEAD: Final = 1.5
"""A line of 64 bytes needs a request of a flit of 16 bytes, and an answer of five."""
_IDLE: Final = "0.01"
"""Load that no network feels."""
SCALE: Final = (45.0 / 32.0) ** 2
"""Area of the network at 45 nm, the node of the arrays; the network's own is 32 nm."""
AREA_LIMIT_MM2: Final = 160.0
"""chosen: 64 arrays of 2.5 mm2, the limit of one array in the accelerator simulator."""
_JOINT: Final = (
    MetricSpec("inferences_per_s", "1/s", "maximise", 1e-3, "Inferences of all tiles a second."),
    MetricSpec("latency_us", "us", "minimise", 1e-3, "Latency of one inference, stalls included."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-6, "Area of arrays and network at 45 nm."),
    MetricSpec("stall_percent", "%", "none", 1e-2, "Share of the latency that the network causes."),
    MetricSpec(
        "asked_gb_per_s", "GB/s", "none", 1e-2, "Requests and answers of arrays that never wait."
    ),
    MetricSpec(
        "carried_gb_per_s",
        "GB/s",
        "none",
        1e-2,
        "Load at which the network's latency is twice that of an idle one.",
    ),
)
_LIMITS: Final = (Limit("area_mm2", "<=", AREA_LIMIT_MM2),)
_RATE: Final = Term("inferences_per_s", "maximise")
_OBJECTIVES: Final = (
    Objective("throughput", (_RATE,), f"Most inferences within {AREA_LIMIT_MM2:g} mm2.", _LIMITS),
    Objective(
        "throughput-and-area", (_RATE, Term("area_mm2", "minimise")), "Inferences against area."
    ),
)


@final
class AcceleratorNocSimulator(Composition):
    """An array at each node of a network on chip, and a slice of a memory that all share.

    Each array infers inputs of its own, and reads the bytes that its buffers fetch, line by line,
    from the slices of all nodes. It waits where the network carries less than all arrays ask for.
    """

    spec = SimulatorSpec(
        name="accelerator+noc",
        title="Arrays on a network on chip",
        compared=(
            "cycles of the arrays equal SCALE-Sim, the network equals BookSim 2; the reads between "
            "them were compared with no tool"
        ),
        version=0,
        evaluation_s=0.5,
        bounded_by=tuple(
            f"accelerator.{name}"
            for name in (
                "array_height", "array_width", "dataflow", "weight_kib", "input_kib", "output_kib",
            )
        ),
        objectives={o.name: o for o in _OBJECTIVES},
        default_objective="throughput",
    )  # fmt: skip
    kinds: ClassVar[Mapping[str, str]] = {"accelerator": "accelerator", "noc": "noc"}
    usual_options: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "accelerator": {"space": "systolic-buffered"}
    }
    decided: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "accelerator": (
            "space", "fidelity", "counts", "mapper", "area_mm2", "power_mw", "layer",
            "architecture", "node", "dies", "grid", "hours",
        ),
        "noc": ("load", "clock_ghz", "saturation"),
    }  # fmt: skip
    links: Mapping[str, str] = {
        "accelerator > noc": "reads of lines, at the rate at which an array's buffers fetch bytes",
        "noc > accelerator": "the rate that the network carries before latency doubles",
    }
    apart: ClassVar[Mapping[str, str]] = {
        "energy": "noc has that of a bit, accelerator that of an inference",
        "power": "accelerator has its energy over a latency without stalls",
    }
    joint_metrics: tuple[MetricSpec, ...] = _JOINT

    @property
    def tiles(self) -> int:
        """Arrays, one for each node of the network's space."""
        return cast(NocSimulator, self.parts["noc"]).nodes

    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return the joint metrics of one design; see `Composition.couple`."""
        alone, network = parts["accelerator"].run(workload), parts["noc"]
        tiles = self.tiles
        # The same network has the same rate whatever the array.
        carried = network.run("uniform", load=_IDLE, saturation="true")["saturation_gb_per_s"]
        asked = tiles * asked_gb_per_s(alone)
        # A flit of 128 bits a cycle and node at 1 GHz; the network reports this load.
        load = max(float(_IDLE), min(asked, carried) / (tiles * WIDTH_BITS / 8.0))
        found = network.run("uniform", load=repr(load))
        slower = max(1.0, asked / carried)
        latency_us = slower * alone["latency_cycles"] * CYCLES / 1e3
        return {
            "inferences_per_s": tiles * 1e6 / latency_us,
            "latency_us": latency_us,
            "area_mm2": tiles * alone["area_mm2"] + SCALE * found["area_mm2"],
            "stall_percent": 100.0 * (1.0 - 1.0 / slower),
            "asked_gb_per_s": asked,
            "carried_gb_per_s": carried,
        }

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        least_us = CYCLES * column["accelerator.latency_cycles"] / 1e3
        law = {"latency is that of the array without stalls": (column["latency_us"], least_us)}
        return {**super().laws(indices, column, workload), **law}

    def bounds_of(self, indices: np.ndarray, workload: Workload) -> np.ndarray:
        """Return metrics on a network without stalls and area; see `Composition.bounds_of`."""
        found = np.full((len(indices), len(self.metrics)), np.nan)
        arrays, array_of = self.different("accelerator", indices)
        runs = [part.run(workload) for part in arrays]
        least_us = np.array([run["latency_cycles"] for run in runs])[array_of] * CYCLES / 1e3
        found[:, 0], found[:, 1] = self.tiles * 1e6 / least_us, least_us
        found[:, 2] = self.tiles * np.array([run["area_mm2"] for run in runs])[array_of]
        return found


def asked_gb_per_s(alone: Mapping[str, float]) -> float:
    """Return what an array without stalls puts on the network [GB/s].

    Args:
      alone: Metrics of an array: bytes that its buffers fetch, and cycles.
    """
    return float(_OVERHEAD * alone["dram_bytes"] / (CYCLES * alone["latency_cycles"]))
