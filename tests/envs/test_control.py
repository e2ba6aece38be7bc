"""Environments of control: checkers of Gymnasium and PettingZoo, rewards, seeds."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import archgym  # noqa: F401 - registers the environments
from archgym.control.tasks import best_static, reference, static, task_of
from archgym.envs import ControlEnv
from archgym.errors import InvalidArgumentError, UnknownNameError


@pytest.mark.slow
def test_gymnasiums_checker_accepts_both(recwarn: pytest.WarningsRecorder) -> None:
    for name in ("archgym/DramControl-v0", "archgym/CpuControl-v0"):
        check_env(gymnasium.make(name).unwrapped, skip_render_check=True)

    assert [str(w.message) for w in recwarn if "gymnasium" in str(w.filename)] == []


def test_savings_of_an_episode_add_up_to_its_score() -> None:
    env = ControlEnv("dram-locality")
    env.reset(options={"episode": "held-out-3"})
    total, is_over, info = 0.0, False, {}
    number = 0
    while not is_over:
        _, reward, is_over, _, info = env.step(np.int64(number % 6))
        total += reward
        number += 1

    # Epochs of different policies end at slightly different requests.
    saved = 1.0 - info["score"] / info["static_score"]
    assert total / number == pytest.approx(saved, abs=0.02)


def test_static_action_gets_no_reward() -> None:
    task = task_of("dram-locality")
    for kind in ("saved", "relative"):
        env = ControlEnv(task, reward=kind)
        env.reset(seed=0)

        rewards = [env.step(np.int64(reference(task)))[1] for _ in range(10)]

        assert rewards == [0.0] * 10


def test_reference_is_chosen_on_training_episodes() -> None:
    task = task_of("dram-locality")

    assert reference(task) == best_static(task, task.episodes("train")[:4])
    assert static(task, "train-0", 0) is static(task, "train-0", 0)


def test_seeds_order_the_episodes() -> None:
    names = [ControlEnv("dram-locality").reset(seed=s)[1]["episode"] for s in (1, 1, 2, 3, 4)]

    assert names[0] == names[1]
    assert len(set(names)) > 2


def test_held_out_episodes_are_never_trained_on() -> None:
    task = task_of("dram-locality")
    env = ControlEnv(task)
    seen = {env.reset(seed=s)[1]["episode"] for s in range(40)}

    assert seen <= set(task.episodes("train"))
    assert not seen & (set(task.episodes("held-out")) | set(task.episodes("programs")))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="reward"):
        ControlEnv("dram-locality", reward="raw")
    with pytest.raises(UnknownNameError, match="held-out"):
        ControlEnv("dram-locality", split="held_out")
    with pytest.raises(InvalidArgumentError, match="2 agents"):
        ControlEnv("cpu-cores-2")


@pytest.mark.slow
def test_pettingzoos_checker_accepts_teams() -> None:
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import parallel_api_test

    from archgym.envs import parallel

    env = parallel("archgym/CpuControl-v0", cores=2)
    parallel_api_test(env, num_cycles=40)

    assert env.possible_agents == ["core_0", "core_1"]


@pytest.mark.slow
def test_team_shares_its_reward_and_sees_all_if_asked_to() -> None:
    pytest.importorskip("pettingzoo")
    from archgym.envs import ParallelControlEnv

    env = ParallelControlEnv(cores=2, observes="all", with_price=True)
    env.reset(seed=0)
    infos = {}
    while env.agents:
        seen, rewards, _, _, infos = env.step(dict(zip(env.agents, (8, 0), strict=True)))
        assert rewards["core_0"] == rewards["core_1"]
        assert len(seen["core_0"]) == 2 * len(ControlEnv("cpu-mixture").reset()[0])

    assert infos["core_0"]["score"] == infos["core_1"]["score"]
    assert -100.0 < infos["core_0"]["coordination_percent"] < 100.0
