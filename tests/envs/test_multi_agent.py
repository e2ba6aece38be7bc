"""The PettingZoo environment, step by step."""

import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from archgym.errors import (
    ArchGymError,
    BudgetExhausted,
    InvalidArgumentError,
    MissingExtraError,
    UnknownNameError,
)
from archgym.evaluation.trials import Evaluate, Trials
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.toys import toy_task

pytest.importorskip("pettingzoo")

from archgym.envs import ParallelDesignEnv, evaluator, parallel

# mode, banks, depth, gain, boost
FAST = {"mode": 2, "banks": 1, "depth": 4, "gain": 3, "boost": 2}
TOO_LARGE = {"mode": 0, "banks": 4, "depth": 7, "gain": 0, "boost": 0}
BY_SUBSYSTEM = {"core": np.array([2, 3, 2]), "memory": np.array([1, 4])}


def _budgeted(task: Task, budget: int) -> Evaluate:
    evaluate = evaluator(task)
    left = [budget]

    def evaluate_within(indices: np.ndarray) -> Trials:
        if not left[0]:
            raise BudgetExhausted("The budget is used up.")
        left[0] -= 1
        return evaluate(indices)

    return evaluate_within


def test_each_agent_chooses_its_parameter() -> None:
    task = toy_task()
    env = parallel(task)
    env.reset()

    _, rewards, terminations, truncations, infos = env.step(FAST)

    indices = np.array([[2, 1, 4, 3, 2]])
    assert rewards == dict.fromkeys(FAST, task.evaluate(indices).reward[0])
    assert terminations == dict.fromkeys(FAST, True)
    assert truncations == dict.fromkeys(FAST, False)
    assert dict(infos["banks"]["design"]) == {
        "mode": "fast",
        "banks": 2,
        "depth": 5,
        "gain": 0.3,
        "boost": 2,
    }
    assert infos["gain"]["metrics"]["entries"] == 10.0
    assert infos["gain"]["units"]["latency_ns"] == "ns"
    assert env.agents == []


def test_subsystems_agents_choose_several_parameters_in_their_order() -> None:
    env = parallel(toy_task(), "subsystem")
    env.reset()

    infos = env.step(BY_SUBSYSTEM)[4]

    assert env.action_space("core") == spaces.MultiDiscrete([3, 11, 4])
    assert env.action_space("memory") == spaces.MultiDiscrete([5, 8])
    assert infos["core"]["indices"].tolist() == [2, 1, 4, 3, 2]


def test_group_of_one_choice_is_discrete() -> None:
    groups = {"drive": ["boost", "mode"], "rest": ["gain", "depth"], "banks": ["banks"]}
    env = parallel(toy_task(), groups)
    env.reset()

    infos = env.step({"drive": [2, 1], "rest": (5, 6), "banks": np.int64(3)})[4]

    assert env.action_space("banks") == spaces.Discrete(5)
    assert infos["rest"]["indices"].tolist() == [1, 3, 6, 5, 2]


def test_permutations_and_factorisations_are_chosen_piece_by_piece() -> None:
    env = parallel(Task.make(ProvingSimulator("mapping")))

    assert env.possible_agents == ["loops", "tiles"]
    # Four items: 4, 3 and 2 picks. 24 = 2^3 x 3 over three parts: 10 and 3 ways.
    assert env.action_space("loops") == spaces.MultiDiscrete([4, 3, 2])
    assert env.action_space("tiles") == spaces.MultiDiscrete([10, 3])


def test_infeasible_design_is_a_result_for_all() -> None:
    env = parallel(toy_task())
    env.reset()

    _, rewards, terminations, _, infos = env.step(TOO_LARGE)

    assert set(rewards.values()) == {-25.0}
    assert all(terminations.values())
    assert infos["mode"]["reason"] == "The buffer is too large."
    assert infos["mode"]["metrics"] == {}


def test_agents_see_all_or_their_own() -> None:
    task = toy_task()
    whole, own = parallel(task, "subsystem"), parallel(task, "subsystem", observes="own")
    results = ("latency_ns", "power_mw", "throughput_gbs", "entries", "feasible")

    modes = ("mode=off", "mode=slow", "mode=fast")
    assert own.observation_names("core") == (*modes, "gain", "boost", *results)
    assert own.observation_names("memory") == ("banks", "depth", *results)
    assert whole.observation_names("core") == whole.observation_names("memory")
    assert len(whole.observation_names("core")) == 7 + len(results)


