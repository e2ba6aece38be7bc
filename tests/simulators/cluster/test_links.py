"""Messages share links, and no iteration is shorter than bytes over bandwidth of a link."""

import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import SimulatorError
from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.kernel.engine import simulate
from archgym.simulators.cluster.machine.clusters import NPUS
from archgym.simulators.cluster.machine.design import Built
from archgym.simulators.cluster.machine.parallelism import Parallelism
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.cluster.runs import run
from archgym.simulators.cluster.space import SPACE_NAMES
from archgym.simulators.cluster.workloads import transformer
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from evidence.cluster.astrasim import models_of
from evidence.cluster.entries import graphs_of_entries
from evidence.cluster.published import published_lines
from evidence.cluster.reading import parallelism_of, system_of
from evidence.recorded import read_rows
from experiments.cluster_links import sample

SMALL = transformer(
    "small", 32, hidden=256, blocks=8, heads=8, sequence=128, vocabulary=1000, experts=16
)
# The best design of a search whose messages shared no link: 13.8 s, where bytes need 137 s.
TOO_SHORT = {
    **{"role_0": "dp", "role_1": "tp", "algorithm_0": "direct", "algorithm_1": "direct"},
    **{"splits": 8, "policy": "FIFO", "active_chunks": 8, "inflight": 2, "microbatch": 16},
    **{"sp": "on"},
}


def system(**changes: Any) -> System:
    base: dict[str, Any] = {
        "topology": ("Switch",),
        "npus": (4,),
        # 1 byte a nanosecond, without the quirk of 2^30 bytes.
        "bandwidth": (1.0,),
        "latency": (100.0,),
        "algorithms": dict.fromkeys(COLLECTIVES, ("ring",)),
        "sane": True,
        "inflight": 4,
    }
    return System(**base | changes)


def two_messages(made: System) -> int:
    """Return when two messages of 1,000 bytes from NPU 0 to NPUs 1 and 2 have arrived [ns]."""
    sends = [{"kind": "send", "deps": [], "size": 1000, "tag": tag, "dst": tag} for tag in (1, 2)]
    receives = [
        [{"kind": "recv", "deps": [], "size": 1000, "tag": tag, "src": 0}] for tag in (1, 2)
    ]
    idle = [{"kind": "comp", "deps": [], "ns": 1}]
    graphs = graphs_of_entries(made, [sends, *receives, idle], [0, 1, 2, 3])
    return int(simulate(made, graphs).finish_ns.max())


@pytest.mark.parametrize(
    ("topology", "free", "shared"),
    [
        # Up and down again is 200 ns. The second message waits 1,000 ns for the link up.
        ("Switch", 1200, 2200),
        # Each NPU has a link of its own.
        ("FullyConnected", 1100, 1100),
        # NPU 2 is two links away, the first of which carries both.
        ("Ring", 1200, 2200),
    ],
)
def test_two_messages_at_once_divide_a_link(topology: str, free: int, shared: int) -> None:
    made = system(topology=(topology,))

    assert two_messages(made) == free
    assert two_messages(replace(made, shared=True)) == shared
    assert two_messages(replace(made, shared=True, backend="aware")) == shared


@pytest.mark.parametrize("space", ["network", "table"])
def test_links_of_one_npu_stand_for_those_of_all(space: str) -> None:
    found = sample(space, 12, seed=3)

    error = np.abs(found[:, 0] / found[:, 1] - 1.0)
    assert np.median(error) <= 0.02
    assert np.quantile(error, 0.9) <= 0.05


@pytest.mark.parametrize(
    ("fidelity", "backend"), [("store-and-forward", "aware"), ("congestion-free", "unaware")]
)
def test_recorded_iterations_of_astra_sim_have_a_fidelity(fidelity: str, backend: str) -> None:
    simulator = ClusterSimulator("table", fidelity=fidelity)
    values = simulator.values_of(simulator.space.design_at(simulator.space.default_indices))
    network = {name: values[name] for name in ("backend", "shared") if name in values}
    folder = Path(str(resources.files("evidence.cluster"))) / "data" / "golden"
    models = models_of(folder)
    n_equal = 0
    for row in read_rows(folder / "results" / "training.csv"):
        if row.cells["backend"] != backend or row.cells["status"] != "ok":
            continue
        given = replace(system_of(row.cells), backend="unaware")
        layers = models[row.cells["workload"]].layers
        built = Built(
            replace(given, **network), parallelism_of(row.cells), layers, NPUS["a100-80g"], (), ()
        )
        outcome = run(built, shortcut=False).outcome
        assert int(outcome.finish_ns.max()) == int(row.cells["time_ns"])
        n_equal += 1
    assert n_equal >= 3


