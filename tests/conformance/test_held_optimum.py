"""Searches with held parameters find the proven optimum, on every simulator and by three agents.

Each space is held so far that a table of all its designs is small. The table proves the optimum;
`grid` must find it, and an agent that has seen every design must have it as its best.
"""

from pathlib import Path

import numpy as np
import pytest

from archgym.evaluation.simulator import simulator_names
from archgym.studies.study import Study
from archgym.tables import build_table
from archgym.tasks.task import Task
from tests.conformance.small import declared
from tests.conformance.test_round_trips import own_file

AGENTS = ("auto", "genetic", "hill_climbing")
FREE = declared("FREE")
# chosen: more designs of one space take long.
_MOST = 16


def held_task(name: str, folder: Path) -> Task:
    """Return a small task of a simulator: a few free parameters, the others at their defaults."""
    choices = dict(FREE[name])
    workload = choices.pop("workload", None) or own_file(name, folder)
    values = choices.pop("values")
    whole = Task.make(name, workload, **choices)
    listed = [p for p in whole.space.parameters if p.size > 1]
    if not values:
        values = {p.name: [p.value(i) for i in range(min(3, p.size))] for p in listed[:2]}
    default = whole.space.design_at(whole.space.default_indices)
    fixed = {p.name: default[p.name] for p in whole.space.parameters if p.name not in values}
    return Task.make(name, workload, fixed=fixed, values=values, **choices)


def test_every_simulator_is_searched_here() -> None:
    assert set(FREE) == set(simulator_names())


@pytest.mark.parametrize("name", sorted(FREE))
def test_three_agents_find_the_optimum_that_a_table_proves(name: str, tmp_path: Path) -> None:
    task = held_task(name, tmp_path / "own")
    assert 4 <= task.space.size <= _MOST
    path = tmp_path / "all.parquet"
    build_table(task, path)
    proven = Task.make(
        name,
        [w.source for w in task.workloads],
        task.objective,
        stand_in=path,
    )
    every = np.stack(list(np.ndindex(*task.space.sizes)))
    every = task.space.canonical(every[task.space.feasible(every)])
    best = proven.evaluate(every).reward.max()
    default = task.evaluate(task.space.default_indices[None, :]).reward[0]

    found = {}
    for agent in AGENTS:
        # As many asks as let an agent that repeats itself see every design.
        with Study.create(
            tmp_path / agent, task, agent, seed=1, budget=len(every), max_asks=60 * len(every)
        ) as study:
            outcome = study.run().log.best()
        assert outcome is not None
        found[agent] = outcome.reward
        assert all(
            outcome.design[p.name] == p.value(0) for p in task.space.parameters if p.size == 1
        )

    assert default <= best
    assert found == pytest.approx(dict.fromkeys(AGENTS, best))
