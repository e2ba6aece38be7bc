import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, StudyLockedError
from archgym.studies.merge import merge
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study, StudyLog
from tests.toys import ToyAgent, toy_task

ROOT = Path(__file__).parents[2]


def search(folder: Path, seed: int, budget: int = 20) -> StudyLog:
    task = toy_task()
    return Study.create(folder, task, ToyAgent, seed=seed, budget=budget).run().log


def assert_holds(merged: StudyLog, parts: list[StudyLog]) -> None:
    assert merged.asks == sum(part.asks for part in parts)
    assert merged.evaluations == sum(part.evaluations for part in parts)
    start = 0
    for part in parts:
        rows = merged.records.rows(slice(start, start + part.asks))
        np.testing.assert_array_equal(rows.indices, part.records.indices)
        np.testing.assert_array_equal(rows.values, part.records.values)
        np.testing.assert_array_equal(rows.reward, part.records.reward)
        np.testing.assert_array_equal(
            rows.same, np.where(part.records.same < 0, -1, part.records.same + start)
        )
        start += part.asks


def test_merged_study_holds_every_record_once(tmp_path: Path) -> None:
    parts = [search(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2), ("c", 3))]

    merged = merge([part.folder for part in parts], tmp_path / "out")

    assert_holds(merged, parts)
    assert merged.n_studies == 3
    assert merged.status == "finished"
    assert [s.folder for s in merged.segments] == ["a", "b", "c"]
    assert [s.seed for s in merged.segments] == [1, 2, 3]
    assert {s.agent for s in merged.segments} == {"toy"}
    best = [part.best() for part in parts]
    merged_best = merged.best()
    assert merged_best is not None
    assert merged_best.reward == max(outcome.reward for outcome in best if outcome)


def test_merged_studies_can_be_merged(tmp_path: Path) -> None:
    parts = [search(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 2), ("c", 3))]
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "ab")

    merged = merge([tmp_path / "ab", tmp_path / "c"], tmp_path / "abc")

    assert_holds(merged, parts)
    assert [s.folder for s in merged.segments] == ["a", "b", "c"]


def test_study_given_twice_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a", 1)
    search(tmp_path / "b", 2)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "ab")

    with pytest.raises(InvalidArgumentError, match=r"a came twice\. Leave one"):
        merge([tmp_path / "a", tmp_path / "a"], tmp_path / "out")
    with pytest.raises(InvalidArgumentError, match=r"b and .*ab both hold 'b' \("):
        merge([tmp_path / "ab", tmp_path / "b"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_running_unfinished_and_damaged_studies_are_refused(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "a", toy_task(), ToyAgent, budget=20)
    with pytest.raises(StudyLockedError, match="is being written by"):
        merge([tmp_path / "a"], tmp_path / "out")
    study.close()
    with pytest.raises(InvalidArgumentError, match="has 0 of 20 evaluations"):
        merge([tmp_path / "a"], tmp_path / "out")
    assert merge([tmp_path / "a"], tmp_path / "empty", unfinished=True).asks == 0

    search(tmp_path / "b", 1)
    with (tmp_path / "b" / "journal.jsonl").open("ab") as journal:
        journal.write(b"rubbish\n")
    with pytest.raises(InvalidArgumentError, match=r"does not match its checksum.* archgym resume"):
        merge([tmp_path / "b"], tmp_path / "out")


def test_study_with_missing_records_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a", 1)
    path = tmp_path / "a" / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for left in (lines[:5] + lines[8:], lines[:-3]):
        path.write_bytes(b"".join(left))
        with pytest.raises(
            InvalidArgumentError, match=r"records \d+ to \d+ are missing. Make them"
        ):
            merge([tmp_path / "a"], tmp_path / "out")

    assert merge([tmp_path / "a"], tmp_path / "out", unfinished=True).asks == len(lines) - 3


def test_merged_study_that_lost_its_end_says_so(tmp_path: Path) -> None:
    n = search(tmp_path / "a", 1).asks
    merge([tmp_path / "a"], tmp_path / "m")
    path = tmp_path / "m" / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    assert read_study(tmp_path / "m").gaps == ((n - 1, n - 1),)
    with pytest.raises(InvalidArgumentError, match="is missing"):
        merge([tmp_path / "m"], tmp_path / "out")


def test_empty_study_leaves_no_gap(tmp_path: Path) -> None:
    Study.log(tmp_path / "empty", toy_task()).close()
    part = search(tmp_path / "b", 1)

    merged = merge([tmp_path / "empty", tmp_path / "b"], tmp_path / "out")

    assert merged.damage_report() is None
    assert_holds(merged, [part])


def test_studies_of_other_tasks_are_refused(tmp_path: Path) -> None:
    search(tmp_path / "a", 1)
    Study.create(tmp_path / "b", toy_task("heavy"), ToyAgent, budget=20).run()

    with pytest.raises(InvalidArgumentError, match="must be of one task"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")


def test_merged_study_cannot_go_on(tmp_path: Path) -> None:
    search(tmp_path / "a", 1)
    merge([tmp_path / "a"], tmp_path / "out")

    with pytest.raises(InvalidArgumentError, match="was merged from others"):
        Study.open(tmp_path / "out", toy_task(), ToyAgent)


def test_logs_of_several_sessions_keep_their_numbers(tmp_path: Path) -> None:
    batch = toy_task().space.unflat(np.arange(0, 400, 80))
    for _ in range(2):
        with Study.log(tmp_path / "a", toy_task()) as log:
            log.evaluate(batch[:3])
    search(tmp_path / "b", 1)

    merged = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    assert [segment.first_seq for segment in merged.segments] == [0, 3, 6]
    assert merged.n_studies == 2
    assert_holds(merged, [read_study(tmp_path / "a"), read_study(tmp_path / "b")])


@pytest.mark.slow
def test_eight_studies_at_once_merge_without_loss(tmp_path: Path) -> None:
    folders = [tmp_path / f"study-{seed}" for seed in range(8)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.search_toy", str(folder), "200", "0", str(seed)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        for seed, folder in enumerate(folders)
    ]
    assert [process.wait() for process in processes] == [0] * 8

    merged = merge(folders, tmp_path / "out")

    assert merged.evaluations == 8 * 200
    assert_holds(merged, [read_study(folder) for folder in folders])
