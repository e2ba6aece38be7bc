"""Episodes on tasks of the benchmark: the score rises with better designs only."""

from collections.abc import Iterator
from typing import Any

import pytest

from archgym.bench.serving import BenchEpisode
from archgym.bench.suite import bench_task
from archgym.errors import InvalidArgumentError


@pytest.fixture
def episode() -> Iterator[BenchEpisode]:
    made = BenchEpisode(bench_task("soc-small-edp"), budget=3)
    yield made
    made.close()


def test_rewards_sum_to_the_best_reward(episode: BenchEpisode) -> None:
    sizes = episode.description()["sizes"]
    steps = [episode.step({"indices": [0] * len(sizes)})]
    steps.append(episode.step({"indices": [size - 1 for size in sizes]}))
    steps.append(episode.step({"indices": episode.description()["default"]}))

    rewards = [step.content["reward"] for step in steps if step.content["feasible"]]
    assert sum(step.reward for step in steps) == pytest.approx(max(0.0, *rewards))
    assert steps[-1].is_over
    assert steps[-1].content["left"] == 0


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"indices": [10**9]},
        {"indices": "all"},
        {"design": {"no": 1}},
        {"reward": 10.0},
        {"design": {}, "reward": 10.0},
        {"design": {"x": float("nan")}},
        {"end": 1},
    ],
)
def test_message_that_is_not_understood_adds_nothing(
    episode: BenchEpisode, message: dict[str, Any]
) -> None:
    found = episode.step(message)

    assert "error" in found.content
    assert (found.reward, episode.score, found.is_over) == (0.0, 0.0, False)


def test_repeats_and_mistakes_end_the_episode(episode: BenchEpisode) -> None:
    default = episode.description()["default"]

    steps = [episode.step({"indices": default}) for _ in range(12)]

    # Four messages for each evaluation; a repeat is not charged.
    assert [step.is_over for step in steps] == [False] * 11 + [True]
    assert steps[-1].content["left"] == 2
    assert sum(step.reward for step in steps) == 0.0
    assert "over" in episode.step({"indices": default}).content["error"]


def test_budget_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="budget"):
        BenchEpisode(bench_task("soc-small-edp"), budget=0)