def test_own_observation_shows_own_choices_and_what_was_measured() -> None:
    env = parallel(toy_task(), "subsystem", observes="own")
    first, _ = env.reset()

    last = env.step(BY_SUBSYSTEM)[0]

    # banks 1 to 16 as -1 to 1, depth 1 to 8 as -1 to 1; no metric differs from the default's yet.
    assert first["memory"].tolist() == [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    assert last["memory"][:2] == pytest.approx([-0.5, 1 / 7])
    assert (last["memory"][2:6] != 0.0).any()
    assert last["core"][:5] == pytest.approx([0.0, 0.0, 1.0, -0.4, 1 / 3])
    assert last["core"][5:].tolist() == last["memory"][2:].tolist()


def test_state_is_the_whole_observation_whatever_agents_see() -> None:
    task = toy_task()
    whole, own = parallel(task, "subsystem"), parallel(task, "subsystem", observes="own")
    whole.reset()
    own.reset()
    seen_by_all = whole.step(BY_SUBSYSTEM)[0]
    seen = own.step(BY_SUBSYSTEM)[0]

    assert own.state().tolist() == whole.state().tolist()
    assert whole.state().tolist() == seen_by_all["core"].tolist()
    assert own.state() in own.state_space
    assert len(seen["memory"]) < len(own.state())


def test_spaces_are_the_same_objects_each_time() -> None:
    env = parallel(toy_task())

    assert env.action_space("mode") is env.action_space("mode")
    assert env.observation_space("mode") is env.observation_space("mode")


def test_masks_have_the_form_that_spaces_sample_with() -> None:
    env = parallel(Task.make(ProvingSimulator("tiny")), {"all": ["mode", "count"]})
    infos = env.reset()[1]

    mask = infos["all"]["action_mask"]

    assert [part.tolist() for part in mask] == [[1, 1], [1, 1, 1, 1]]
    assert env.action_space("all").sample(mask) in env.action_space("all")
    assert parallel(toy_task()).action_mask("mode").tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": 3}, "`mode` must be 0 to 2; got 3"),
        ({"mode": -1}, "`mode` must be 0 to 2; got -1"),
        ({"mode": 1.0}, "'mode' must be whole numbers; got dtype float64"),
        ({"mode": [1]}, "'mode' must have shape \\(\\); got \\(1,\\)"),
        ({"mood": 1}, "must be those of mode, banks, .* got one of 'mood'"),
    ],
)
def test_wrong_actions_are_refused_and_cost_nothing(change: dict[str, Any], message: str) -> None:
    env = parallel(toy_task())
    env.reset()

    with pytest.raises(InvalidArgumentError, match=message):
        env.step(FAST | change)

    assert env.step(FAST)[2]["mode"]


@pytest.mark.parametrize("actions", [None, 5, [0, 1]])
def test_actions_that_are_no_mapping_are_refused(actions: Any) -> None:
    env = parallel(toy_task())
    env.reset()

    with pytest.raises(InvalidArgumentError, match="`actions` must map agents to their actions"):
        env.step(actions)


def test_agents_and_tasks_that_do_not_exist_are_refused() -> None:
    env = parallel(toy_task())
    wrong: Any = 5

    for about in (env.action_space, env.observation_space, env.observation_names, env.action_mask):
        with pytest.raises(UnknownNameError, match="Unknown agent 'zz'"):
            about("zz")
    with pytest.raises(InvalidArgumentError, match="`task` must be a Task"):
        parallel(wrong)


def test_missing_action_is_named() -> None:
    env = parallel(toy_task())
    env.reset()

    with pytest.raises(InvalidArgumentError, match="'gain' has none"):
        env.step({agent: action for agent, action in FAST.items() if agent != "gain"})


def test_step_outside_an_episode_is_refused() -> None:
    env = parallel(toy_task())
    with pytest.raises(ArchGymError, match="must be reset"):
        env.step(FAST)
    env.reset()
    env.step(FAST)

    with pytest.raises(ArchGymError, match="must be reset"):
        env.step(FAST)


def test_exhausted_budget_passes_through() -> None:
    task = toy_task()
    env = parallel(task, evaluate=_budgeted(task, 1))
    env.reset()
    env.step(FAST)
    env.reset()

    with pytest.raises(BudgetExhausted):
        env.step(FAST)


def test_exhausted_budget_truncates_where_that_is_asked() -> None:
    task = toy_task()
    env = parallel(task, evaluate=_budgeted(task, 1), truncate_at_end=True)
    env.reset()
    assert env.step(FAST)[2] == dict.fromkeys(FAST, True)
    assert not env.is_over

    for _ in range(3):
        first, _ = env.reset()
        observations, rewards, terminations, truncations, infos = env.step(FAST)

        assert rewards == dict.fromkeys(FAST, 0.0)
        assert terminations == dict.fromkeys(FAST, False)
        assert truncations == dict.fromkeys(FAST, True)
        assert list(infos.values()) == [{"is_over": True}] * 5
        assert observations["mode"].tolist() == first["mode"].tolist()
        assert env.agents == []
        assert env.is_over


def test_other_errors_pass_also_where_the_end_truncates() -> None:
    def broken(indices: np.ndarray) -> Trials:
        raise RuntimeError("no more")

    env = parallel(toy_task(), evaluate=broken, truncate_at_end=True)
    env.reset()

    with pytest.raises(RuntimeError, match="no more"):
        env.step(FAST)


