"""Shares of parameters against functions whose shares are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.report import TaskEvidence, read_evidence
from archgym.report.diagnostics import Importance, health, importance, importance_tables
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace


@pytest.fixture
def task(swept: Path) -> TaskEvidence:
    """A task over three parameters of values -1.5 to 1.5, all designs of them evaluated."""
    names = ("first", "second", "idle")
    space = DesignSpace("cube", [Integer(name=n, low=0, high=7, doc="One.") for n in names])
    base = read_evidence([swept]).tasks[0]
    indices = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3).astype(np.int32)
    run = replace(base.runs[0], indices=indices, reward=np.zeros(512))
    return replace(base, space=space, runs=(run,))


def judged(task: TaskEvidence, reward: np.ndarray) -> Importance | None:
    run = replace(task.runs[0], reward=reward)
    return importance(replace(task, runs=(run,)), n_tasks=1, level=0.95, seed=0)


def levels(task: TaskEvidence) -> np.ndarray:
    return (task.runs[0].indices - 3.5) / 3.5


def test_shares_are_those_of_a_sum(task: TaskEvidence) -> None:
    x = levels(task)

    found = judged(task, 3 * x[:, 0] + x[:, 1])

    assert found is not None
    # Variances 9 and 1.
    shares = {name: share.value for name, share in found.alone}
    assert shares["first"] == pytest.approx(0.9, abs=0.03)
    assert shares["second"] == pytest.approx(0.1, abs=0.03)
    assert shares["idle"] < 0.01
    assert all(share.low <= share.value <= share.high for _, share in found.alone)
    assert not found.is_poor


def test_a_product_is_of_the_pair(task: TaskEvidence) -> None:
    x = levels(task)

    found = judged(task, x[:, 0] * x[:, 1])

    assert found is not None
    a, b, share = found.pairs[0]
    assert {a, b} == {"first", "second"}
    assert share.value > 0.8
    pairs = importance_tables("cube", found, 0.95)[1]
    assert pairs.rows[0][2] == 100 * share.value


def test_noise_is_said_to_fit_poorly(task: TaskEvidence) -> None:
    found = judged(task, np.random.default_rng(0).normal(size=512))

    assert found is not None
    assert found.is_poor
    assert "poor fit" in importance_tables("cube", found, 0.95)[0].note


def test_what_is_never_built_or_all_alike_is_not_judged(task: TaskEvidence) -> None:
    assert judged(task, np.full(512, -np.inf)) is None
    assert judged(task, np.ones(512)) is None


def test_parameter_without_effect_is_told_apart_from_chance(task: TaskEvidence) -> None:
    x = levels(task)
    rng = np.random.default_rng(1)
    # The first two act together alone; noise gives the idle one a share of some percent.
    noisy = x[:, 0] * x[:, 1] + 0.3 * rng.normal(size=512)
    judged_task = replace(task, runs=(replace(task.runs[0], reward=noisy),))
    shares = judged(task, noisy)

    found = dict(health(judged_task, shares))["parameter without effect"]

    assert shares is not None
    assert "first" not in found
    assert "second" not in found
    assert shares.total()["idle"] > 0


def test_parameter_that_acts_alone_is_never_idle(task: TaskEvidence) -> None:
    x = levels(task)
    reward = 3 * x[:, 0] + 0.02 * x[:, 1]
    judged_task = replace(task, runs=(replace(task.runs[0], reward=reward),))

    found = dict(health(judged_task, None))["parameter without effect"]

    assert found == "second, idle: no effect beyond chance (permutation test, p above 0.05)"
    exact = replace(judged_task.runs[0], reward=3 * x[:, 0])
    found = dict(health(replace(judged_task, runs=(exact,)), None))["parameter without effect"]
    assert found.startswith("second, idle: no effect beyond chance")
