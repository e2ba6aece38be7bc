"""Designs of earlier studies are good starts on every simulator."""

from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.simulator import simulator_names
from archgym.studies.portfolio import earlier_designs
from archgym.studies.study import Study
from archgym.tasks.task import Task

pytestmark = pytest.mark.usefixtures("quick_simulators")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in simulator_names() if "+" not in name])
def test_earlier_designs_are_different_designs_of_the_space(name: str, tmp_path: Path) -> None:
    workloads = Task.make(name).simulator.workload_names()
    *earlier, new = (Task.make(name, workload=each) for each in workloads[:3])
    for number, task in enumerate(earlier):
        Study.create(tmp_path / str(number), task, "random", seed=number, budget=4).run()

    found = earlier_designs(new, tmp_path, 2)

    if not any(task.space.digest == new.space.digest for task in earlier):
        # Workloads of soc have spaces of their own.
        assert found == ()
        return
    indices = np.array([new.space.indices_of(design) for design in found])
    assert 2 <= len(indices) <= 3
    assert len(np.unique(new.space.canonical(indices), axis=0)) == len(indices)
    assert new.space.feasible(indices).all()
    assert indices[-1].tolist() == new.space.default_indices.tolist()
    assert earlier_designs(new, tmp_path, 2) == found