def test_log_journals_every_step(tmp_path: Path) -> None:
    env = parallel(toy_task(), "subsystem", log=tmp_path / "log")
    for _ in range(2):
        env.reset()
        env.step(BY_SUBSYSTEM)
    env.close()
    env.close()

    study = read_study(tmp_path / "log")

    assert (study.asks, study.evaluations) == (2, 1)


def test_environment_spends_a_studys_budget(tmp_path: Path) -> None:
    task = toy_task()
    with Study.create(tmp_path / "log", task, None, budget=2) as study:
        env = parallel(task, evaluate=study.evaluate, truncate_at_end=True)
        ends = []
        for gain in range(4):
            env.reset()
            ends.append(env.step(FAST | {"gain": gain})[3]["mode"])

    assert ends == [False, False, True, True]
    assert read_study(tmp_path / "log").evaluations == 2


def test_environment_can_be_pickled() -> None:
    env = parallel(toy_task())
    env.reset()

    copy = pickle.loads(pickle.dumps(env))

    assert copy.step(FAST)[1] == env.step(FAST)[1]


def test_render_says_the_last_design() -> None:
    env = parallel(toy_task(), render_mode="ansi")
    env.reset()
    before = env.render()
    env.step(FAST)
    after = env.render()

    assert before == "No design yet.\n"
    assert after is not None
    assert "mode = fast" in after
    assert parallel(toy_task()).render() is None


def test_names_and_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'own'"):
        parallel(toy_task(), observes="owned")
    with pytest.raises(InvalidArgumentError, match="`render_mode` must be"):
        parallel(toy_task(), render_mode="human")
    with pytest.raises(InvalidArgumentError, match="part of the task"):
        parallel(toy_task(), workload="light")
    with pytest.raises(InvalidArgumentError, match="is in none"):
        parallel("dram", {"a": ["scheduler"]}, workload="stream")


def test_environment_is_made_from_an_id_with_choices() -> None:
    env = parallel("archgym/Dram-v1", "subsystem", space="archgym-2023", workload="stream")

    assert isinstance(env, ParallelDesignEnv)
    assert str(env) == "archgym/Dram-v1"
    assert env.possible_agents == ["page-and-scheduling", "queues", "refresh", "interconnect"]


def _rllib_runner(env: ParallelDesignEnv) -> Any:
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.tune.registry import register_env

    wrap: Any = ParallelPettingZooEnv
    register_env("archgym-test", lambda _: wrap(env))
    # RLlib's own check would take a step, which costs an evaluation.
    make_config: Any = PPOConfig
    config = (
        make_config()
        .environment("archgym-test", disable_env_checking=True)
        .env_runners(num_env_runners=0, batch_mode="complete_episodes")
        .multi_agent(
            policies=set(env.possible_agents), policy_mapping_fn=lambda agent, *_, **__: agent
        )
    )
    return MultiAgentEnvRunner(config=config, worker_index=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Overriding environment")
@pytest.mark.parametrize(
    ("task", "groups"),
    [
        ("dram", "parameter"),
        ("dram", "subsystem"),
        (Task.make(ProvingSimulator("mapping")), {"a": ["loops", "tiles"], "b": ["fixed"]}),
    ],
    ids=["parameter", "subsystem", "one-value"],
)
@pytest.mark.parametrize("observes", ["all", "own"])
def test_rllib_samples_episodes_of_it(task: Task | str, groups: Any, observes: str) -> None:
    pytest.importorskip("ray.rllib")
    env = parallel(task, groups, observes=observes)
    runner = _rllib_runner(env)

    for random_actions in (True, False):
        episodes = runner.sample(num_episodes=6, random_actions=random_actions)

        assert len(episodes) == 6
        for episode in episodes:
            assert episode.is_terminated
            assert set(episode.agent_episodes) == set(env.possible_agents)
            for agent_episode in episode.agent_episodes.values():
                info = agent_episode.infos[-1]
                assert agent_episode.get_rewards().tolist() == [info["reward"]]
    runner.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Overriding environment")
def test_rllib_sees_truncated_episodes_once_the_budget_is_used_up() -> None:
    pytest.importorskip("ray.rllib")
    task = toy_task()
    runner = _rllib_runner(parallel(task, evaluate=_budgeted(task, 3), truncate_at_end=True))

    episodes = runner.sample(num_episodes=5, random_actions=True)

    assert [episode.is_truncated for episode in episodes] == [False] * 3 + [True] * 2
    runner.stop()


def test_missing_pettingzoo_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    monkeypatch.delitem(sys.modules, "archgym.envs.multi_agent")

    with pytest.raises(MissingExtraError, match=r"archgym\[marl\]"):
        importlib.import_module("archgym.envs.multi_agent")
