"""One NPU for each pipeline stage gives the times of the whole cluster."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.simulators.cluster.kernel.engine import simulate
from archgym.simulators.cluster.kernel.iteration import training_graphs
from archgym.simulators.cluster.workloads import load_model, transformer
from evidence.cluster.reading import is_symmetric, simulate_shortcut
from tests.simulators.cluster.random_designs import random_design

DENSE = transformer(
    "small", 64, hidden=256, blocks=8, heads=8, sequence=128, vocabulary=1000, fold=1
)
EXPERTS = transformer(
    "mixture",
    64,
    hidden=256,
    blocks=8,
    heads=8,
    sequence=128,
    vocabulary=1000,
    experts=16,
    top_k=2,
)


@pytest.mark.parametrize("seed", range(75))
def test_shortcut_equals_the_whole_cluster(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = (DENSE if seed % 2 else EXPERTS).layers
    system, parallelism = random_design(rng, 8)
    system = replace(system, sane=seed >= 60)
    assert is_symmetric(system, parallelism)
    graphs = training_graphs(system, layers, parallelism, shortcut=False)

    whole = simulate(system, graphs)
    short = simulate_shortcut(system, layers, parallelism)

    assert short.deadlock == whole.deadlock
    if not whole.deadlock:
        assert short.finish_ns.max() == whole.finish_ns.max()
        assert short.finish_ns.min() == whole.finish_ns.min()
        assert short.compute_ns.max() == whole.compute_ns.max()
        # Each stage has as many NPUs as every other.
        assert short.exposed_ns.mean() == pytest.approx(whole.exposed_ns.mean())
        assert short.bubble_ns.mean() == pytest.approx(whole.bubble_ns.mean())
        share = system.n_npus // parallelism.pp
        assert (short.sent_bytes * share == whole.sent_bytes).all()


def test_trees_congestion_and_groups_have_no_shortcut() -> None:
    system, parallelism = random_design(np.random.default_rng(0), 8)
    trees = {name: ("doubleBinaryTree",) * len(system.npus) for name in system.algorithms}
    assert not is_symmetric(replace(system, backend="aware"), parallelism)
    assert not is_symmetric(system, replace(parallelism, roles=None))
    if all(n & (n - 1) == 0 for n in system.npus):
        assert not is_symmetric(replace(system, algorithms=trees), parallelism)


def test_shipped_models_have_the_layers_of_their_formula() -> None:
    made = transformer(
        "gpt3-175b",
        1536,
        hidden=12288,
        blocks=96,
        heads=96,
        sequence=2048,
        vocabulary=50257,
        fold=6,
    )

    assert (made.layers == load_model("gpt3-175b").layers).all()
    made = transformer(
        "mixtral-8x7b",
        1024,
        hidden=4096,
        blocks=32,
        heads=32,
        kv_heads=8,
        ffn=14336,
        gated=True,
        sequence=4096,
        vocabulary=32000,
        fold=4,
        experts=8,
        top_k=2,
    )
    assert (made.layers == load_model("mixtral-8x7b").layers).all()
