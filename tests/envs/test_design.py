"""The Gymnasium environment, step by step."""

import pickle
from copy import deepcopy
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from scipy.stats import chisquare

from archgym.envs import DesignEnv
from archgym.envs.formulation import WholeDesign
from archgym.errors import ArchGymError, BudgetExhausted, InvalidArgumentError, UnknownNameError
from archgym.evaluation.trials import Trials
from archgym.spaces.choices import Choices
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import read_study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.toys import SPACE, TROUBLED_DEPTH, toy_task

# mode, banks, depth, gain, boost
FAST = np.array([2, 1, 4, 3, 2])
TOO_LARGE = np.array([0, 4, 7, 0, 0])
TOO_HOT = np.array([2, 0, 0, 10, 3])


def test_whole_design_ends_an_episode_with_its_reward() -> None:
    task = toy_task()
    env = DesignEnv(task)
    env.reset(seed=1)

    _, reward, terminated, truncated, info = env.step(FAST)

    assert (terminated, truncated) == (True, False)
    assert reward == task.evaluate(FAST[None, :]).reward[0] == info["reward"]


def test_info_of_a_design_has_metrics_with_units() -> None:
    task = toy_task()
    env = DesignEnv(task)
    env.reset()

    info = env.step(FAST)[4]

    assert dict(info["design"]) == {"mode": "fast", "banks": 2, "depth": 5, "gain": 0.3, "boost": 2}
    assert info["metrics"]["entries"] == 10.0
    assert info["units"] == {
        "latency_ns": "ns",
        "power_mw": "mW",
        "throughput_gbs": "GB/s",
        "entries": "1",
    }
    assert (info["feasible"], info["failed"], info["reason"]) == (True, False, "")


@pytest.mark.parametrize(
    ("action", "reason"),
    [(TOO_LARGE, "The buffer is too large."), (TOO_HOT, "The toy overheats.")],
)
def test_infeasible_design_is_a_result_with_its_reason(action: np.ndarray, reason: str) -> None:
    env = DesignEnv(toy_task())
    env.reset()

    observation, reward, terminated, _, info = env.step(action)

    assert (reward, terminated) == (-25.0, True)
    assert (info["feasible"], info["reason"], info["metrics"]) == (False, reason, {})
    assert observation[env.observation_names.index("feasible")] == 0.0


def test_simulator_that_breaks_costs_the_design_only() -> None:
    env = DesignEnv(toy_task(trouble="raise"))
    env.reset()

    _, reward, _, _, info = env.step(np.array([0, 0, TROUBLED_DEPTH - 1, 0, 0]))

    assert (reward, info["failed"], info["feasible"]) == (-25.0, True, False)
    assert info["reason"] == "The simulator broke on this design."


def test_episode_starts_at_the_default_design() -> None:
    env = DesignEnv(toy_task())

    first, info = env.reset()
    env.step(FAST)
    again, _ = env.reset()

    names = env.observation_names
    assert first[names.index("mode=off")] == 1.0
    assert first[names.index("latency_ns")] == 0.0
    assert first[names.index("feasible")] == 1.0
    assert np.array_equal(first, again)
    assert info == {}


def test_sequential_episode_rewards_at_its_end_only() -> None:
    task = toy_task()
    env = DesignEnv(task, formulation="sequential")
    _, info = env.reset()

    asked, rewards = [info["parameter"]], []
    for action in FAST:
        _, reward, terminated, _, info = env.step(action)
        rewards.append(reward)
        asked += [info["parameter"]] if not terminated else []

    assert asked == list(task.space.names)
    assert rewards == [0.0, 0.0, 0.0, 0.0, task.evaluate(FAST[None, :]).reward[0]]
    assert terminated
    assert info["design"]["boost"] == 2


def test_parameter_that_means_nothing_is_left_out() -> None:
    env = DesignEnv(toy_task(), formulation="sequential")
    env.reset()

    # The mode is off, so boost, the last parameter, is not asked for.
    ends = [env.step(action)[2] for action in (0, 1, 1, 1)]

    assert ends == [False, False, False, True]


def test_sequential_observation_shows_the_partial_design_and_the_position() -> None:
    env = DesignEnv(toy_task(), formulation="sequential")
    first, _ = env.reset()

    second = env.step(1)[0]

    names = env.observation_names
    assert first[names.index("next=mode")] == 1.0
    assert first[names.index("mode=off")] == 0.0
    assert second[names.index("mode=slow")] == 1.0
    assert second[names.index("next=banks")] == 1.0
    assert second[names.index("banks")] == 0.0


def test_actions_beyond_the_next_parameters_values_repeat() -> None:
    env = DesignEnv(toy_task(), formulation="sequential")
    env.reset()

    assert isinstance(env.action_space, gymnasium.spaces.Discrete)
    assert env.action_space.n == 11
    for action in (3, 5, 8, 10):
        info = env.step(action)[4]

    # 3 % 3 = 0, 5 % 5 = 0, 8 % 8 = 0, 10 % 11 = 10
    assert info["indices"].tolist() == [0, 0, 0, 10, 0]


def test_box_of_a_whole_design_reaches_its_corners() -> None:
    env = DesignEnv(toy_task(), actions="box")

    env.reset()
    low = env.step(np.full(5, -1.0, dtype=np.float32))[4]
    env.reset()
    high = env.step(np.full(5, 1.0, dtype=np.float32))[4]

    assert low["indices"].tolist() == [0, 0, 0, 0, 0]
    assert high["indices"].tolist() == [2, 4, 7, 10, 3]


