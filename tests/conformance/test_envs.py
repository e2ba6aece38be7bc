"""Every environment passes the checkers of Gymnasium and Stable-Baselines3 without a warning."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from gymnasium.vector import VectorEnv

from archgym.envs import DesignEnv, DesignVectorEnv, environment_ids
from archgym.evaluation.simulator import simulator_class
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.conformance.small import declared
from tests.toys import ToySimulator

KINDS = [(f, a) for f in ("whole", "sequential") for a in ("multidiscrete", "box")]
HEADINGS = ["Design space", "Observation", "Reward", "Episode end", "Workloads", "Source"]

# Simulators for tests are not found by folder: they are registered here as others would be.
PROVING: dict[str, Callable[[], Task]] = {
    "archgym-test/Toy-v0": lambda: Task.make(ToySimulator()),
    "archgym-test/Mixed-v0": lambda: Task.make(ProvingSimulator("mixed")),
    "archgym-test/Mapping-v0": lambda: Task.make(ProvingSimulator("mapping")),
    "archgym-test/Tiny-v0": lambda: Task.make(ProvingSimulator("tiny")),
}


def _register(env_id: str, make_task: Callable[[], Task]) -> None:
    def make(**kind: Any) -> DesignEnv:
        return DesignEnv(make_task(), **kind)

    def make_vec(num_envs: int, **kind: Any) -> DesignVectorEnv:
        return DesignVectorEnv(make_task(), num_envs, **kind)

    creators: dict[str, Any] = {"entry_point": make, "vector_entry_point": make_vec}
    gymnasium.register(env_id, **creators)


for proving_id, make_proving in PROVING.items():
    _register(proving_id, make_proving)

VARIANTS = [
    (env_id, {"space": space})
    for env_id, name in environment_ids().items()
    for space in simulator_class(name).spec.space_names
] + [(env_id, {}) for env_id in PROVING]
# An environment sees a space through its kinds of parameters alone, all of which the proving
# spaces have. The checkers run on them and on the default space of each simulator.
QUICK = declared("QUICK")
CHECKED = [
    *((env_id, QUICK.get(name, {})) for env_id, name in environment_ids().items()),
    *((env_id, {}) for env_id in PROVING),
]
IDS = ["-".join([env_id, *choices.values()]) for env_id, choices in VARIANTS]

pytestmark = pytest.mark.usefixtures("quick_simulators")
variants = pytest.mark.parametrize(("env_id", "choices"), VARIANTS, ids=IDS)
checked = pytest.mark.parametrize(("env_id", "choices"), CHECKED, ids=[name for name, _ in CHECKED])
kinds = pytest.mark.parametrize(("formulation", "actions"), KINDS)


def _make(env_id: str, **choices: Any) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(env_id, disable_env_checker=True, **choices).unwrapped


def _make_vec(env_id: str, num_envs: int, **choices: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec(env_id, num_envs, vectorization_mode="vector_entry_point", **choices)


@checked
@kinds
def test_gymnasiums_checker_finds_nothing(
    env_id: str, choices: dict[str, str], formulation: str, actions: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = _make(env_id, formulation=formulation, actions=actions, **choices)
        check_gymnasium(env)


@checked
@kinds
def test_stable_baselines_checker_finds_nothing(
    env_id: str, choices: dict[str, str], formulation: str, actions: str
) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = _make(env_id, formulation=formulation, actions=actions, **choices)
        checker.check_env(env)


@checked
@kinds
def test_vector_environment_gives_what_the_single_one_gives(
    env_id: str, choices: dict[str, str], formulation: str, actions: str
) -> None:
    kind = {"formulation": formulation, "actions": actions, **choices}
    batch = _make_vec(env_id, 3, **kind)
    single = [_make(env_id, **kind) for _ in range(3)]
    batch.action_space.seed(2)
    batch.reset(seed=0)
    for env in single:
        env.reset(seed=0)

    for _ in range(2):
        actions_taken = batch.action_space.sample()
        seen, reward, terminated, _, info = batch.step(actions_taken)
        for row, env in enumerate(single):
            seen_1, reward_1, terminated_1, _, _ = env.step(actions_taken[row])
            assert (reward[row], terminated[row]) == (reward_1, terminated_1)
            last = info["final_obs"][row] if terminated_1 else seen[row]
            assert np.array_equal(last, seen_1)
            if terminated_1:
                env.reset()


@variants
def test_observations_of_any_design_lie_within_their_bounds(
    env_id: str, choices: dict[str, str]
) -> None:
    env = _make_vec(env_id, 8, **choices)
    env.action_space.seed(0)
    env.reset()

    info = env.step(env.action_space.sample())[4]

    for row, feasible in enumerate(info["final_info"]["feasible"]):
        assert env.single_observation_space.contains(info["final_obs"][row])
        assert (info["final_info"]["reward"][row] == -25.0) == (not feasible)


@pytest.mark.parametrize("kind", [DesignEnv])
def test_docstring_has_the_headings_in_order(kind: type) -> None:
    lines = [line.strip().removesuffix(":") for line in (inspect.getdoc(kind) or "").splitlines()]

    assert [line for line in lines if line in HEADINGS] == HEADINGS