@pytest.mark.parametrize("active_chunks", [1, 2, 4])
def test_chunks_of_halving_doubling_share_the_links_between_blocks_of_a_ring(
    active_chunks: int,
) -> None:
    halving = dict.fromkeys(COLLECTIVES, ("halvingDoubling",)) | {"all_to_all": ("direct",)}
    ring = system(
        topology=("Ring",), npus=(16,), algorithms=halving, splits=8, active_chunks=active_chunks
    )
    spread = Parallelism(dp=16, roles=("dp",), microbatches=1, microbatch=2)
    built = Built(replace(ring, shared=True), spread, SMALL.layers, NPUS["a100-80g"], (), (0,))

    usual = run(built).outcome.finish_ns.max()
    linked = replace(built.system, backend="aware")
    every = run(replace(built, system=linked)).outcome.finish_ns.max()

    # With the mean load of links for that of the one between the blocks, it was down to a half.
    assert usual == pytest.approx(every, rel=0.08)


@pytest.mark.parametrize("fidelity", ClusterSimulator.spec.fidelity_names)
@pytest.mark.parametrize("space", SPACE_NAMES)
def test_no_link_carries_more_than_its_bandwidth(space: str, fidelity: str) -> None:
    npus = {"parallel": {}, "cosmic-2025": {}}.get(space, {"npus": "16"})
    if fidelity in ("every-link", "store-and-forward") and not npus:
        pytest.skip("simulating each link of 256 NPUs takes too long")
    simulator = ClusterSimulator(space, fidelity=fidelity, **npus)
    n_designs = 4 if fidelity in ("every-link", "store-and-forward") else 12
    designs = simulator.space.canonical(simulator.space.sample(n_designs, np.random.default_rng(5)))
    workload = simulator.workload_of(SMALL)

    result = simulator.evaluate_batch(designs, workload)

    # A result is a failure if a link carries more, or an NPU computes more than its peak.
    assert result.failures == {}
    assert (result.reason == 0).any()


def test_time_below_bytes_over_bandwidth_is_infeasible_without_congestion() -> None:
    free = ClusterSimulator("parallel", system="h100-512", fidelity="congestion-free")
    usual = ClusterSimulator("parallel", system="h100-512")
    design = dict(free.space.design_at(free.space.default_indices)) | TOO_SHORT
    indices = free.space.canonical(free.space.indices_of(design)[None, :])
    workload = free.workload("gpt3-175b")

    result = free.evaluate_batch(indices, workload)

    assert result.reason[0] > 0
    assert np.isnan(result.values).all()
    with pytest.raises(SimulatorError, match=r"dimension 1 .*: 994 % of it"):
        free.run(design, workload)
    outcome = usual.run(design, workload).outcome
    assert outcome.busiest_ns.max() <= outcome.finish_ns.max()
    assert outcome.finish_ns.max() > 136.7e9


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", ["standard", "short", "congestion-free"])
def test_search_returns_no_design_whose_links_carry_more_than_their_bandwidth(
    fidelity: str, tmp_path: Path
) -> None:
    task = Task.make("cluster", "gpt3-175b", space="parallel", fidelity=fidelity, system="h100-512")

    Study.create(tmp_path / "study", task, "genetic", seed=0, budget=20).run()

    log = read_study(tmp_path / "study")
    feasible = log.records.values[log.records.reason == 0]
    assert len(feasible) >= 5
    column = {spec.name: feasible[:, at] for at, spec in enumerate(log.metrics)}
    # Each NPU sends over one link up to a switch; its GB are 2^30 bytes, as in ASTRA-sim.
    for dim, gb_per_s in enumerate((450.0, 50.0)):
        bytes_ms = 1e3 * column[f"sent_{dim}_gb"] / (gb_per_s * 2**30 / 1e9)
        assert (column["time_ms"] >= bytes_ms * (1.0 - 1e-9)).all()
        assert (column[f"use_{dim}_percent"] <= 100.0 * (1.0 + 1e-9)).all()


@pytest.mark.skipif("ARCHGYM_REFERENCE" not in os.environ, reason="needs ARCHGYM_REFERENCE")
def test_published_figures_stay_near_with_shared_links() -> None:
    folder = Path(os.environ["ARCHGYM_REFERENCE"]) / "cluster"

    free, shared = (published_lines(folder, lambda _: None, on) for on in (False, True))

    assert len(shared) >= 20
    assert all(line.error <= line.tolerance for line in shared)
    change = [abs(b.ours / a.ours - 1.0) for a, b in zip(free, shared, strict=True)]
    assert 0.0 < max(change) <= 0.001
