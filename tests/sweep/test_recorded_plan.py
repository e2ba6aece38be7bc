"""The plan that a sweep's folder records."""

import json
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_recorded_plan, write_recorded_plan


def test_the_recorded_plan_is_the_plan(plan: SweepPlan, tmp_path: Path) -> None:
    write_recorded_plan(tmp_path, plan)

    assert read_recorded_plan(tmp_path) == plan


def test_a_recorded_plan_that_was_damaged_is_refused(plan: SweepPlan, tmp_path: Path) -> None:
    write_recorded_plan(tmp_path, plan)
    path = tmp_path / "sweep.json"
    data = json.loads(path.read_text())
    data["agents"]["random"]["agent"] = ["x"]
    path.write_text(json.dumps(data))

    with pytest.raises(FileFormatError, match="`agent`"):
        read_recorded_plan(tmp_path)
    with pytest.raises(FileFormatError, match=r"sweep\.json"):
        read_recorded_plan(tmp_path / "absent")
