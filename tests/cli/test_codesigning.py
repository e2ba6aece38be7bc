"""Command `codesign`."""

from collections.abc import Iterator
from typing import Any

import pytest

from archgym import codesign
from archgym.codesign import Outcome
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym


def test_metrics_and_price_of_a_strategy_are_of_the_same_seeds(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(task: Task, *_: Any, **__: Any) -> Iterator[Outcome]:
        for seed, latency, missed in ((0, 100.0, ()), (1, 900.0, ("it is slow",))):
            reward = -21.0 if missed else -1.0
            metrics = dict.fromkeys((spec.name for spec in task.metrics), latency)
            yield Outcome("joint", seed, task.space.default, reward, metrics, missed, 2)

    monkeypatch.setattr(codesign, "compare_strategies", found)

    said = archgym("codesign", "accelerator+dram", "--minimise", "latency_us").out

    (row,) = [line for line in said.splitlines() if line.startswith("joint")]
    # Before: 500, the mean over both, next to the price of one.
    assert row.split()[1:] == ["100", "0.0", "0.0", "1", "of", "2"]