@pytest.mark.parametrize("space", [SPACE, ProvingSimulator("mapping").space])
def test_uniform_boxes_reach_every_value_of_every_parameter_equally_often(
    space: DesignSpace,
) -> None:
    choices = Choices(space)
    formulation = WholeDesign(choices, "box")
    formulation.action_space.seed(11)
    actions = np.stack([formulation.action_space.sample() for _ in range(20_000)])

    picks, _ = formulation.advance(np.zeros(actions.shape), np.zeros(len(actions)), actions)

    for parameter, column in zip(space.parameters, choices.compose(picks).T, strict=True):
        counts = np.bincount(column, minlength=parameter.size)
        assert len(counts) == parameter.size
        assert parameter.size == 1 or chisquare(counts).pvalue > 0.01


def test_sequential_box_is_one_number() -> None:
    env = DesignEnv(toy_task(), formulation="sequential", actions="box")
    env.reset()

    for _ in range(5):
        info = env.step(np.array([1.0], dtype=np.float32))[4]

    assert info["indices"].tolist() == [2, 4, 7, 10, 3]


def test_masks_of_whole_designs_stand_one_after_the_other() -> None:
    env = DesignEnv(toy_task())
    env.reset()

    masks = env.action_masks()

    assert masks.shape == (3 + 5 + 8 + 11 + 4,)
    assert masks.all()


def test_sequential_masks_leave_out_what_has_no_feasible_completion() -> None:
    env = DesignEnv(toy_task(), formulation="sequential")
    env.reset()
    first = env.action_masks()
    env.step(2)
    env.step(4)

    third = env.action_masks()

    assert first.tolist() == [True] * 3 + [False] * 8
    assert third.tolist() == [True] * 4 + [False] * 7


def test_masked_random_play_breaks_no_constraint() -> None:
    task = toy_task()
    env = DesignEnv(task, formulation="sequential")
    rng = np.random.default_rng(0)

    for _ in range(200):
        env.reset()
        terminated = False
        while not terminated:
            action = int(rng.choice(np.flatnonzero(env.action_masks())))
            _, _, terminated, _, info = env.step(action)
        assert task.space.feasible(info["indices"][None, :])[0]


def test_masks_of_a_box_are_refused() -> None:
    env = DesignEnv(toy_task(), actions="box")
    env.reset()

    with pytest.raises(InvalidArgumentError, match="need discrete actions"):
        env.action_masks()


def test_mapping_space_is_chosen_pick_by_pick() -> None:
    task = Task.make(ProvingSimulator("mapping"))
    env = DesignEnv(task, formulation="sequential")
    rng = np.random.default_rng(0)

    for _ in range(20):
        env.reset()
        terminated = False
        while not terminated:
            action = int(rng.choice(np.flatnonzero(env.action_masks())))
            observation, _, terminated, _, info = env.step(action)
            assert env.observation_space.contains(observation)
        assert (info["indices"] < task.space.sizes).all()


def test_step_after_the_end_is_refused() -> None:
    env = DesignEnv(toy_task())
    env.reset()
    env.step(FAST)

    with pytest.raises(ArchGymError, match="must be reset"):
        env.step(FAST)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="'sequential'"):
        DesignEnv(toy_task(), formulation="sequentail")
    with pytest.raises(UnknownNameError, match="'box'"):
        DesignEnv(toy_task(), actions="boxes")


def test_unknown_options_of_reset_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`options` of reset must be empty"):
        DesignEnv(toy_task()).reset(options={"x": 1})


def test_render_says_the_last_design_and_its_metrics() -> None:
    env = DesignEnv(toy_task(), render_mode="ansi")
    env.reset()
    before = env.render()
    env.step(FAST)

    after = env.render()

    assert before == "No design yet.\n"
    assert after is not None
    assert "mode = fast" in after
    assert "entries = 10 1" in after


def test_log_journals_every_step_and_goes_on(tmp_path: Path) -> None:
    task = toy_task()
    with DesignEnv(task, log=tmp_path / "log") as env:
        for action in (FAST, TOO_LARGE, FAST):
            env.reset()
            env.step(action)
    with DesignEnv(task, log=tmp_path / "log") as env:
        env.reset()
        env.step(TOO_HOT)

    study = read_study(tmp_path / "log")

    # The third step asked for the first one's design again.
    assert (study.asks, study.evaluations) == (4, 3)


def test_log_gives_the_same_results(tmp_path: Path) -> None:
    task = toy_task()
    results = []
    for log in (None, tmp_path / "log"):
        with DesignEnv(task, log=log) as env:
            for action in (FAST, TOO_LARGE, TOO_HOT):
                env.reset()
                observation, reward, *_, info = env.step(action)
                results.append((observation.tolist(), reward, info["metrics"], info["reason"]))

    assert results[:3] == results[3:]


def test_log_and_evaluate_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="must not both be given"):
        DesignEnv(toy_task(), log=tmp_path, evaluate=_exhausted)


def test_environment_can_be_pickled() -> None:
    env = DesignEnv(toy_task(), formulation="sequential")
    env.reset()
    env.step(2)

    copy = pickle.loads(pickle.dumps(env))

    assert copy.step(1)[0].tolist() == env.step(1)[0].tolist()


def test_environment_with_a_log_cannot_be_copied(tmp_path: Path) -> None:
    with (
        DesignEnv(toy_task(), log=tmp_path / "log") as env,
        pytest.raises(InvalidArgumentError, match="must have no `log`"),
    ):
        deepcopy(env)


def _exhausted(indices: np.ndarray) -> Trials:
    raise BudgetExhausted("The budget is used up.")


def test_exhausted_budget_passes_through_a_step() -> None:
    env = DesignEnv(toy_task(), evaluate=_exhausted)
    env.reset()

    with pytest.raises(BudgetExhausted):
        env.step(FAST)
