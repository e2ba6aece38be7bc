"""Objectives reward what they say."""

from typing import Any

import pytest

from archgym.simulators.translation import TranslationSimulator
from archgym.simulators.translation.metrics import AREA_BUDGET_MM2
from archgym.tasks.task import Task


def reward(objective: str, **changes: Any) -> tuple[float, float]:
    """Reward of a design on a shipped trace, and its area [mm2]."""
    simulator = TranslationSimulator("hardware", fidelity="short")
    task = Task.make(simulator, workload="kmer-count", objective=objective)
    space = task.space
    design = dict(space.design_at(space.default_indices)) | changes
    found = task.evaluate(space.indices_of(design)[None, :])
    names = [spec.name for spec in task.metrics]
    return float(found.reward[0]), float(found.values[0, 0, names.index("area_mm2")])


@pytest.mark.parametrize("objective", ["speed-under-area", "speed-per-area", "speed-area-power"])
def test_default_design_is_worth_nothing(objective: str) -> None:
    assert reward(objective)[0] == pytest.approx(0.0, abs=1e-12)


def test_budget_takes_a_cheap_mechanism_and_no_huge_tlb() -> None:
    cheap, small = reward("speed-under-area", mechanism="victima")
    dear, large = reward("speed-under-area", l2_tlb_entries=131072, l2_tlb_ways=16)

    assert small < AREA_BUDGET_MM2 < large
    assert cheap > 0.0 > dear


def test_smaller_cache_is_worth_its_area_and_power() -> None:
    by_area = reward("speed-per-area", l2_cache_kib=512)[0]
    by_all = reward("speed-area-power", l2_cache_kib=512)[0]

    assert by_area > 0.0
    assert by_all > by_area
