import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("torch")
pytest.importorskip("pettingzoo")

from archgym.agent.agent import make_agent
from archgym.agents.multi_agent_ppo import MultiAgentPpoAgent
from archgym.envs import evaluator
from archgym.errors import BudgetExhausted, InvalidArgumentError
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.evaluation.trials import Trials
from archgym.files.policy import Policy
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import check_agent
from archgym.testing.proving import ProvingSimulator, proving_tasks

MIXED, MAPPING, TINY = proving_tasks()
SMOOTH = Task.make(ProvingSimulator("mixed", has_failures=False), "near")
# Several updates within few designs.
SHORT = {"rollout": 16, "epochs": 4, "learning_rate": 5e-3}
KINDS = [
    {"policies": "independent", "critic": "own", "observes": "all"},
    {"policies": "independent", "critic": "central", "observes": "own"},
    {"policies": "shared", "critic": "own", "observes": "own"},
    {"policies": "shared", "critic": "central", "observes": "all", "groups": "subsystem"},
]
IDS = ["own", "central", "shared", "shared-central"]


def trained(tmp_path: Path, task: Task, **hyperparameters: Any) -> Policy:
    folder = tmp_path / "study"
    study = Study.create(
        folder, task, MultiAgentPpoAgent, budget=100, hyperparameters={**SHORT, **hyperparameters}
    )
    study.run()
    return Policy.load(folder / "policy.npz")


def asked(task: Task, n: int, **hyperparameters: Any) -> np.ndarray:
    """The first n designs that it asks for, repeats included."""
    asks: list[np.ndarray] = []
    evaluate = evaluator(task)

    def end_after_n(designs: np.ndarray) -> Trials:
        asks.append(designs)
        if sum(map(len, asks)) >= n:
            raise BudgetExhausted("It has asked for so many.")
        return evaluate(designs)

    agent = make_agent(MultiAgentPpoAgent, task.space, 2, hyperparameters)
    with pytest.raises(BudgetExhausted):
        agent.search(end_after_n, task)
    return np.concatenate(asks)[:n]


@pytest.mark.parametrize(
    ("name", "value"),
    [("groups", "all"), ("critic", "x"), ("width", 0)],
)
def test_hyperparameters_that_cannot_be_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"`{name}` must be"):
        make_agent(MultiAgentPpoAgent, MIXED.space, 0, {name: value})


@pytest.mark.nightly
@pytest.mark.parametrize(("kind", "tasks"), [(KINDS[1], [MIXED]), (KINDS[2], [MAPPING, TINY])])
def test_it_conforms_while_it_learns(kind: dict[str, str], tasks: list[Task]) -> None:
    # Other than by default, updates come between few designs.
    check_agent(
        MultiAgentPpoAgent,
        tasks=tasks,
        n_designs=30,
        hyperparameters={"rollout": 6, "minibatches": 2, "epochs": 2, "width": 16, **kind},
    )


