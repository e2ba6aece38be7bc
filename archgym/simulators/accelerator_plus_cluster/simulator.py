"""Arrays in the NPUs of a training cluster, designed with the network and the parallelisation."""

from collections.abc import Mapping
from typing import ClassVar, Final, cast, final

import numpy as np

from archgym.simulators.accelerator.workloads import Network
from archgym.simulators.cluster.machine.clusters import Npu
from archgym.simulators.cluster.machine.design import Spread, spread_of
from archgym.simulators.cluster.simulator import SPREADING, ClusterSimulator
from archgym.simulators.cluster.workloads import network_model
from archgym.simulators.kit import (
    Limit,
    MetricSpec,
    Objective,
    SimulatorSpec,
    Term,
    Workload,
)
from archgym.simulators.kit.composition import Composition, Part

ARRAYS: Final = 108
"""chosen: an A100 has 108 multiprocessors, of 1,024 multipliers each for 16-bit products."""
_TFLOPS_PER_UNIT: Final = 2e-3
"""A multiplication and an addition a cycle, at 1 GHz as in `accelerator+dram`."""
AREA_LIMIT_MM2: Final = 270.0
"""chosen: 108 arrays of 2.5 mm2, the limit of one array in the accelerator simulator."""
_JOINT: Final = (
    MetricSpec("samples_per_s", "samples/s", "maximise", 1e-3, "Samples of training a second."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-6, "Area of the arrays of one NPU at 45 nm."),
    MetricSpec("reached_percent", "%", "none", 1e-3, "Part of their peak that arrays reach."),
    MetricSpec("traffic", "", "none", 1e-3, "Times that each byte moves to or from an array."),
)
_LIMITS: Final = (
    Limit("cluster.memory_percent", "<=", 100.0),
    Limit("area_mm2", "<=", AREA_LIMIT_MM2),
)
_RATE: Final = Term("samples_per_s", "maximise")
_OBJECTIVES: Final = (
    Objective(
        "throughput", (_RATE,), f"Most samples a second within {AREA_LIMIT_MM2:g} mm2.", _LIMITS
    ),
    Objective(
        "throughput-per-dollar",
        (_RATE, Term("cluster.network_dollars", "minimise")),
        "Most samples a second and dollar of the network, within memory and area.",
        _LIMITS,
    ),
)


@final
class AcceleratorClusterSimulator(Composition):
    """A training cluster, and the systolic arrays of its NPUs.

    The arrays' cycles on the layers give the rate of products that NPUs reach, and the bytes that
    their buffers fetch again slow down the NPU's memory. All else of an NPU is the cluster's.
    """

    spec = SimulatorSpec(
        name="accelerator+cluster",
        title="Arrays in a training cluster",
        compared=(
            "cycles of the arrays equal SCALE-Sim, the cluster equals ASTRA-sim 2 at the "
            "same rates; not compared with silicon"
        ),
        version=1,
        evaluation_s=0.03,
        bounded_by=(
            "accelerator.array_height",
            "accelerator.array_width",
            "accelerator.dataflow",
            "accelerator.weight_kib",
            "accelerator.input_kib",
            "accelerator.output_kib",
            *(f"cluster.{name}" for name in SPREADING),
        ),
        objectives={o.name: o for o in _OBJECTIVES},
        default_objective="throughput",
    )
    kinds: ClassVar[Mapping[str, str]] = {"accelerator": "accelerator", "cluster": "cluster"}
    usual_options: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "accelerator": {"space": "systolic-buffered"}
    }
    decided: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "accelerator": (
            "space", "fidelity", "counts", "mapper", "area_mm2", "power_mw", "layer",
            "architecture",
        ),
        "cluster": ("peak_tflops", "efficiency", "memory_gb_per_s"),
    }  # fmt: skip
    links: Mapping[str, str] = {
        "accelerator > cluster": "the rate of products, and the part of the memory's rate that is "
        "left where buffers fetch bytes again"
    }
    joint_metrics: tuple[MetricSpec, ...] = _JOINT
    apart: ClassVar[Mapping[str, str]] = {
        "energy": "that of an array is for an inference, that of the cluster for an iteration"
    }

    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return the joint metrics of one design; see `Composition.couple`."""
        core = cast(ClusterSimulator, parts["cluster"].simulator)
        alone = parts["accelerator"].run(workload)
        traffic = _traffic(alone, workload.content)
        npu = core.values_of(parts["cluster"].design).get("npu", core.cluster.npu)
        rates = _rates(alone, traffic, npu)
        trained = parts["cluster"].run(
            core.workload_of(network_model(workload.content)),
            **{name: f"{rate!r}" for name, rate in rates.items()},
        )
        return {
            "samples_per_s": trained["tokens_per_s"],
            "area_mm2": ARRAYS * alone["area_mm2"],
            "reached_percent": alone["utilisation_percent"],
            "traffic": traffic,
        }

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return bounds of the cluster's with each array, and the area; see `Simulator.bounds`."""
        found = super().bounds(partial, workload)
        names = self.space.names
        chosen = [place for place, name in enumerate(names) if name in self.spec.bounded_by]
        rows = np.flatnonzero((partial[:, chosen] >= 0).all(axis=1))
        if not len(rows):
            return found
        core = cast(ClusterSimulator, self.parts["cluster"])
        model = network_model(workload.content)
        known = partial[rows].copy()
        of_cluster = self._columns["cluster"][0]
        known[:, of_cluster] = core.optimistic(known[:, of_cluster])
        known = np.where(known < 0, self.space.default_indices, known)
        arrays, array_of = self.different("accelerator", known)
        clusters, cluster_of = self.different("cluster", known)
        values = [core.values_of(part.design) for part in clusters]
        spreads = [spread_of(each, core.cluster, model) for each in values]
        runs = [part.run(workload) for part in arrays]
        kinds: dict[tuple[int, Spread], float] = {}
        least = np.empty(len(rows))
        for row, (array, cluster) in enumerate(zip(array_of, cluster_of, strict=True)):
            spread = spreads[cluster]
            # Many designs spread a model alike, and differ in their network.
            key = (int(array), spread)
            if key not in kinds:
                rates = _rates(runs[array], _traffic(runs[array], workload.content), spread.npu)
                reached = 1e3 * rates["peak_tflops"] * rates["efficiency"]
                kinds[key] = spread.compute_ns(model, reached, rates["memory_gb_per_s"])
            least[row] = kinds[key]
        if core.fidelity != "short":
            samples = 1e9 * model.global_batch * model.tokens
            found[rows, 0] = np.divide(
                samples, least, out=np.full(len(rows), np.nan), where=least > 0
            )
        found[rows, 1] = ARRAYS * np.array([alone["area_mm2"] for alone in runs])[array_of]
        return found


def _traffic(alone: Mapping[str, float], network: Network) -> float:
    """Return how often each byte of a network's tensors moves; at least once."""
    least = sum(
        layer.count * sum(layer.problem.tensor_size(tensor) for tensor in range(3))
        for layer in network.layers
    )
    return max(1.0, alone["dram_bytes"] / least)


def _rates(alone: Mapping[str, float], traffic: float, npu: Npu) -> dict[str, float]:
    """Return the options of a cluster whose NPUs have these arrays, and memory like `npu`."""
    return {
        "peak_tflops": ARRAYS * _TFLOPS_PER_UNIT * alone["units"],
        "efficiency": alone["utilisation_percent"] / 100.0,
        "memory_gb_per_s": npu.memory_gb_per_s / traffic,
    }
