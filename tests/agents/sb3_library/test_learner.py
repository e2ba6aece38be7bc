"""What every agent on Stable-Baselines3 does, and the parts they share."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

import torch

from archgym.agent.agent import Agent, agent_class, make_agent
from archgym.agents._sb3.learner import even_parts
from archgym.agents._sb3.training import learn, make_episodes, no_results
from archgym.errors import BudgetExhausted, InvalidArgumentError, MissingExtraError
from archgym.evaluation.trials import Evaluate, Trials
from archgym.files.policy import Policy
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator, proving_tasks
from tests.agents.recorder import Recorder, search
from tests.agents.small import SMALL
from tests.toys import toy_task

MIXED, MAPPING, TINY = proving_tasks()

EVERY = pytest.mark.parametrize("name", SMALL)
BOTH = [
    *((name, "whole") for name in SMALL),
    *((name, "sequential") for name in SMALL),
]


def trained(name: str, task: Task, budget: int = 40, seed: int = 0, **more: Any) -> Agent:
    agent = make_agent(agent_class(name), task.space, seed, {**SMALL[name], **more})
    with pytest.raises(BudgetExhausted):
        agent.search(Recorder(task, budget), task)
    return agent


_LEARNED: dict[str, Policy] = {}


def learned(name: str, task: Task, **more: Any) -> Policy:
    """The policy of a short search, which is made once."""
    key = f"{name} {task.id} {more}"
    if key not in _LEARNED:
        policy = trained(name, task, **more).policy()
        assert policy is not None
        _LEARNED[key] = policy
    return _LEARNED[key]


# ---- searching


@EVERY
def test_nothing_is_learned_before_a_search(name: str) -> None:
    assert make_agent(agent_class(name), MIXED.space, 0, {}).policy() is None


@EVERY
@pytest.mark.parametrize("task", [MIXED, MAPPING], ids=["mixed", "mapping"])
def test_weights_change_while_it_searches(name: str, task: Task) -> None:
    short, long = (learned(name, task, budget=budget) for budget in (1, 40))

    differ = [not np.array_equal(long.weights[n], w) for n, w in short.weights.items()]

    assert any(differ)


@pytest.mark.parametrize(("name", "formulation"), BOTH)
def test_whole_designs_are_asked_for_as_many_as_there_are_episodes(
    name: str, formulation: str
) -> None:
    # All parameters of this space mean something in every design, so that episodes end together.
    found = search(agent_class(name), MAPPING, 30, **SMALL[name], formulation=formulation)

    assert {len(ask) for ask in found.asks} == {4}


@EVERY
def test_study_of_a_small_space_ends_at_its_limit_of_asks(name: str, tmp_path: Path) -> None:
    study = Study.create(
        tmp_path / "s", TINY, name, budget=50, max_asks=60, hyperparameters=SMALL[name]
    )

    result = study.run()

    assert (result.ended, result.asks) == ("max_asks", 60)
    assert Policy.load(tmp_path / "s" / "policy.npz").agent == name


@pytest.mark.slow
@EVERY
def test_study_in_three_parts_is_one_study_and_learns_the_same(name: str, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, budget in ((whole, 60), (parts, 17)):
        Study.create(folder, MIXED, name, seed=5, budget=budget, hyperparameters=SMALL[name]).run()

    for budget in (41, 60):
        Study.open(parts, MIXED).run(budget=budget)

    for file in ("journal.jsonl", "policy.npz"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes()


@EVERY
def test_what_a_simulator_draws_changes_no_ask(name: str) -> None:
    def drawing(recorder: Recorder) -> Evaluate:
        def evaluate(indices: np.ndarray) -> Trials:
            np.random.rand(7)  # noqa: NPY002
            torch.rand(3)
            return recorder(indices)

        return evaluate

    quiet, loud = Recorder(MIXED, 40), Recorder(MIXED, 40)
    for recorder, evaluate in ((quiet, quiet), (loud, drawing(loud))):
        agent = make_agent(agent_class(name), MIXED.space, 1, SMALL[name])
        with pytest.raises(BudgetExhausted):
            agent.search(evaluate, MIXED)
        assert recorder.asks

    assert np.array_equal(quiet.designs, loud.designs)


@EVERY
def test_any_error_of_evaluation_passes_through(name: str) -> None:
    def broken(indices: np.ndarray) -> Trials:
        raise ZeroDivisionError

    agent = make_agent(agent_class(name), MIXED.space, 0, SMALL[name])

    with pytest.raises(ZeroDivisionError):
        agent.search(broken, MIXED)


@pytest.mark.slow
def test_first_search_of_a_process_is_like_every_other() -> None:
    # The library draws when it is imported, which the first search does.
    code = (
        "import random, sys, numpy as np\n"
        "from archgym.testing import proving_tasks\n"
        "from archgym.agent.agent import agent_class\n"
        "from tests.agents.recorder import search\n"
        "from tests.agents.small import SMALL\n"
        "assert 'stable_baselines3' not in sys.modules\n"
        "random.seed(1); before = random.getstate()\n"
        "task = proving_tasks()[0]\n"
        "runs = [search(agent_class('ppo'), task, 40, **SMALL['ppo']).designs for _ in '12']\n"
        "print(np.array_equal(*runs), random.getstate() == before)\n"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout == "True True\n"


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("ppo", {"n_envs": 3, "rollout": 10, "minibatches": 8}),
        ("ppo", {"n_envs": 1, "rollout": 2, "minibatches": 16, "formulation": "whole"}),
        ("maskable_ppo", {"n_envs": 5, "rollout": 7, "minibatches": 3}),
        ("a2c", {"n_envs": 1, "rollout": 2}),
    ],
)
def test_odd_numbers_go_together_without_a_warning(name: str, odd: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(agent_class(name), MIXED, 30, **{**SMALL[name], **odd})

    assert len(found.rewards) >= 30


@pytest.mark.parametrize(
    ("n_steps", "n_parts", "size"),
    [(64, 4, 16), (30, 4, 10), (2, 16, 2), (3, 2, 3), (7, 5, 7), (12, 5, 3), (64, 1, 64)],
)
def test_steps_are_divided_evenly(n_steps: int, n_parts: int, size: int) -> None:
    assert even_parts(n_steps, n_parts) == size


@EVERY
def test_hyperparameter_that_cannot_be_is_refused(name: str) -> None:
    kind = agent_class(name)
    for parameter in kind.hyperparameters:
        for wrong in (-26, float("nan"), "many", None, True):
            with pytest.raises(InvalidArgumentError, match=f"`{parameter.name}`"):
                make_agent(kind, MIXED.space, 0, {parameter.name: wrong})


@pytest.mark.parametrize("package", ["stable_baselines3", "sb3_contrib"])
def test_absent_library_is_named_with_its_extra(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=r"archgym\[rl\]"):
        make_agent(agent_class("maskable_ppo"), MIXED.space, 0, {})


# ---- numbers that are not finite


@EVERY
def test_update_that_ends_in_no_numbers_is_undone(name: str) -> None:
    agent = make_agent(agent_class(name), MIXED.space, 0, SMALL[name])
    make: Callable[..., Any] = agent._make  # type: ignore[attr-defined]
    task = MIXED
    recorder = Recorder(task, 60)
    env = make_episodes(task, 4, "sequential", -2.0, recorder, 0)
    algorithm = make(env, env.longest_episode)
    updates: list[bool] = []
    train = algorithm.train

    def poisoned(*arguments: Any, **keywords: Any) -> None:
        train(*arguments, **keywords)
        updates.append(True)
        with torch.no_grad():
            next(algorithm.policy.parameters()).fill_(float("nan"))

    algorithm.train = poisoned
    with pytest.raises(BudgetExhausted):
        learn(algorithm)

    assert len(updates) >= 2
    assert all(bool(torch.isfinite(weight).all()) for weight in algorithm.policy.parameters())


def test_fault_of_an_update_that_has_another_cause_is_raised() -> None:
    agent: Any = make_agent(agent_class("ppo"), MIXED.space, 0, SMALL["ppo"])
    env = make_episodes(MIXED, 4, "whole", -2.0, no_results(MIXED), 0)
    algorithm = agent._make(env, 1)

    def broken() -> None:
        raise ValueError("another cause")

    algorithm.train = broken

    with pytest.raises(ValueError, match="another cause"):
        learn(algorithm)


@pytest.mark.slow
@EVERY
def test_learning_fast_from_hostile_rewards_is_survived(name: str) -> None:
    rng = np.random.default_rng(0)
    known = Recorder(MIXED, 10**9)

    def evaluate(indices: np.ndarray) -> Trials:
        if sum(map(len, known.asks)) > 100:
            raise BudgetExhausted("done")
        return replace(known(indices), reward=rng.choice([-25.0, -20.0, 20.0], len(indices)))

    fast = {**SMALL[name], "learning_rate": 1.0, "floor": -25.0}
    agent = make_agent(agent_class(name), MIXED.space, 0, fast)

    with pytest.raises(BudgetExhausted):
        agent.search(evaluate, MIXED)


# ---- what is learned from


def test_rewards_below_the_floor_count_as_the_floor() -> None:
    env = make_episodes(MIXED, 64, "whole", -1.5, Recorder(MIXED, 10**9), 0)
    env.reset()

    actions = np.array([env.action_space.sample() for _ in range(64)])
    _, rewards, ended, infos = env.step(actions)
    seen = np.array([info["episode"]["r"] for info in infos])

    assert ended.all()
    assert (seen == -25.0).any()
    assert np.array_equal(rewards, np.maximum(seen, -1.5).astype(np.float32))


def test_library_writes_no_files() -> None:
    agent = trained("ppo", MIXED)

    assert agent._algorithm.logger.get_dir() is None  # type: ignore[attr-defined]


# ---- policies


@pytest.mark.parametrize("name", ["ppo"])
def test_policy_says_how_often_it_was_updated(name: str) -> None:
    before, after = learned(name, MIXED, budget=3), learned(name, MIXED)

    assert before.description["updates"] == 0
    assert after.description["updates"] > 0


@pytest.mark.parametrize(("name", "formulation"), BOTH)
def test_policy_proposes_designs_of_the_space(name: str, formulation: str, tmp_path: Path) -> None:
    kind = agent_class(name)
    learned(name, MIXED, formulation=formulation).save(tmp_path / "p.npz")
    policy = Policy.load(tmp_path / "p.npz")

    designs = kind.propose(policy, MIXED, 12, 1)
    again = kind.propose(policy, MIXED, 12, 1)
    other = kind.propose(policy, MIXED, 12, 2)
    one = kind.propose(policy, MIXED, 1, 3)

    MIXED.space.check_indices(designs)
    assert designs.shape == (12, MIXED.space.n_parameters)
    assert np.array_equal(designs, again)
    assert np.array_equal(designs[:1], other[:1])
    assert np.array_equal(designs[:1], one)
    assert not np.array_equal(designs[1:], other[1:])


def test_masked_policy_keeps_the_constraints() -> None:
    policy = learned("maskable_ppo", MIXED)

    designs = agent_class("maskable_ppo").propose(policy, MIXED, 200, 0)

    assert MIXED.space.feasible(designs).all()


def test_policy_is_used_on_another_workload() -> None:
    near = Task.make(ProvingSimulator("mapping"), "near")
    far = Task.make(ProvingSimulator("mapping"), "far")
    policy = learned("ppo", near)

    designs = [agent_class("ppo").propose(policy, task, 9, 0) for task in (near, far)]

    first, second = designs
    assert np.array_equal(first, second)


@EVERY
def test_policy_is_plain_data(name: str) -> None:
    policy = learned(name, MIXED)
    described = json.loads(json.dumps(dict(policy.description)))

    assert set(policy.hyperparameters) == {p.name for p in agent_class(name).hyperparameters}
    assert described["choices"] == list(MIXED.space.names)
    assert all(isinstance(weight, np.ndarray) for weight in policy.weights.values())
    assert not any("target" in weight for weight in policy.weights)


def test_policy_of_another_agent_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must be one of agent 'a2c'; got one of 'ppo'"):
        agent_class("a2c").propose(learned("ppo", MIXED), MIXED, 1, 0)


def test_policy_of_another_space_is_refused() -> None:
    with pytest.raises(
        InvalidArgumentError, match="`choices` is another: number 3 is 'width' there"
    ):
        agent_class("ppo").propose(learned("ppo", MIXED), toy_task(), 1, 0)


def test_policy_of_a_space_with_other_sizes_is_refused() -> None:
    policy = learned("ppo", TINY, budget=3)
    sizes = {**policy.description, "sizes": [2, 3]}

    with pytest.raises(InvalidArgumentError, match="`sizes` is another: number 1 is 3 there, 4"):
        agent_class("ppo").propose(replace(policy, description=sizes), TINY, 1, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("action_net.bias"), "missing are .'action_net.bias'."),
        (lambda w: w.update(more=np.zeros(1)), "'more'"),
        (lambda w: w.update({"action_net.bias": np.zeros(3)}), "shape"),
        (lambda w: w.update({"action_net.bias": w["action_net.bias"] * np.nan}), "finite"),
        (
            lambda w: w.update(
                {"action_net.bias": np.full_like(w["action_net.bias"], 1e300, "f8")}
            ),
            "finite",
        ),
        (lambda w: w.update({"action_net.bias": w["action_net.bias"].astype(int)}), "numbers of"),
    ],
    ids=["missing", "more", "shape", "nan", "large", "whole"],
)
def test_policy_with_wrong_weights_is_refused(change: Callable[[Any], Any], words: str) -> None:
    policy = learned("ppo", TINY, budget=3)
    weights = dict(policy.weights)
    change(weights)

    with pytest.raises(InvalidArgumentError, match=words):
        agent_class("ppo").propose(replace(policy, weights=weights), TINY, 1, 0)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "g"])
def test_weights_of_other_machines_are_read(dtype: str) -> None:
    policy = learned("ppo", TINY, budget=3)
    weights = {name: weight.astype(dtype) for name, weight in policy.weights.items()}

    designs = agent_class("ppo").propose(replace(policy, weights=weights), TINY, 5, 0)

    assert np.array_equal(designs, agent_class("ppo").propose(policy, TINY, 5, 0))


@pytest.mark.parametrize(
    "hyperparameters", [{"width": 2**40}, {"width": "8"}, {"wide": 8}, {"n_envs": [1]}], ids=str
)
def test_policy_with_wrong_hyperparameters_is_refused(hyperparameters: dict[str, Any]) -> None:
    policy = replace(learned("ppo", TINY, budget=3), hyperparameters=hyperparameters)

    with pytest.raises(InvalidArgumentError, match="hyperparameters of agent 'ppo'"):
        agent_class("ppo").propose(policy, TINY, 1, 0)


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_number_of_designs_that_cannot_be_is_refused(n: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`n`"):
        agent_class("ppo").propose(learned("ppo", TINY, budget=3), TINY, n, 0)
