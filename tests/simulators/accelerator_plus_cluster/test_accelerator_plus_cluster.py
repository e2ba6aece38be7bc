"""Arrays in the NPUs of a training cluster, against the cluster alone at the same rates."""

from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.simulators.accelerator import AcceleratorSimulator
from archgym.simulators.accelerator_plus_cluster import AcceleratorClusterSimulator
from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.machine.clusters import NPUS
from archgym.tables import prove

SMALL: dict[str, Any] = {"cluster.space": "table"}


def default_of(simulator: ag.Simulator) -> dict[str, Any]:
    return dict(simulator.space.design_at(simulator.space.default_indices))


def drawn_designs(simulator: ag.Simulator, n: int) -> np.ndarray:
    drawn = np.random.default_rng(3).integers(
        0, simulator.space.sizes, size=(n, simulator.space.n_parameters)
    )
    return simulator.space.canonical(drawn)


@pytest.mark.parametrize("network", ["resnet-18", "bert-base"])
def test_every_metric_is_that_of_the_cluster_with_the_rates_of_the_array(network: str) -> None:
    whole = AcceleratorClusterSimulator(**SMALL)
    joint = {
        **default_of(whole),
        "accelerator.array_width": 64,
        "accelerator.dataflow": "output-stationary",
        "cluster.role_0": "dp",
        "cluster.microbatch": 4,
    }
    array = AcceleratorSimulator("systolic-buffered")
    own = {n.partition(".")[2]: v for n, v in joint.items() if n.startswith("accelerator.")}
    alone = array.evaluate(own, array.workload(network))

    found = whole.evaluate(joint, whole.workload(network))

    # 108 arrays with a multiplier and an adder in each unit, at 1 GHz; memory like an A100's.
    cluster = ClusterSimulator(
        "table",
        peak_tflops=108 * 2e-3 * alone["units"],
        efficiency=alone["utilisation_percent"] / 100.0,
        memory_gb_per_s=NPUS["a100-80g"].memory_gb_per_s / found["traffic"],
    )
    rest = {n.partition(".")[2]: v for n, v in joint.items() if n.startswith("cluster.")}
    expected = cluster.evaluate(rest, cluster.workload(f"network:{network}"))
    assert {n: found[f"cluster.{n}"] for n in expected} == dict(expected)
    assert {n: found[f"accelerator.{n}"] for n in alone} == dict(alone)
    assert found["samples_per_s"] == expected["tokens_per_s"]


def test_cluster_at_its_own_rates_is_the_cluster_without_options() -> None:
    npu = NPUS["a100-80g"]
    usual = ClusterSimulator("table")
    given = ClusterSimulator(
        "table",
        peak_tflops=npu.peak_tflops,
        efficiency=0.5,
        memory_gb_per_s=npu.memory_gb_per_s,
    )
    designs = drawn_designs(usual, 4)

    expected = usual.evaluate_batch(designs, usual.workload("bert-large"))
    found = given.evaluate_batch(designs, given.workload("bert-large"))

    assert (found.reason == 0).any()
    np.testing.assert_array_equal(found.values, expected.values)


def test_bytes_that_small_buffers_fetch_again_slow_down_training() -> None:
    whole = AcceleratorClusterSimulator(**SMALL)
    workload, design = whole.workload("resnet-18"), default_of(whole)
    small, large = (
        whole.evaluate(
            {
                **design,
                **{f"accelerator.{kind}_kib": kib for kind in ("weight", "input", "output")},
            },
            workload,
        )
        for kib in (16, 256)
    )

    assert small["traffic"] > 2.0 * large["traffic"] > 2.0
    assert small["samples_per_s"] < large["samples_per_s"]
    assert small["area_mm2"] < large["area_mm2"]


def test_array_is_simulated_once_for_several_clusters() -> None:
    whole = AcceleratorClusterSimulator(**SMALL)
    workload, design = whole.workload("resnet-18"), default_of(whole)

    for splits in (1, 4):
        whole.evaluate({**design, "cluster.splits": splits}, workload)

    assert whole.n_part_runs == 3


def test_proof_by_bounds_finds_the_optimum_of_all_designs() -> None:
    task = ag.Task.make(
        "accelerator+cluster",
        "vgg-16",
        values={
            "accelerator.array_height": [32, 64],
            "accelerator.dataflow": ["weight-stationary", "output-stationary"],
            "accelerator.input_kib": [16, 64],
            "cluster.role_0": ["dp", "tp"],
            "cluster.microbatch": [1, 4],
        },
        fixed={
            **{f"accelerator.{name}": 64 for name in ("weight_kib", "output_kib")},
            "accelerator.array_width": 32,
            "cluster.topology_0": "Switch",
            "cluster.topology_1": "Switch",
            "cluster.bandwidth_1": 100,
            "cluster.role_1": "dp",
            "cluster.zero": 1,
            "cluster.splits": 4,
        },
        **SMALL,
    )
    every = np.indices(tuple(task.space.sizes.tolist())).reshape(task.space.n_parameters, -1).T

    every = np.unique(task.space.canonical(every), axis=0)
    rewards = task.evaluate(every).reward

    found = prove(task, every[int(rewards.argmax())])

    assert found.reward == rewards.max()
    assert (found.method, found.is_optimal) == ("bounds", True)
    assert found.n_evaluated < len(every) // 2