@pytest.mark.nightly
def test_studies_that_stop_and_go_on_are_the_same_as_those_that_do_not(tmp_path: Path) -> None:
    def made(name: str, budget: int, kind: dict[str, str]) -> Path:
        folder = tmp_path / name
        study = Study.create(
            folder,
            MIXED,
            MultiAgentPpoAgent,
            seed=3,
            budget=budget,
            hyperparameters={**SHORT, **kind},
        )
        study.run()
        return folder

    pairs = [
        (made(f"{name}-whole", 90, kind), made(f"{name}-parts", 41, kind))
        for name, kind in zip(IDS, KINDS, strict=True)
    ]
    # As by another process, which has imported and drawn other things before.
    code = "import sys; from archgym.studies.study import Study; from archgym.testing import *\n"
    code += "task = proving_tasks()[0]\n"
    code += "for folder in sys.argv[1:]: Study.open(folder, task).run(budget=90)"
    parts = [str(part) for _, part in pairs]
    subprocess.run([sys.executable, "-c", code, *parts], check=True)

    for whole, part in pairs:
        for name in ("journal.jsonl", "policy.npz"):
            assert (whole / name).read_bytes() == (part / name).read_bytes(), part.name


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_it_learns_and_does_not_start_ray(kind: dict[str, str]) -> None:
    import ray

    designs = asked(SMOOTH, 320, **SHORT, **kind)

    # One in seven cannot be built, whatever an agent does alone. Of the others, nearly all late
    # asks are in the better half of random ones.
    drawn = SMOOTH.space.sample(1000, np.random.default_rng(0))
    typical, late = (SMOOTH.evaluate(some).reward for some in (drawn, designs[-64:]))
    half = np.median(typical[typical > INFEASIBLE_REWARD])
    assert np.mean(late[late > INFEASIBLE_REWARD] > half) > 0.85
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_first_asks_reach_every_value_of_every_parameter_equally(kind: dict[str, str]) -> None:
    for task in (MIXED, MAPPING):
        designs = asked(task, 4000, rollout=4000, **kind)
        for column, size in zip(designs.T, task.space.sizes, strict=True):
            shares = np.bincount(column, minlength=int(size)) / 4000
            deviation = np.sqrt(1 / size * (1 - 1 / size) / 4000)
            # Some 250 shares are looked at; beyond so many deviations one lies once in 500 times.
            assert np.abs(shares - 1 / size).max() <= 4.5 * deviation


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_policy_makes_the_designs_that_it_learned(tmp_path: Path, kind: dict[str, str]) -> None:
    policy = trained(tmp_path, SMOOTH, **kind)
    elsewhere = Task.make(ProvingSimulator("mixed", has_failures=False), "far")

    designs = MultiAgentPpoAgent.propose(policy, SMOOTH, 50, seed=1)
    again = MultiAgentPpoAgent.propose(policy, elsewhere, 50, seed=1)
    others = MultiAgentPpoAgent.propose(policy, SMOOTH, 50, seed=2)

    assert designs.shape == (50, 7)
    assert (designs == again).all()
    assert (designs[0] == others[0]).all()
    assert (designs != others).any()
    drawn = SMOOTH.space.sample(500, np.random.default_rng(0))
    best, typical = SMOOTH.evaluate(designs[:1]).reward[0], SMOOTH.evaluate(drawn).reward
    assert best > np.median(typical)


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["parameter", "subsystem"])
def test_only_design_of_a_space_is_evaluated_and_nothing_else(groups: str) -> None:
    space = DesignSpace("one", [Integer(name="banks", low=3, high=3)])
    task: Any = SimpleNamespace(space=space)
    asked: list[np.ndarray] = []
    evaluate: Any = asked.append

    MultiAgentPpoAgent(space, seed=0, groups=groups).search(evaluate, task)

    assert [designs.tolist() for designs in asked] == [[[0]]]


def test_policy_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    policy = trained(tmp_path, SMOOTH)
    weights = dict(policy.weights)
    name = next(iter(weights))

    def having(changed: dict[str, np.ndarray]) -> Policy:
        return Policy(policy.agent, policy.hyperparameters, policy.description, changed)

    with pytest.raises(InvalidArgumentError, match=r"`policy` must fit .* its `agents` is another"):
        MultiAgentPpoAgent.propose(policy, MAPPING, 1, seed=0)
    with pytest.raises(InvalidArgumentError, match="one of agent 'multi_agent_ppo'"):
        MultiAgentPpoAgent.propose(Policy("ppo", {}, {}, {}), SMOOTH, 1, seed=0)
    with pytest.raises(InvalidArgumentError, match="must be numbers of shape"):
        MultiAgentPpoAgent.propose(having({**weights, name: np.zeros(3)}), SMOOTH, 1, seed=0)
    less = {n: w for n, w in weights.items() if n != name}
    with pytest.raises(InvalidArgumentError, match=f"missing are \\['{name}'\\]"):
        MultiAgentPpoAgent.propose(having(less), SMOOTH, 1, seed=0)
