"""The vector environment gives what single environments give."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from archgym.envs import DesignEnv, DesignVectorEnv
from archgym.errors import InvalidArgumentError, StudyLockedError
from archgym.studies.snapshot import read_study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.toys import toy_task

KINDS = [(f, a) for f in ("whole", "sequential") for a in ("multidiscrete", "box")]


def _tasks() -> list[Task]:
    mapping = Task.make(ProvingSimulator("mapping", has_failures=False))
    return [toy_task(["light", "heavy"]), mapping]


@pytest.mark.parametrize("task", _tasks(), ids=["toy", "mapping"])
@pytest.mark.parametrize(("formulation", "actions"), KINDS)
def test_batch_equals_gymnasiums_own_vector_of_single_environments(
    task: Task, formulation: str, actions: str
) -> None:
    kind: dict[str, Any] = {"formulation": formulation, "actions": actions}
    batch = DesignVectorEnv(task, 7, **kind)
    single: Any = SyncVectorEnv(
        [lambda: DesignEnv(task, **kind)] * 7, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert batch.action_space == single.action_space
    assert batch.observation_space == single.observation_space
    batch.action_space.seed(5)
    (seen, info), (seen_1, info_1) = batch.reset(seed=1), single.reset(seed=1)
    assert np.array_equal(seen, seen_1)
    _assert_same_parameters(info, info_1)

    for _ in range(40):
        action = batch.action_space.sample()
        seen, reward, terminated, truncated, info = batch.step(action)
        seen_1, reward_1, terminated_1, truncated_1, info_1 = single.step(action)

        assert np.array_equal(seen, seen_1)
        assert seen.dtype == seen_1.dtype
        assert np.array_equal(reward, reward_1)
        assert np.array_equal(terminated, terminated_1)
        assert np.array_equal(truncated, truncated_1)
        _assert_same_parameters(info, info_1)
        if terminated.any():
            _assert_same_ends(info, info_1, terminated)


def _assert_same_parameters(info: dict[str, Any], info_1: dict[str, Any]) -> None:
    assert ("parameter" in info) == ("parameter" in info_1)
    if "parameter" in info:
        assert info["parameter"].tolist() == info_1["parameter"].tolist()
        assert info["_parameter"].tolist() == info_1["_parameter"].tolist()


def _assert_same_ends(info: dict[str, Any], info_1: dict[str, Any], ended: np.ndarray) -> None:
    assert np.array_equal(info["_final_obs"], info_1["_final_obs"])
    final, final_1 = info["final_info"], info_1["final_info"]
    for row in np.flatnonzero(ended):
        assert np.array_equal(info["final_obs"][row], info_1["final_obs"][row])
        for name in ("reward", "feasible", "failed", "reason"):
            assert final[name][row] == final_1[name][row]
        assert np.array_equal(final["indices"][row], final_1["indices"][row])
        if final["feasible"][row]:
            for name in final["metrics"]:
                assert final["metrics"][name][row] == final_1["metrics"][name][row]
    for row in np.flatnonzero(~ended):
        assert info["final_obs"][row] is None


def test_one_step_is_one_batch() -> None:
    task = toy_task()
    asked: list[int] = []
    own = DesignVectorEnv(task, 1)
    evaluate = own._episodes._evaluate

    def counting(indices: np.ndarray) -> Any:
        asked.append(len(indices))
        return evaluate(indices)

    env = DesignVectorEnv(task, 64, evaluate=counting)
    env.reset()
    env.step(env.action_space.sample())

    assert asked == [64]


def test_rows_that_end_start_again_in_the_same_step() -> None:
    env = DesignVectorEnv(toy_task(), 2, formulation="sequential")
    first, _ = env.reset()
    # Row 0 is off and ends after four choices, row 1 is fast and has a boost to choose.
    for actions in ([0, 2], [0, 0], [0, 0]):
        _, _, terminated, _, info = env.step(np.array(actions))
        assert not terminated.any()
        assert "final_info" not in info

    seen, reward, terminated, _, info = env.step(np.array([0, 0]))

    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert terminated.tolist() == [True, False]
    assert np.array_equal(seen[0], first[0])
    assert info["_final_info"].tolist() == [True, False]
    assert reward[1] == 0.0
    assert info["final_info"]["_reward"].tolist() == [True, False]
    assert info["parameter"].tolist() == ["mode", "boost"]


def test_single_environments_that_share_a_log_are_told_how_to(tmp_path: Path) -> None:
    with pytest.raises(StudyLockedError, match="vector_entry_point"):
        gymnasium.make_vec(
            "archgym/Dram-v1", 2, vectorization_mode="sync", log=str(tmp_path / "log")
        )


def test_masks_have_a_row_for_each_episode() -> None:
    env = DesignVectorEnv(toy_task(), 2, formulation="sequential")
    env.reset()
    env.step(np.array([0, 0]))
    env.step(np.array([4, 0]))

    masks = env.action_masks()

    assert masks.shape == (2, 11)
    assert masks.sum(axis=1).tolist() == [4, 8]


def test_log_holds_all_rows(tmp_path: Path) -> None:
    env = DesignVectorEnv(toy_task(), 4, log=tmp_path / "log")
    env.reset()
    env.step(np.array([[0, 0, depth, 0, 0] for depth in range(4)]))
    env.close()

    assert read_study(tmp_path / "log").asks == 4


def test_number_of_environments_must_be_positive() -> None:
    with pytest.raises(InvalidArgumentError, match="1 or more; got 0"):
        DesignVectorEnv(toy_task(), 0)


def test_wrong_actions_leave_the_episodes_as_they_were() -> None:
    env = DesignVectorEnv(toy_task(), 2)
    env.reset()

    with pytest.raises(InvalidArgumentError, match="`mode` must be 0 to 2; got 3"):
        env.step(np.array([[0, 0, 0, 0, 0], [3, 0, 0, 0, 0]]))

    assert env.step(np.zeros((2, 5), dtype=np.int64))[2].all()


def test_gymnasiums_vector_wrappers_work() -> None:
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(DesignVectorEnv(toy_task(), 3))
    env.reset()

    info = env.step(env.action_space.sample())[4]

    assert info["episode"]["l"].tolist() == [1, 1, 1]
