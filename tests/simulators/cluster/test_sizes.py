"""Clusters of a user's own number of NPUs."""

from math import prod

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.cluster import ClusterSimulator
from archgym.tasks.task import Task


@pytest.mark.parametrize(
    ("space", "npus"),
    [
        ("default", 64),
        ("default", 24),
        ("network", 64),
        ("table", 16),
        ("cosmic-2025", 256),
        ("archgym-astrasim", 64),
    ],
)
def test_every_space_of_networks_takes_a_number_of_npus(space: str, npus: int) -> None:
    task = Task.make("cluster", space=space, npus=str(npus))
    simulator = task.simulator
    assert isinstance(simulator, ClusterSimulator)

    designs = task.space.designs(task.space.sample(20, np.random.default_rng(0)))

    assert {
        prod(d.npus for d in simulator.values_of(design)["dimensions"]) for design in designs
    } == {npus}
    assert simulator.options["npus"] == str(npus)
    again = Task.make(task.id)
    assert (again.id, again.digest) == (task.id, task.digest)
    # Thermal design power counts every NPU: 400 W of an A100, which COSMIC's stand for too.
    watts = {"network": 700.0}.get(space, 400.0)
    names = [spec.name for spec in task.metrics]
    assert task.reference[0, names.index("power_kw")] == pytest.approx(npus * watts / 1000.0)


@pytest.mark.parametrize(
    ("space", "npus", "why"),
    [
        ("default", "1", "from 2 to 65,536"),
        ("parallel", "64", "whose cluster has its own"),
        ("cosmic-2025", "64", "a power of two from 256 to 65,536"),
        ("archgym-astrasim", "24", "a power of two from 8 to 65,536"),
    ],
)
def test_a_number_of_npus_that_a_space_lacks_is_refused(space: str, npus: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        ClusterSimulator(space, npus=npus)
