"""A dataset of the toy simulator, made without studies."""

from pathlib import Path

import numpy as np

from archgym.datasets.dataset import Dataset
from archgym.evaluation.specification import Declaration, WorkloadFacts
from tests.toys import ToySimulator


def toy_dataset(n: int = 240, seed: int = 0, facts: bool = False) -> Dataset:
    """`n` random designs, each on both workloads, by two agents in turn."""
    simulator = ToySimulator()
    space = simulator.space
    indices = space.canonical(space.sample(n, np.random.default_rng(seed)))
    names = simulator.workload_names()
    results = [simulator.evaluate_batch(indices, simulator.workload(name)) for name in names]
    declaration = Declaration.of(
        simulator, "toy", {name: simulator.workload(name) for name in names}
    )
    if facts:
        workloads = tuple(
            WorkloadFacts(w.name, w.digest, {"load": (load, "1"), "kind": ("text", "")})
            for w, load in zip(declaration.workloads, (1.0, 3.0), strict=True)
        )
        declaration = Declaration(**{**vars(declaration), "workloads": workloads})
    size = n * len(names)
    return Dataset(
        Path("toy"),
        "0" * 64,
        declaration,
        np.tile(indices, (len(names), 1)),
        np.concatenate([result.values for result in results]),
        np.concatenate([result.reason for result in results]) == 0,
        np.repeat(np.arange(len(names)), n),
        np.arange(size) % 2,
        ("random", "genetic"),
        np.arange(size),
    )
