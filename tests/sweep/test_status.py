"""The status of a sweep, read from its folder while it runs and after."""

import json
import os
import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.files.lease import Lease
from archgym.sweep import driver
from archgym.sweep.plan import Run, SweepPlan
from archgym.sweep.reading import read_recorded_plan, write_recorded_plan
from archgym.sweep.status import RunStatus, read_status


def of(folder: Path, name: str) -> RunStatus:
    return next(run for run in read_status(folder).runs if run.run.id == name)


def test_a_finished_sweep_is_so(swept: Path) -> None:
    read = read_status(swept)

    assert read.counts() == {
        "finished": 4,
        "running": 0,
        "failed": 0,
        "interrupted": 0,
        "waiting": 0,
    }
    assert (read.driver, read.evaluations, read.goal) == (None, 120, 120)


def test_runs_are_told_apart(swept: Path) -> None:
    for name in ("journal.jsonl", "study.json"):
        (swept / "light/random/seed-0" / name).unlink()
    journal = swept / "light/small/seed-0/journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:9]))
    journal = swept / "light/random/seed-1/journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:9]))
    (swept / "failures.json").write_text(json.dumps({"light/random/seed-1": "The disk is full."}))
    lease = Lease(swept)

    read = read_status(swept)

    lease.release()
    assert {run.run.id: run.status for run in read.runs} == {
        "light/random/seed-0": "waiting",
        "light/small/seed-0": "interrupted",
        "light/random/seed-1": "failed",
        "light/small/seed-1": "finished",
    }
    assert read.driver is not None
    assert read.goal == 120
    data = read.to_json()
    assert (data["runs"], data["failed"], data["waiting"]) == (4, 1, 1)
    assert data["studies"][2]["failure"] == "The disk is full."
    assert data["parts"][0] == {
        "task": "light",
        "agent": "random",
        "runs": 2,
        "finished": 0,
        "running": 0,
        "failed": 1,
        "interrupted": 0,
        "waiting": 1,
        "evaluations": 30,
    }
    assert json.dumps(data)


def test_a_run_with_a_writer_is_running(swept: Path) -> None:
    name = "light/small/seed-0"
    state = swept / name / "state.json"
    state.write_text(state.read_text().replace("finished", "running"))
    lease = Lease(swept / name)

    read = of(swept, name)

    lease.release()
    assert (read.status, read.writer is not None) == ("running", True)
    assert of(swept, name).status == "interrupted"


@pytest.mark.parametrize(
    ("host", "age_s", "status"),
    [("elsewhere", 5, "running"), ("elsewhere", 500, "interrupted"), ("here", 5, "interrupted")],
)
def test_another_machines_run_is_running_while_it_notes_how_far_it_is(
    swept: Path, host: str, age_s: int, status: str
) -> None:
    name = "light/small/seed-0"
    path = swept / name / "state.json"
    state = json.loads(path.read_text())
    then = datetime.fromtimestamp(datetime.now(UTC).timestamp() - age_s, UTC)
    path.write_text(json.dumps({**state, "status": "running", "updated": then.isoformat()}))
    writer = {"token": "x", "pid": 1, "started": "then"}
    writer["host"] = socket.gethostname() if host == "here" else host
    (swept / name / "writer.lock").write_text(json.dumps(writer))

    assert of(swept, name).status == status


def test_a_study_that_is_not_the_sweeps_is_a_failure(plan: SweepPlan, swept: Path) -> None:
    (swept / "light/small/seed-1").rename("aside")
    (swept / "light/small/seed-0").rename(swept / "light/small/seed-1")

    read = of(swept, "light/small/seed-1")

    assert read.status == "failed"
    assert "its seed is 0, the sweep's is 1" in (read.failure or "")


def test_a_folder_that_is_no_sweeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"sweep\.json"):
        read_status(tmp_path)


def test_finished_run_is_not_read_again_until_its_files_change(
    swept: Path, plan: SweepPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.run_sweep(plan, swept)
    read: list[str] = []

    def standing(folder: Path, run: Run) -> tuple[bool, int]:
        read.append(run.id)
        return False, 0

    monkeypatch.setattr(driver, "standing", standing)

    noted = read_status(swept)

    assert noted.counts()["finished"] == len(noted.runs)
    assert read == []
    changed = swept / noted.runs[0].run.id / "study.json"
    changed.write_text(changed.read_text())
    os.utime(changed, ns=(1, 1))
    read_status(swept)
    assert read == [noted.runs[0].run.id]


def test_notes_that_were_cut_short_say_nothing(swept: Path, plan: SweepPlan) -> None:
    driver.run_sweep(plan, swept)
    notes = swept / "finished.jsonl"
    whole = read_status(swept)
    notes.write_bytes(notes.read_bytes()[:-20] + b'\n["light", "many"]\n\xff\n')

    assert read_status(swept) == whole


def test_plan_of_many_seeds_is_recorded_by_their_number(swept: Path) -> None:
    plan = replace(read_recorded_plan(swept), seeds=tuple(range(5000)))
    write_recorded_plan(swept, plan)

    assert '"seeds": 5000' in (swept / "sweep.json").read_text()
    assert read_recorded_plan(swept) == plan
    assert read_status(swept).counts()["waiting"] == len(plan.runs()) - 4
