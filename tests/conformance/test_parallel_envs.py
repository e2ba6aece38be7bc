"""Every task passes PettingZoo's tests, however its parameters are divided among agents."""

import inspect
import pickle
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from archgym.envs import DesignEnv
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Simulator, simulator_class, simulator_names
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.conformance.small import declared
from tests.toys import ToySimulator

pytest.importorskip("pettingzoo")

from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils.conversions import parallel_to_aec

from archgym.envs import ParallelDesignEnv, parallel

HEADINGS = ["Design space", "Observation", "Reward", "Episode end", "Workloads", "Source"]
# Not tasks yet, which would simulate, and compile, whenever tests are collected.
# One space for each kind of parameter, and the default space of each simulator.
PROVING: dict[str, Simulator] = {
    "toy": ToySimulator(),
    **{f"proving-{space}": ProvingSimulator(space) for space in ProvingSimulator.spec.space_names},
}
SIMULATORS = {
    **PROVING,
    **{name: make_simulator(simulator_class(name), None, None, {}) for name in simulator_names()},
}
pytestmark = pytest.mark.usefixtures("quick_simulators")


@cache
def _task(name: str) -> Task:
    if name in PROVING:
        return Task.make(PROVING[name])
    return Task.make(name, **declared("QUICK").get(name, {}))


def _divisions(simulator: Simulator) -> dict[str, Any]:
    names = simulator.space.names
    found: dict[str, Any] = {
        "parameter": "parameter",
        "one": {"all": names},
        "each": {name: [name] for name in names},
    }
    if len(names) > 1:
        found["halves"] = {"even": names[::2], "odd": names[1::2]}
    return found | ({"subsystem": "subsystem"} if simulator.spec.groups else {})


# The kinds of division are proven on the proving spaces; a simulator adds its own groups.
CASES = [
    (name, division, observes)
    for name, simulator in SIMULATORS.items()
    for division in _divisions(simulator)
    if name in PROVING or division == ("subsystem" if simulator.spec.groups else "parameter")
    for observes in (("all", "own") if name in PROVING else ("own",))
]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def make_env(request: pytest.FixtureRequest) -> Callable[[], ParallelDesignEnv]:
    name, division, observes = request.param
    task = _task(name)
    return lambda: parallel(task, _divisions(task.simulator)[division], observes=observes)


def test_pettingzoos_tests_find_nothing(
    make_env: Callable[[], ParallelDesignEnv], capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(make_env(), num_cycles=10)
        parallel_seed_test(make_env, num_cycles=10)

    assert "Passed Parallel API test" in capsys.readouterr().out


# It recommends names such as "player_0", equal observations, and Discrete or Box actions.
@pytest.mark.filterwarnings("ignore::UserWarning:pettingzoo")
def test_turn_by_turn_form_passes_as_well(make_env: Callable[[], ParallelDesignEnv]) -> None:
    api_test(parallel_to_aec(make_env()), num_cycles=20)
    seed_test(lambda: parallel_to_aec(make_env()), num_cycles=20)


def test_agents_make_the_design_that_one_agent_would(
    make_env: Callable[[], ParallelDesignEnv],
) -> None:
    env = make_env()
    single = DesignEnv(env.task)
    single.reset()

    for number in range(5):
        env.reset()
        for place, agent in enumerate(env.agents):
            env.action_space(agent).seed(100 * number + place)
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        observations, rewards, terminations, _, infos = env.step(actions)

        single.reset()
        indices = infos[env.possible_agents[0]]["indices"]
        picks = single._episodes.choices.split(indices[None, :])[0]
        seen, reward, *_, info = single.step(picks)
        assert np.array_equal(env.state(), seen)
        for agent in env.possible_agents:
            assert rewards[agent] == reward
            assert terminations[agent]
            assert infos[agent]["design"] == info["design"]
            assert infos[agent]["metrics"] == info["metrics"]
            assert observations[agent] in env.observation_space(agent)
            names = env.observation_names(agent)
            columns = [single.observation_names.index(name) for name in names]
            assert observations[agent].tolist() == seen[columns].tolist()


def test_copies_do_the_same(make_env: Callable[[], ParallelDesignEnv]) -> None:
    env = make_env()
    env.reset()
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}

    copy = pickle.loads(pickle.dumps(env))
    rewards = env.step(actions)[1]

    assert copy.step(actions)[1] == rewards
    assert env.agents == copy.agents == []


def test_docstring_has_the_headings_in_order() -> None:
    doc = inspect.getdoc(ParallelDesignEnv) or ""
    lines = [line.strip().removesuffix(":") for line in doc.splitlines()]

    assert [line for line in lines if line in HEADINGS] == HEADINGS
