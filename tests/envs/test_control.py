"""Environments of control: checkers of Gymnasium and PettingZoo, rewards, seeds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import archgym  # noqa: F401 - registers the environments
from archgym.control.comparison import compare_policies
from archgym.control.policies import policy_of
from archgym.control.tasks import best_static, reference, static, task_names, task_of
from archgym.envs import ControlEnv, parallel
from archgym.envs.registration import control_ids
from archgym.errors import ArchGymError, InvalidArgumentError, UnknownNameError


@pytest.mark.slow
def test_gymnasiums_checker_accepts_all(recwarn: pytest.WarningsRecorder) -> None:
    short = {"cpu": "instructions=8000", "dram": "requests=4000", "moe": "requests=400"}
    for name, control in control_ids().items():
        assert gymnasium.make(name).unwrapped
        task = f"{control.default}:{short[control.simulator]}"
        env = gymnasium.make(name, task=task).unwrapped
        check_env(env, skip_render_check=True)

    assert [str(w.message) for w in recwarn if "gymnasium" in str(w.filename)] == []


def test_savings_of_an_episode_add_up_to_its_score() -> None:
    env = ControlEnv("dram-locality")
    env.reset(options={"episode": "held-out-3"})
    total, is_over = 0.0, False
    info: dict[str, Any] = {}
    number = 0
    while not is_over:
        _, reward, is_over, _, info = env.step(np.int64(number % 6))
        total += reward
        number += 1

    # Epochs of different policies end at slightly different requests.
    saved = 1.0 - info["score"] / info["static_score"]
    assert total / number == pytest.approx(saved, abs=0.02)


def test_id_takes_tasks_of_its_own_domain_alone() -> None:
    env: Any = gymnasium.make("archgym/DramControl-v0", task="dram-load").unwrapped

    assert env.task.name == "dram-load"
    with pytest.raises(InvalidArgumentError, match=r"must begin with 'dram'.* got 'cpu-mixture'"):
        gymnasium.make("archgym/DramControl-v0", task="cpu-mixture")


def test_static_action_gets_no_reward() -> None:
    task = task_of("dram-locality")
    for kind in ("saved", "relative"):
        env = ControlEnv(task, reward=kind)
        env.reset(seed=0)

        rewards = [env.step(np.int64(reference(task)))[1] for _ in range(10)]

        assert rewards == [0.0] * 10


def test_episode_whose_static_settings_cost_nothing_has_defined_rewards_and_scores() -> None:
    task = task_of("moe-bursts:rate=2,requests=100")
    env = ControlEnv(task)

    # Before: an error that ended a training, by the seed of its reset.
    assert env.reset(seed=56)[1]["episode"] == "train-11"
    assert static(task, "train-11", reference(task)).score == 0.0
    rewards, is_over, info = [], False, {}
    while not is_over:
        _, reward, is_over, _, info = env.step(np.int64(0))
        rewards.append(reward)

    assert info["static_score"] == 0.0
    assert info["score"] > 0.0
    assert np.isfinite(rewards).all()
    assert min(rewards) < 0.0 == max(rewards)
    only = replace(task, splits={**task.splits, "held-out": ("train-11",)})
    policies = [policy_of(name, only) for name in ("best-static", "ducb")]
    rows = compare_policies(only, policies, n_episodes=1, horizons=(1,)).rows
    saved = {row.policy: row.gain_percent.value for row in rows}
    assert saved["best-static"] == saved["look-ahead"] == 0.0
    assert -1e4 < saved["ducb"] < 0.0


def test_task_that_costs_nothing_is_refused_when_it_is_made() -> None:
    with pytest.raises(InvalidArgumentError, match="must have something to save"):
        ControlEnv("moe-bursts:requests=20,ttft_ms=1e6,tpot_ms=1e6")


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


def test_unknown_episode_is_refused() -> None:
    env = ControlEnv("dram-locality")

    with pytest.raises(UnknownNameError, match="held-out-9"):
        env.reset(options={"episode": "held-out-99"})
    with pytest.raises(ArchGymError, match="must be reset"):
        ControlEnv("dram-locality").step(np.int64(0))


def test_option_of_reset_that_does_not_exist_is_refused() -> None:
    # Before: ignored, so that an episode at random began.
    with pytest.raises(
        UnknownNameError, match=r"option 'episodes' of reset\. Did you mean 'episode'"
    ):
        ControlEnv("dram-locality:requests=1000").reset(options={"episodes": "held-out-0"})


def test_stable_baselines_rows_are_those_of_single_environments() -> None:
    sb3 = pytest.importorskip("stable_baselines3.common.vec_env")
    from archgym.envs import Sb3VecEnv

    # Eighty steps pass the end of the first episodes.
    together: Any = Sb3VecEnv("archgym/DramControl-v0", 2, split="held-out")
    apart: Any = sb3.DummyVecEnv([lambda: ControlEnv("dram-locality", split="held-out")] * 2)
    for env in (together, apart):
        env.seed(3)
    # Gymnasium's environments draw from a generator that is seeded alike.
    assert np.array_equal(together.reset(), apart.reset())
    ends = 0
    for number in range(85):
        actions = np.array([number % 6, (number // 7) % 6])
        seen, rewards, over, infos = together.step(actions)
        seen_1, rewards_1, over_1, infos_1 = apart.step(actions)
        assert np.array_equal(seen, seen_1)
        assert np.array_equal(rewards, rewards_1)
        assert np.array_equal(over, over_1)
        for row in np.flatnonzero(over):
            ends += 1
            for name in ("terminal_observation", "score", "static_score"):
                assert np.array_equal(infos[row][name], infos_1[row][name])
            assert infos[row]["episode"]["l"] == number + 1
    assert ends == 2


def test_stable_baselines_takes_names_as_other_environments_do() -> None:
    pytest.importorskip("stable_baselines3")
    from archgym.envs import Sb3VecEnv

    short = "dram-locality:requests=1000"
    for env in (Sb3VecEnv("archgym/DramControl-v0", 2, task=short), Sb3VecEnv(short, 2)):
        assert env.get_attr("task") == [task_of(short)] * 2
    with pytest.raises(InvalidArgumentError, match="must begin with 'dram'"):
        Sb3VecEnv("archgym/DramControl-v0", 2, task="cpu-mixture")
    with pytest.raises(UnknownNameError, match="Did you mean 'dram-locality'"):
        Sb3VecEnv("dram-localityy", 2)


@pytest.mark.parametrize("action", ["x", None, [1, 2]])
def test_action_that_is_no_number_is_refused(action: Any) -> None:
    env = ControlEnv("dram-locality:requests=1000")
    env.reset(seed=0)

    with pytest.raises(InvalidArgumentError, match="An action must be a whole number"):
        env.step(action)


def test_server_is_no_team_and_a_team_has_no_other_arguments() -> None:
    pytest.importorskip("pettingzoo")

    with pytest.raises(InvalidArgumentError, match="must have several agents"):
        parallel("archgym/MoeControl-v0")
    with pytest.raises(UnknownNameError, match="argument 'channels'"):
        parallel("archgym/CpuControl-v0", channels=2)


def test_stable_baselines_takes_a_mask_and_refuses_what_designs_have() -> None:
    pytest.importorskip("stable_baselines3")
    from archgym.envs import Sb3VecEnv

    env = Sb3VecEnv(task_of("dram-load"), 3)

    assert env.action_masks().shape == (3, len(task_of("dram-load").actions))
    assert env.get_attr("task") == [task_of("dram-load")] * 3
    with pytest.raises(InvalidArgumentError, match="`n_envs`"):
        Sb3VecEnv("archgym/DramControl-v0", 0)
    with pytest.raises(InvalidArgumentError, match="`log`"):
        Sb3VecEnv("archgym/DramControl-v0", 2, log="somewhere")


def test_rows_of_stable_baselines_name_what_is_wrong() -> None:
    pytest.importorskip("stable_baselines3")
    from archgym.envs import Sb3VecEnv

    with pytest.raises(UnknownNameError, match="Did you mean 'reward'"):
        Sb3VecEnv("archgym/DramControl-v0", 2, rewards="saved")
    env = Sb3VecEnv("archgym/DramControl-v0", 2)
    with pytest.raises(ArchGymError, match="must be reset before it is used"):
        env.step(np.zeros(2, dtype=int))
    with pytest.raises(ArchGymError, match="must follow `step_async`"):
        env.step_wait()


@pytest.mark.slow
@pytest.mark.parametrize("name", task_names())
def test_every_task_steps_as_rows_of_stable_baselines(name: str) -> None:
    pytest.importorskip("stable_baselines3")
    from archgym.envs import Sb3VecEnv

    size = {"cpu": "instructions=4000", "dram": "requests=4000", "moe": "requests=100"}
    task = task_of(f"{name}:{size[name[: name.index('-')]]}")
    env = Sb3VecEnv(task, 2, split="held-out", team=False)
    env.seed(1)
    first = env.reset()
    n_agents = env.num_envs // 2
    assert n_agents == task.begin(task.episodes("held-out")[0]).n_agents
    assert len(first) == env.num_envs
    assert first.shape[1:] == env.observation_space.shape
    assert not first.any()
    env.step_async(np.arange(env.num_envs) % len(task.actions))
    seen, rewards, over, infos = env.step_wait()

    # The last action stands at the end of what an agent sees.
    chosen = np.argmax(seen[:, -len(task.actions) :], axis=1)
    assert chosen.tolist() == (np.arange(env.num_envs) % len(task.actions)).tolist()
    assert env.observation_space.contains(seen[0])
    assert np.isfinite(rewards).all()
    assert not over.any()
    assert len(infos) == env.num_envs


def test_dataset_of_a_team_is_refused(tmp_path: Path) -> None:
    from archgym.envs import record_minari

    team: Any = parallel("archgym/DramControl-v0", channels=2)
    with pytest.raises(InvalidArgumentError, match="must be one, of one agent; got Parallel"):
        record_minari(team, lambda env, seen: {}, 1, tmp_path, id="archgym/x-v0", algorithm="x")


def test_recorded_episodes_are_a_minari_dataset(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    minari = pytest.importorskip("minari")
    from archgym.control.policies import policy_of
    from archgym.envs import record_minari

    hand = policy_of("hand", task_of("dram-locality"))
    env = gymnasium.make("archgym/DramControl-v0", split="held-out")
    taken: list[int] = []

    def act(inner: Any, seen: np.ndarray) -> int:
        taken.append(hand.act(inner.episode)[0])
        return taken[-1]

    written = record_minari(env, act, 2, tmp_path, id="archgym/hand-v0", algorithm="hand", seed=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
        data = minari.load_dataset("archgym/hand-v0")
        again = data.recover_environment()

    assert (written.episodes, written.steps) == (2, len(taken))
    actions = np.concatenate([episode.actions for episode in data])
    assert actions.tolist() == taken
    # The recovered environment gives the recorded episodes again.
    seen, _ = again.reset(seed=4)
    for number, action in enumerate(data[0].actions):
        assert np.array_equal(seen, data[0].observations[number])
        seen, reward, over, _, _ = again.step(action)
        assert reward == data[0].rewards[number]
    assert over
    assert data[0].terminations[-1]
    assert not data[0].terminations[:-1].any()


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

    from archgym.envs import ParallelControlEnv, parallel

    parallel_api_test(ParallelControlEnv("cpu-cores-2:instructions=4000"), num_cycles=40)
    parallel_api_test(ParallelControlEnv("dram-channels-4:requests=4000"), num_cycles=100)

    assert parallel("archgym/CpuControl-v0", cores=2).possible_agents == ["core_0", "core_1"]
    channels = parallel("archgym/DramControl-v0", channels=4)
    assert channels.possible_agents == [f"channel_{c}" for c in range(4)]
    with pytest.raises(InvalidArgumentError, match="`with_price` must be left out"):
        parallel("archgym/DramControl-v0", with_price=True)
    with pytest.raises(UnknownNameError, match="dram-channels-3"):
        parallel("archgym/DramControl-v0", channels=3)


@pytest.mark.slow
def test_team_shares_its_reward_and_sees_all_if_asked_to() -> None:
    pytest.importorskip("pettingzoo")
    from archgym.envs import ParallelControlEnv

    env = ParallelControlEnv("cpu-cores-2:instructions=8000", observes="all", with_price=True)
    env.reset(seed=0)
    infos: dict[str, Any] = {}
    while env.agents:
        seen, rewards, _, _, infos = env.step(dict(zip(env.agents, (8, 0), strict=True)))
        assert rewards["core_0"] == rewards["core_1"]
        assert len(seen["core_0"]) == 2 * len(ControlEnv("cpu-mixture").reset()[0])

    assert infos["core_0"]["score"] == infos["core_1"]["score"]
    assert -100.0 < infos["core_0"]["coordination_percent"] < 100.0


@pytest.mark.parametrize("action", [-1, 1.5, 99])
def test_actions_that_do_not_exist_are_refused(action: float) -> None:
    # Before: -1 was the last setting, 1.5 the second one.
    env = gymnasium.make("archgym/DramControl-v0", task="dram-load").unwrapped
    env.reset(seed=0)

    with pytest.raises(InvalidArgumentError, match="An action must be a whole number from 0 to 5"):
        env.step(action)
