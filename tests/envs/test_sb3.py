"""The Stable-Baselines3 environment, and algorithms that train on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

import gymnasium
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from archgym.envs import DesignEnv, Sb3VecEnv
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.studies.snapshot import read_study
from tests.toys import toy_task


@pytest.mark.parametrize("formulation", ["whole", "sequential"])
@pytest.mark.parametrize("actions", ["multidiscrete", "box"])
def test_batch_equals_the_librarys_own_vector_of_single_environments(
    formulation: str, actions: str
) -> None:
    task = toy_task()
    batch: Any = Sb3VecEnv(task, 5, formulation=formulation, actions=actions)
    single: Any = DummyVecEnv(
        [lambda: DesignEnv(task, formulation=formulation, actions=actions)] * 5
    )
    batch.action_space.seed(4)
    assert np.array_equal(batch.reset(), single.reset())

    for _ in range(30):
        action = np.array([batch.action_space.sample() for _ in range(5)])
        seen, reward, done, infos = batch.step(action)
        seen_1, reward_1, done_1, infos_1 = single.step(action)

        assert np.array_equal(seen, seen_1)
        assert np.array_equal(reward, reward_1)
        assert reward.dtype == reward_1.dtype
        assert np.array_equal(done, done_1)
        for row in np.flatnonzero(done):
            last, last_1 = (i[row]["terminal_observation"] for i in (infos, infos_1))
            assert np.array_equal(last, last_1)
            assert np.array_equal(infos[row]["indices"], infos_1[row]["indices"])


def test_end_of_an_episode_is_recorded_as_a_monitor_does() -> None:
    env = Sb3VecEnv(toy_task(), 1, formulation="sequential")
    env.reset()
    for action in (0, 0, 0, 0):
        _, reward, done, infos = env.step(np.array([action]))

    assert done.tolist() == [True]
    assert infos[0]["episode"] == {"r": pytest.approx(float(reward[0])), "l": 4, "t": 0.0}
    assert infos[0]["TimeLimit.truncated"] is False
    assert env.env_is_wrapped(Monitor) == [True]
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit) == [False]


def test_masks_reach_sb3_contrib() -> None:
    env = Sb3VecEnv(toy_task(), 3, formulation="sequential")
    env.reset()

    assert is_masking_supported(env)
    assert get_action_masks(env).shape == (3, 11)
    assert [mask.sum() for mask in env.env_method("action_masks", indices=[1])] == [3]


def test_box_says_that_it_has_no_masks() -> None:
    assert not is_masking_supported(Sb3VecEnv(toy_task(), 2, actions="box"))


def test_environments_do_not_change() -> None:
    env = Sb3VecEnv(toy_task(), 2)

    with pytest.raises(InvalidArgumentError, match="do not change"):
        env.set_attr("task", None)
    assert env.has_attr("task")
    assert not env.has_attr("tasks")


def test_name_of_an_environment_that_does_not_exist_lists_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="archgym/"):
        Sb3VecEnv("archgym/Drum-v0")


def test_choices_beside_a_task_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`workload` is part of the task"):
        Sb3VecEnv(toy_task(), 2, workload="heavy")


@pytest.mark.slow
def test_log_holds_what_was_trained_on(tmp_path: Path) -> None:
    env = Sb3VecEnv(toy_task(), 4, log=tmp_path / "log")
    PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0).learn(64)
    env.close()

    assert read_study(tmp_path / "log").asks == 64


@pytest.mark.slow
def test_ppo_learns_whole_designs() -> None:
    env = Sb3VecEnv(toy_task(), 16)
    rng = np.random.default_rng(0)
    random = toy_task().evaluate(env.task.space.sample(2000, rng)).reward.mean()

    agent = PPO("MlpPolicy", env, n_steps=16, batch_size=128, gamma=0.0, seed=0, device="cpu")
    agent.learn(8_000)

    assert evaluate_policy(agent, env, n_eval_episodes=32)[0] > random + 0.5


@pytest.mark.slow
def test_maskable_ppo_learns_one_choice_at_a_time() -> None:
    env = Sb3VecEnv(toy_task(), 16, formulation="sequential")
    rng = np.random.default_rng(0)
    random = toy_task().evaluate(env.task.space.sample(2000, rng)).reward.mean()

    agent = MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=128, gamma=1.0, seed=0)
    agent.learn(4_000)
    recent = [episode["r"] for episode in agent.ep_info_buffer or ()]

    assert np.mean(recent) > random + 0.5


@pytest.mark.slow
def test_sac_trains_on_a_box() -> None:
    env = Sb3VecEnv(toy_task(), 4, actions="box")

    SAC("MlpPolicy", env, learning_starts=32, gamma=0.0, seed=0).learn(200)
