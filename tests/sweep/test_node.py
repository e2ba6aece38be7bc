"""A node runs parts of a sweep only where it fits to the process that drives it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from archgym.sweep.crews import origin_of, work
from archgym.sweep.plan import SweepPlan
from archgym.sweep.reading import read_plan, write_recorded_plan
from archgym.sweep.status import read_status
from archgym.tasks import ray_pool as node
from archgym.tasks.ray_pool import Origin
from tests.sweep.conftest import WritePlan


@pytest.fixture
def origin(plan: SweepPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """That of a sweep that was just begun, which waits for no file system."""
    monkeypatch.setattr(node, "_APPEARS_S", 0.0)
    write_recorded_plan(tmp_path, plan)
    return origin_of(tmp_path)


def test_a_node_that_fits_runs_a_study_to_its_end(plan: SweepPlan, origin: Origin) -> None:
    result = work(plan.runs()[0], origin)

    assert (result.evaluations, result.failure) == (30, None)
    assert read_status(origin.folder).counts()["finished"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0.1"}, "ArchGym must be 0.0.1 on every node"),
        ({"code": "other"}, "must be the same code on every node"),
        ({"plan": "other"}, "must lie on storage that all nodes share, .* is another one"),
        ({"folder": Path("/nowhere")}, "must lie on storage that all nodes share, .* is absent"),
    ],
)
def test_a_node_that_does_not_fit_runs_nothing_and_stops_all(
    plan: SweepPlan, origin: Origin, change: dict[str, Any], words: str
) -> None:
    result = work(plan.runs()[0], replace(origin, **change))

    assert result.stops_all
    assert re.search(words, result.failure or "")
    assert not list(origin.folder.glob("light"))


def test_a_task_that_is_made_differently_there_is_refused(
    write_plan: WritePlan, origin: Origin
) -> None:
    (run,) = read_plan(write_plan()).runs(["small"], [0])

    result = work(msgspec.structs.replace(run, task=replace(run.task, digest="0" * 64)), origin)

    assert "must be the one that the sweep records, with digest 000000000000" in (
        result.failure or ""
    )
