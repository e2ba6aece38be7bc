"""The environment over several workloads."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.evaluation.simulator import BatchResult, Workload
from archgym.evaluation.task import Task
from archgym.testing import ProvingSimulator
from tests.toys import toy_task

EXPERIMENTS = str(Path(__file__).resolve().parents[2] / "experiments")
sys.path.insert(0, EXPERIMENTS)
from contextual_env import Contexts, ContextualDesignEnv  # noqa: E402

sys.path.remove(EXPERIMENTS)

FEATURES = [[1.0, 7.0], [3.0, 7.0]]
CHEAP, DEAR = np.array([0, 0]), np.array([1, 1])


def tasks() -> list[Task]:
    """Return two tasks that share a space."""
    return [Task.make(ProvingSimulator("tiny"), name) for name in ("near", "far")]


def made(steps: int = 1, reward: str = "improvement") -> ContextualDesignEnv:
    """Return an environment over both tasks."""
    return ContextualDesignEnv(Contexts(tasks(), FEATURES), steps=steps, reward=reward)


def test_environment_passes_the_check_of_gymnasium() -> None:
    check_env(made(steps=3), skip_render_check=True)


def test_environment_passes_the_check_of_stable_baselines3() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")

    checker.check_env(made(steps=3))


def test_features_are_centred_and_scaled_over_the_tasks() -> None:
    contexts = Contexts(tasks(), FEATURES)

    # The second feature is the same for both tasks.
    assert contexts.features.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_other_tasks_have_the_scale_of_the_first_ones() -> None:
    contexts = Contexts(tasks(), FEATURES)

    others = contexts.others(tasks()[:1], [[4.0, 6.0]])

    assert others.features.tolist() == [[2.0, -1.0]]
    assert contexts.features.tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_far_features_are_clipped() -> None:
    others = Contexts(tasks(), FEATURES).others(tasks()[:1], [[1e6, -1e6]])

    assert others.features.tolist() == [[5.0, -5.0]]


def test_observation_begins_with_the_features_of_the_episode() -> None:
    env = made()

    for number, expected in ((0, -1.0), (1, 1.0)):
        observation, info = env.reset(options={"task": number})
        assert observation[0] == expected
        assert info == {"task": number}
        assert len(observation) == len(env.observation_names)
        assert env.observation_space.contains(observation)


def test_seed_decides_the_tasks_that_are_drawn() -> None:
    env, again = made(), made()

    drawn = [env.reset(seed=3)[1]["task"]] + [env.reset()[1]["task"] for _ in range(30)]
    same = [again.reset(seed=3)[1]["task"]] + [again.reset()[1]["task"] for _ in range(30)]

    assert drawn == same
    assert set(drawn) == {0, 1}


def test_improvements_of_an_episode_add_up_to_its_best_reward() -> None:
    env = made(steps=4)
    own = tasks()[1].evaluate(np.array([DEAR, CHEAP, DEAR, CHEAP])).reward
    env.reset(options={"task": 1})

    steps = [env.step(design) for design in (DEAR, CHEAP, DEAR, CHEAP)]

    assert [info["reward"] for *_, info in steps] == pytest.approx(own.tolist())
    assert steps[0][1] == pytest.approx(own[0])
    assert sum(step[1] for step in steps) == pytest.approx(own.max())
    assert [step[2] for step in steps] == [False, False, False, True]


def test_reward_of_each_design_can_be_chosen() -> None:
    env = made(steps=2, reward="design")
    own = tasks()[0].evaluate(np.array([DEAR, CHEAP])).reward
    env.reset(options={"task": 0})

    assert [env.step(design)[1] for design in (DEAR, CHEAP)] == pytest.approx(own.tolist())


def test_observation_shows_the_last_and_the_best_design() -> None:
    env = made(steps=3)
    env.reset(options={"task": 0})
    worse, better = sorted(
        (DEAR, CHEAP), key=lambda design: float(tasks()[0].evaluate(design[None]).reward[0])
    )
    n = 2
    width = (len(env.observation_names) - n - 2) // 2

    env.step(better)
    observation = env.step(worse)[0]

    last, best = observation[n : n + width], observation[n + width : n + 2 * width]
    assert not np.array_equal(last, best)
    assert np.array_equal(env.step(better)[0][n : n + width], best)
    assert observation[-1] == pytest.approx(1 / 3)


def test_infeasible_design_has_the_floor_as_reward() -> None:
    env = ContextualDesignEnv(Contexts([toy_task()], [[0.0]]), floor=-1.5)
    env.reset()

    _, reward, _, _, info = env.step(np.array([0, 4, 7, 0, 0]))

    assert reward == -1.5
    assert (info["feasible"], info["reward"]) == (False, -25.0)


def test_equal_designs_of_a_task_are_simulated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    simulate = ProvingSimulator.simulate
    contexts = Contexts(tasks(), FEATURES)

    def counted(self: ProvingSimulator, indices: np.ndarray, workload: Workload) -> BatchResult:
        calls.append(workload.name)
        return simulate(self, indices, workload)

    monkeypatch.setattr(ProvingSimulator, "simulate", counted)
    for env in (ContextualDesignEnv(contexts), ContextualDesignEnv(contexts)):
        for number in (0, 1):
            env.reset(options={"task": number})
            env.step(DEAR)

    assert calls == ["near", "far"]


def test_step_after_the_end_is_refused() -> None:
    env = made()
    env.reset()
    env.step(CHEAP)

    with pytest.raises(ArchGymError, match="must be reset"):
        env.step(CHEAP)


def test_copy_of_an_environment_goes_on_alike() -> None:
    env = made(steps=3)
    env.reset(seed=1)
    env.step(CHEAP)
    copied = pickle.loads(pickle.dumps(env))

    assert np.array_equal(env.step(DEAR)[0], copied.step(DEAR)[0])


def test_masks_leave_out_values_of_no_feasible_design() -> None:
    env = ContextualDesignEnv(Contexts([toy_task()], [[0.0]]))

    # 3 + 5 + 8 + 11 + 4 values, each of which some feasible design has.
    assert env.action_masks().tolist() == [True] * 31


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([[1.0, 2.0]], r"one row for each of 2 task\(s\)"),
        ([1.0, 2.0], r"got shape \(2,\)"),
        ([[1.0], [np.nan]], "within"),
        ([[1.0], [1e308]], "within"),
        ([["a"], ["b"]], "array of numbers"),
        ([[], []], "at least one column"),
    ],
)
def test_features_that_do_not_fit_are_refused(features: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Contexts(tasks(), features)  # type: ignore[arg-type]  # the tests give wrong ones


def test_other_features_that_do_not_fit_are_refused() -> None:
    contexts = Contexts(tasks(), FEATURES)

    for features in ([[1.0]], [[1.0, 2.0], [1.0, 2.0]], [1.0, 2.0]):
        with pytest.raises(InvalidArgumentError, match=r"one row for each|have 2 column\(s\)"):
            contexts.others(tasks()[:1], features)


def test_tasks_of_different_spaces_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="share one design space"):
        Contexts([tasks()[0], toy_task()], [[1.0], [2.0]])


def test_names_in_place_of_tasks_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="got 'soc'"):
        Contexts(["soc"], [[1.0]])  # type: ignore[list-item]  # the test gives a wrong one


def test_no_tasks_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one task"):
        Contexts([], np.empty((0, 1)))


def test_arguments_that_do_not_fit_are_refused() -> None:
    contexts = Contexts(tasks(), FEATURES)

    for arguments in ({"steps": 0}, {"reward": "gain"}, {"floor": float("nan")}):
        with pytest.raises(InvalidArgumentError):
            ContextualDesignEnv(contexts, **arguments)


def test_unknown_options_of_reset_are_refused() -> None:
    env = made()

    for options in ({"workload": "near"}, {"task": 2}, {"task": True}):
        with pytest.raises(InvalidArgumentError):
            env.reset(options=options)
