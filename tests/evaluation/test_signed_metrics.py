"""Tests of metrics that may be negative, from the reward to the best design of a search."""

from pathlib import Path

import numpy as np
import pytest

import archgym as ag
from archgym.errors import InvalidArgumentError
from archgym.evaluation.metrics import MetricSpec, growth
from archgym.evaluation.objective import Term
from archgym.spaces.parameter import Integer


@ag.simulator(space=[Integer("x", -8, 8, default=8)], metrics={"loss": "minimise"})
def bowl(design: dict) -> dict:
    """Return a loss that is 55 at the default and -9 at the best design, x = 0."""
    return {"loss": float(design["x"] ** 2 - 9)}


@ag.simulator(
    space=[Integer("x", 0, 40, default=0), Integer("y", 0, 10)],
    metrics={"slack_ps": "maximise", "log_likelihood": "none"},
)
def timing(design: dict) -> dict:
    """Return a slack that is -400 ps at the default and 5 ps at the best design, x = 30, y = 5."""
    x, y = design["x"], design["y"]
    return {"slack_ps": 5.0 - 0.45 * (x - 30) ** 2 - (y - 5) ** 2, "log_likelihood": -3.5}


def values_of(base: float) -> np.ndarray:
    tail = np.geomspace(1e-6, 1e3, 300)
    return np.concatenate([-tail[::-1], [0.0], tail]) * max(1.0, abs(base))


@pytest.mark.parametrize("base", [3.0, 0.0, -7.5, 2e4])
def test_growth_orders_all_values(base: float) -> None:
    assert (np.diff(growth(values_of(base), base, 1e-6)) > 0).all()
    assert growth(np.array([base]), base, 1e-6)[0] == 0.0


@pytest.mark.parametrize("base", [3.0, 0.0, -7.5])
def test_reward_of_a_minimised_metric_falls_with_its_value(base: float) -> None:
    rewards = Term("loss", "minimise").reward(values_of(base), base, 1e-6)

    is_clipped = rewards <= -20.0
    assert (np.diff(rewards[~is_clipped]) < 0).all()
    assert rewards.max() <= 40.0
    assert rewards.min() >= -20.0


def test_reward_of_positive_values_is_the_logarithm_of_their_ratio() -> None:
    rewards = Term("time", "minimise").reward(np.array([5.0, 20.0]), 10.0, 1e-6)

    assert rewards.tolist() == [
        np.log((10.0 + 1e-6) / (5.0 + 1e-6)), np.log((10.0 + 1e-6) / (20.0 + 1e-6))
    ]  # fmt: skip


@pytest.mark.parametrize("agent", ["auto", "few", "genetic", "bottleneck", "extra_trees"])
def test_search_finds_the_least_loss_below_zero(agent: str, tmp_path: Path) -> None:
    result = ag.search(bowl, agent=agent, budget=17, folder=tmp_path / agent)

    assert result.best is not None
    assert result.best.design["x"] == 0
    assert result.best.metrics["loss"] == -9.0


def test_search_continues_byte_for_byte_with_negative_values(tmp_path: Path) -> None:
    whole = ag.search(timing, budget=40, folder=tmp_path / "whole")
    ag.search(timing, budget=15, folder=tmp_path / "parts")
    ag.search(timing, budget=40, folder=tmp_path / "parts")

    journals = [(tmp_path / name / "journal.jsonl").read_bytes() for name in ("whole", "parts")]
    assert journals[0] == journals[1]
    assert whole.best is not None
    assert whole.best.metrics["slack_ps"] > 0


def test_limit_on_a_signed_metric_may_be_negative(tmp_path: Path) -> None:
    result = ag.search(
        timing, maximise="log_likelihood", subject_to="slack_ps >= -50", budget=60,
        folder=tmp_path / "limited",
    )  # fmt: skip

    assert result.best is not None
    assert result.best.metrics["slack_ps"] >= -50
    assert result.missed == []


def test_metric_that_says_it_is_not_negative_is_held_to_it(tmp_path: Path) -> None:
    spec = MetricSpec("time_ns", "ns", "minimise", 0.1, "Time.")

    @ag.simulator(space=[Integer("x", 0, 3)], metrics=[spec])
    def broken(design: dict) -> dict:
        return {"time_ns": 1.0 - design["x"]}

    result = ag.search(broken, budget=4, agent="grid", folder=tmp_path / "broken")

    failures = [text for text in result.to_dataframe()["reason"] if isinstance(text, str) and text]
    assert len(failures) == 2
    assert all("signed=True" in text for text in failures)
    with pytest.raises(InvalidArgumentError, match="is 0 or more"):
        ag.Task.make(broken, subject_to="time_ns <= -1")
