"""Graphs of iterations, memory, experts in parts, stragglers and explanations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.evaluation.capabilities import results_without
from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.machine.clusters import Dimension, cluster, network_dollars
from archgym.simulators.cluster.machine.design import Infeasible, split
from archgym.simulators.cluster.machine.parallelism import (
    Parallelism,
    activation_bytes,
    stage_firsts,
)
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.cluster.runs import run
from archgym.simulators.cluster.workloads import load_model, read_model, transformer
from evidence.cluster.reading import simulate_shortcut

MODEL = transformer(
    "small", 32, hidden=512, blocks=8, heads=8, sequence=256, vocabulary=8000, fold=1
)


def system(**changes: Any) -> System:
    base: dict[str, Any] = {
        "topology": ("Switch", "Switch"),
        "npus": (4, 4),
        "bandwidth": (300.0, 25.0),
        "latency": (936.0, 2000.0),
        "algorithms": dict.fromkeys(COLLECTIVES, ("ring", "ring")),
    }
    return System(**base | changes)


def pipeline(**changes: Any) -> Parallelism:
    base = Parallelism(tp=4, pp=4, roles=("tp", "pp"), microbatches=8, microbatch=4)
    return replace(base, **changes)


def test_interleaving_shortens_the_bubble() -> None:
    # Computing must dominate, since there are twice as many sends.
    slow = system(peak_tflops=5.0)
    plain = simulate_shortcut(slow, MODEL.layers, pipeline())
    twice = simulate_shortcut(slow, MODEL.layers, pipeline(interleave=2))

    assert not plain.deadlock
    assert not twice.deadlock
    assert twice.bubble_ns.mean() < 0.85 * plain.bubble_ns.mean()
    assert twice.finish_ns.max() < plain.finish_ns.max()


def test_blocks_are_spread_evenly_and_ends_go_with_them() -> None:
    assert stage_firsts(MODEL.layers, pipeline()).tolist() == [0, 3, 5, 7, 10]
    assert stage_firsts(MODEL.layers, pipeline(split="layers")).tolist() == [0, 3, 5, 8, 10]


def test_selective_recomputation_keeps_34_bytes() -> None:
    blocks = MODEL.layers[1:-1]
    one = pipeline(tp=1, pp=1, roles=None, microbatches=1, microbatch=1, recompute="selective")

    assert activation_bytes(blocks, one) == [8 * 34 * 256 * 512]


def test_straggler_makes_an_iteration_longer() -> None:
    simulator = ClusterSimulator("table")
    slow = ClusterSimulator("table", straggler="2")
    design = simulator.space.design_at(simulator.space.default_indices)
    workload = simulator.workload("bert-large")
    usual = simulator.evaluate(design, workload)["time_ms"]

    late = slow.evaluate(design, slow.workload("bert-large"))["time_ms"]

    assert 1.2 * usual < late < 2.0 * usual


def test_exchange_in_parts_hides_a_part_of_it() -> None:
    simulator = ClusterSimulator("parallel")
    workload = simulator.workload("deepseek-moe-16b")
    design = dict(simulator.space.design_at(simulator.space.default_indices))
    design |= {"role_0": "ep", "role_1": "dp", "microbatch": 1, "inflight": 4}

    whole = simulator.run(design, workload)
    parts = simulator.run(design | {"exchanges": 8}, workload)

    assert parts.outcome.exposed_ns[:, 1].mean() < 0.9 * whole.outcome.exposed_ns[:, 1].mean()
    assert parts.outcome.finish_ns.max() < whole.outcome.finish_ns.max()


def test_every_cost_that_is_taken_away_shortens_an_iteration() -> None:
    simulator = ClusterSimulator("table")
    design = dict(simulator.space.design_at(simulator.space.default_indices)) | {"role_1": "pp"}
    indices = simulator.space.indices_of(design)[None, :]
    workload = simulator.workload("llama2-70b")
    place = [spec.name for spec in simulator.metrics].index("time_ms")
    usual = simulator.evaluate_batch(indices, workload).values[0, place]

    for cost in simulator.spec.costs:
        without = results_without(simulator, cost, indices, workload).values[0, place]
        assert without < usual, cost


def test_bandwidth_of_a_dimension_is_endless_in_all_its_parts() -> None:
    from archgym.simulators.cluster.costs import relieved

    simulator = ClusterSimulator("cosmic-2025", "cosmic-1.3")
    design = dict(simulator.space.design_at(simulator.space.default_indices))
    built = simulator.built(design | {"dp": 2, "cp": 2}, simulator.workload("vit-large"))
    # Dimensions 4, 4, 4, 8; tensor parallelism of 128 fills the first three and half the last.
    assert built.places == (0, 1, 2, 3, 3, 3)

    wide = relieved(built, "bandwidth-3").system.bandwidth

    assert wide[:3] == built.system.bandwidth[:3]
    assert wide[3:] == (1e8, 1e8, 1e8)


def test_same_design_with_all_npus_takes_as_long() -> None:
    some, every = ClusterSimulator("table"), ClusterSimulator("table", simulated="all")
    indices = some.space.sample(6, np.random.default_rng(3))

    found = some.evaluate_batch(indices, some.workload("bert-large"))
    whole = every.evaluate_batch(indices, every.workload("bert-large"))

    assert (found.reason == whole.reason).all()
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-12)


def test_collective_without_congestion_takes_its_closed_form() -> None:
    from archgym.simulators.cluster.kernel.engine import simulate
    from evidence.cluster.entries import graphs_of_entries

    ring = System(
        topology=("Ring",),
        npus=(4,),
        bandwidth=(50.0,),
        latency=(500.0,),
        algorithms=dict.fromkeys(COLLECTIVES, ("ring",)),
        mem_gb_per_s=100.0,
    )
    entry = {"kind": "coll", "deps": [], "type": "all_gather", "size": 53_687, "dims": [True]}

    outcome = simulate(ring, graphs_of_entries(ring, [[entry]], [0] * 4))

    # Three steps of 10 + 500 + 53687 / (50 * 1.073741824) ns, and a last wait of 10 ns.
    assert outcome.finish_ns.tolist() == [3 * (10 + 1499) + 10] * 4


def test_network_price_is_that_of_libra() -> None:
    dimensions = [Dimension("Ring", 4, 100.0, 0.0, "node"), Dimension("Switch", 2, 50.0, 0.0)]

    assert network_dollars(dimensions) == 8 * (100.0 * 8.0 + 50.0 * (7.8 + 18.0 + 31.6))


def test_degrees_cut_dimensions() -> None:
    assert split((8, 4), {"tp": 4, "dp": 8}) == ((0, 0, 1), (4, 2, 4), ("tp", "dp", "dp"))
    with pytest.raises(Infeasible):
        split((8, 4), {"tp": 3, "dp": 8})


def test_memory_beyond_the_npu_is_a_limit_and_not_an_error() -> None:
    simulator = ClusterSimulator("parallel")
    design = dict(simulator.space.design_at(simulator.space.default_indices))
    design |= {"role_0": "dp", "zero": 0, "recompute": "none"}

    metrics = simulator.evaluate(design, simulator.workload("gpt3-175b"))

    assert metrics["memory_percent"] > 1000
    assert [limit.metric for limit in simulator.spec.objectives["mfu"].limits] == ["memory_percent"]


@pytest.mark.parametrize(
    "text",
    [
        "hidden: 8\nblocks: 2\nheads: 3\nsequence: 8\n",
        "hidden: -8\nblocks: 2\nheads: 2\nsequence: 8\n",
        "hidden: 8\nblocks: 2\nheads: 2\nsequence: 1e99\n",
        "hidden: 8\nblocks: 3\nfold: 2\nheads: 2\nsequence: 8\n",
        "hidden: 8\nblocks: 100000000\nheads: 2\nsequence: 8\n",
        "name: a/b\nlayers: [{flops: 1}]\n",
        'name: "two\\nlines"\nlayers: [{flops: 1}]\n',
        "layers: []\n",
        "layers: 7\n",
        "layers: [{flops: -1}]\n",
        "layers: [{flops: .nan}]\n",
        "layers: [{repeat: 99999999, layers: [{flops: 1}]}]\n",
        "layers: [{flops: 1, colour: 2}]\n",
        "a: &x [*x]\n",
        "{",
        "",
    ],
)
def test_hostile_model_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=r"model\.yaml") as refused:
        read_model(path)

    assert "\n" not in str(refused.value)


_SHAPE = "hidden: 64\nblocks: 4\nheads: 8\nsequence: 16\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("experts: 4\ntop_k: 5\n", ":6: `top_k` must be at most `experts`, 4; got 5"),
        ("experts: 1\n", ":5: `experts` must be at least `top_k`, which is 2"),
        ("top_k: 2\n", ":5: `top_k` must be left out without `experts`"),
        ("kv_heads: 16\n", ":5: `kv_heads` must divide `heads`, 8; got 16"),
        ("kv_heads: 3\n", ":5: `kv_heads` must divide `heads`, 8; got 3"),
        ("total_params: -1\n", ":5: `total_params` must be a number from 0"),
        ("rows: many\n", ":5: `rows` must be a number from 0"),
        ("tables: .nan\n", ":5: `tables` must be a number from 0"),
        ("first_dense: 1\n", ":5: `first_dense` must be left out of a shape"),
        ("dense_ffn: 9\n", ":5: `dense_ffn` must be left out of a shape"),
    ],
)
def test_impossible_shape_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(_SHAPE + text)

    with pytest.raises(FileFormatError) as refused:
        read_model(path)

    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "layers: [{count: 100, params: 100000000000000000}]\n",
        "hidden: 10000000\nblocks: 4000\nheads: 10000000\nsequence: 10000000\n",
        "hidden: 1024\nblocks: 4\nheads: 8\nsequence: 16\nexperts: 100000000\nffn: 10000000\n",
    ],
)
def test_layers_whose_sums_are_too_large_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match="of all layers must sum to at most 1e"):
        read_model(path)


def test_design_whose_times_exceed_whole_numbers_is_infeasible(tmp_path: Path) -> None:
    model, system = tmp_path / "model.yaml", tmp_path / "slow.yaml"
    model.write_text("layers: [{count: 8, flops: 100000000000000000}]\n")
    system.write_text(
        "npu: {peak_tflops: 0.001, memory_gb_per_s: 1, memory_gb: 80, dollars: 1, watts: 1}\n"
        "dimensions: [{topology: Switch, npus: 4, gb_per_s: 1, latency_ns: 1}]\n"
    )
    simulator = ClusterSimulator("parallel", str(system))

    indices = np.asarray(simulator.space.default_indices)[None, :]
    found = simulator.simulate(indices, simulator.workload(model))

    assert (
        simulator.spec.reasons[found.reason[0]] == "more is under way at once than can be simulated"
    )


@pytest.mark.parametrize(
    "text",
    [
        "npu: h100-80g\n",
        "npu: h900\ndimensions: [{topology: Ring, npus: 4, gb_per_s: 1, latency_ns: 1}]\n",
        "npu: h100-80g\ndimensions: []\n",
        "npu: h100-80g\ndimensions: [{topology: Torus, npus: 4, gb_per_s: 1, latency_ns: 1}]\n",
        "npu: h100-80g\ndimensions: [{topology: Ring, npus: 4, gb_per_s: 0, latency_ns: 1}]\n",
        "npu: {peak_tflops: 1}\ndimensions: [{topology: Ring, npus: 4}]",
    ],
)
def test_hostile_cluster_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=r"cluster\.yaml"):
        cluster(str(path))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError):
        load_model("gpt5")
    with pytest.raises(UnknownNameError):
        cluster("dgx")
    with pytest.raises(InvalidArgumentError):
        ClusterSimulator("default", straggler="fast")
    with pytest.raises(InvalidArgumentError):
        ClusterSimulator("default", system="a100-256")
    with pytest.raises(UnknownNameError, match="Unknown quirks 'on'"):
        ClusterSimulator("default", quirks="on")


# Where links are shared, messages of a slow NPU also come in another order, which costs a little.
@pytest.mark.parametrize(("fidelity", "most"), [("congestion-free", 1.2), ("standard", 1.21)])
@pytest.mark.parametrize("changes", [{"inflight": 4}, {"intra": "SmallestFirst", "exchanges": 4}])
def test_straggler_with_experts_ends_in_no_deadlock_without_quirks(
    tmp_path: Path, changes: dict[str, Any], fidelity: str, most: float
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "npu: h100-80g\n"
        "dimensions:\n"
        "  - {topology: Switch, npus: 4, gb_per_s: 450, latency_ns: 936, tier: node}\n"
        "  - {topology: Switch, npus: 4, gb_per_s: 50, latency_ns: 2000, tier: pod}\n"
    )
    times = []
    for quirks, straggler in (("", "1.2"), ("off", ""), ("off", "1.2")):
        simulator = ClusterSimulator(
            "parallel", str(path), fidelity=fidelity, straggler=straggler, quirks=quirks
        )
        design = dict(simulator.space.design_at(simulator.space.default_indices))
        indices = simulator.space.indices_of(design | {"role_0": "ep"} | changes)[None, :]
        found = simulator.evaluate_batch(indices, simulator.workload("mixtral-8x7b"))
        times.append((int(found.reason[0]), found.values[0, 0]))

    assert times[0][0] == 1  # a deadlock
    assert times[1][0] == times[2][0] == 0
    assert 1.1 * times[1][1] < times[2][1] < most * times[1][1]


def test_run_with_a_straggler_simulates_all() -> None:
    simulator = ClusterSimulator("table")
    design = simulator.space.design_at(simulator.space.default_indices)
    built = simulator.run(design, simulator.workload("bert-large")).built

    assert run(built).n_simulated == 1
    assert run(built, straggler=1.5).n_simulated == 64
