"""Teams of the study of learned policies, and its widest space."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
SIZES = np.array([3, 3, 2])
GROUPS = [[0, 2], [1]]


@pytest.fixture(scope="module", autouse=True)
def path() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "experiments"))
    yield
    sys.path.remove(str(ROOT / "experiments"))


def rewards(places: np.ndarray, designs: np.ndarray) -> np.ndarray:
    """On workload 0 the first value of each parameter is best, on workload 1 the last."""
    best = np.where(places[:, None] == 0, 0, SIZES - 1)
    return np.asarray((designs == best).mean(axis=1))


@pytest.mark.parametrize("is_central", [False, True])
def test_team_learns_the_best_design_of_each_workload(is_central: bool) -> None:
    team_module: Any = import_module("learned_team")
    settings = team_module.TeamSettings(
        total=6000, rollout=300, minibatch=100, width=16, entropy=0.01, is_central=is_central
    )

    features = np.array([[-1.0], [1.0]])
    team = team_module.trained_team(features, SIZES, GROUPS, rewards, 0, settings)

    modes = [[int(log.argmax()) for log in team.parameter_logs(row)] for row in features]
    assert modes == [[0, 0, 0], [2, 2, 1]]


def test_central_critic_sees_the_choices_of_the_others_only() -> None:
    torch = pytest.importorskip("torch")
    team_module: Any = import_module("learned_team")
    team = team_module.Team(1, SIZES, GROUPS, 4)
    settings = team_module.TeamSettings(is_central=True)

    views = [
        team_module._view(team, agent, torch.zeros(1, 1), torch.tensor([[2, 1, 0]]), settings)
        for agent in (0, 1)
    ]

    assert views[0].tolist() == [[0, 0, 0, 0, 0, 1, 0, 0, 0]]
    assert views[1].tolist() == [[0, 0, 0, 1, 0, 0, 0, 1, 0]]


def test_workloads_of_systems_share_a_space_and_differ_in_results() -> None:
    systems: Any = import_module("learned_systems")
    simulator = systems.Systems()
    designs = simulator.space.sample(4, np.random.default_rng(0))

    one, other = (
        simulator.evaluate_batch(designs, simulator.workload(name)).values for name in ("0", "70")
    )

    assert simulator.space.n_parameters > 43
    assert np.isfinite(one).all()
    assert not np.isclose(one[:, 0], other[:, 0]).any()
