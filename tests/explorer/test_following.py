"""Studies and sweeps that a page follows while they run."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError
from archgym.explorer.following import Follower
from archgym.studies.journal import encode
from archgym.studies.metadata import read_header
from archgym.studies.records import Records
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from tests.toys import ToyAgent, toy_task

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    with Study.create(folder, toy_task(), ToyAgent, seed=3, budget=60) as made:
        made.run()
    return folder


def state(view: Follower) -> Any:
    while view.update():
        pass
    return view.to_json()


def append(folder: Path, n: int, error: str = "", seed: int = 0) -> None:
    """Appends records of random designs that no simulator was asked for."""
    log = read_study(folder)
    header = read_header(folder)
    rng = np.random.default_rng(seed)
    shape = header.shape(header.space())
    values = 50.0 + 100.0 * rng.random((n, shape.n_workloads, shape.n_metrics))
    reason = np.zeros((n, shape.n_workloads), dtype=np.int16)
    first = int(log.records.seq[-1]) + 1
    seq = np.arange(first, first + n)
    if error:
        values[-1], reason[-1] = np.nan, -1
    records = Records(
        seq,
        np.stack([rng.integers(0, size, n) for size in header.space().sizes], axis=1),
        values,
        reason,
        np.where(np.isnan(values[:, 0, 0]), -25.0, rng.normal(size=n)),
        np.full(n, -1, dtype=np.int64),
        {int(seq[-1]): error} if error else {},
    )
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(encode(records, header.key))


# ---- the state


def test_state_is_that_of_the_study(study: Path) -> None:
    log = read_study(study)

    shown = state(Follower(study))

    (task,) = shown["tasks"]
    assert shown["evaluations"] == log.evaluations == 60
    assert shown["runs"] == {"waiting": 0, "running": 0, "finished": 1, "stopped": 0}
    assert task["curve"]["lines"][0]["y"][-1] == log.curve()[-1]
    (agent,) = task["agents"]
    counts = log.counts()
    assert (agent["infeasible"], agent["failed"]) == (counts["infeasible"], counts["failed"])


def test_records_arrive_part_by_part(study: Path, tmp_path: Path) -> None:
    journal = study / "journal.jsonl"
    content = journal.read_bytes()
    whole = state(Follower(study))
    journal.write_bytes(b"")
    view = Follower(study)

    counts = []
    for start in range(0, len(content), 700):
        with journal.open("ab") as handle:
            handle.write(content[start : start + 700])
        counts.append(state(view)["evaluations"])

    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    assert state(view)["tasks"][0]["curve"] == whole["tasks"][0]["curve"]


def test_journal_that_was_repaired_is_read_again(study: Path) -> None:
    view = Follower(study)
    state(view)
    journal = study / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    (study / "new").write_bytes(b"".join(lines[:20]))
    (study / "new").replace(journal)

    assert state(view)["evaluations"] <= 20


def test_budget_that_resume_extends_is_followed(study: Path) -> None:
    view = Follower(study)
    before = state(view)

    with Study.open(study, toy_task(), ToyAgent) as opened:
        opened.extend(90)
        during = state(view)
        opened.run()

    assert (before["planned"], before["runs"]["finished"]) == (60, 1)
    assert (during["planned"], during["evaluations"]) == (90, 60)
    assert during["runs"]["running"] == 1
    after = state(view)
    assert (after["evaluations"], after["runs"]["finished"]) == (90, 1)


def test_damaged_lines_are_counted_and_left_out(study: Path) -> None:
    journal = study / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"1", b"2")
    journal.write_bytes(b"".join(lines))

    assert state(Follower(study))["tasks"][0]["damaged"] == 1


def test_sweep_shows_its_runs_by_agent(swept: Path) -> None:
    journal = swept / "light/random/seed-1/journal.jsonl"
    hidden = journal.rename(journal.with_name("later"))
    view = Follower(swept)

    before = state(view)
    hidden.rename(journal)
    after = state(view)

    assert before["runs"]["waiting"] == 1
    assert after["runs"]["waiting"] == 0
    assert after["planned"] == 120
    assert {a["agent"]: a["runs"] for a in after["tasks"][0]["agents"]} == {"random": 2, "small": 2}
    assert after["evaluations"] == before["evaluations"] + 30


def test_runs_of_a_sweep_share_one_space_in_memory(swept: Path) -> None:
    view = Follower(swept)
    state(view)
    runs = list(view._runs.values())

    assert len(runs) > 1
    assert len({id(run.space) for run in runs if run.task_id == runs[0].task_id}) == 1


def test_damaged_run_of_a_sweep_does_not_hide_the_others(swept: Path) -> None:
    (swept / "light/random/seed-0/study.json").write_text("{")

    shown = state(Follower(swept))

    assert "study.json" in shown["problem"]
    assert shown["evaluations"] == 90
    assert shown["runs"]["waiting"] == 1


def test_folder_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="a study or a sweep"):
        Follower(tmp_path)


@pytest.mark.slow
def test_update_takes_less_than_two_seconds_at_a_hundred_thousand_evaluations(study: Path) -> None:
    append(study, 100_000)
    view = Follower(study)
    assert state(view)["evaluations"] == 100_060

    append(study, 1_000, seed=1)
    start = time.perf_counter()
    shown = state(view)
    text = json.dumps(shown)
    seconds = time.perf_counter() - start

    assert shown["evaluations"] == 101_060
    assert seconds < 1.0
    assert len(text) < 300_000
