"""Tests of the page of verified submissions."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archgym.bench import bench_plan, bench_task, run_bench
from experiments.leaderboard import page
from tests.bench.submissions import TASK, honest, study_of


def test_page_ranks_verified_submissions_and_names_refused_ones(tmp_path: Path) -> None:
    honest(tmp_path / "good", ["random", "hill_climbing"], 1)
    about = {"title": "Two <methods>", "authors": "A. Author", "link": "javascript:alert(1)"}
    (tmp_path / "good" / "about.json").write_text(json.dumps(about))
    shutil.copytree(tmp_path / "good", tmp_path / "forged")
    (tmp_path / "forged" / "about.json").write_text(json.dumps({"title": "Forged"}))
    journal = study_of(tmp_path / "forged", 0) / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))

    made = page(tmp_path, replay=False)

    assert "archbench-2026.2" in made
    assert "Two &lt;methods&gt;" in made
    assert "javascript:" not in made
    assert made.count(f"<h2>{TASK}</h2>") == 1
    assert "hill_climbing" in made
    assert "accepted: 2 runs, 40 evaluations" in made
    forged = next(line for line in made.splitlines() if "Forged" in line)
    assert "refused: " in forged


def test_equal_titles_keep_both_ranks(tmp_path: Path) -> None:
    honest(tmp_path / "alice", ["random", "hill_climbing"], 1)
    honest(tmp_path / "mallory", ["random"], 1)
    for name in ("alice", "mallory"):
        (tmp_path / name / "about.json").write_text(json.dumps({"title": "Alice"}))

    made = page(tmp_path, replay=False)

    assert "hill_climbing" in made
    assert "Alice (mallory)" in made


@pytest.mark.parametrize("text", ["[]", '"x"', "{", "[" * 100_000])
def test_folder_that_is_no_submission_is_listed_as_refused(tmp_path: Path, text: str) -> None:
    honest(tmp_path / "good", ["random"], 1)
    honest(tmp_path / "bad", ["random"], 1)
    (tmp_path / "bad" / "about.json").write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "secret.json").write_text('{"title": "outside"}')
    (tmp_path / "linked" / "about.json").symlink_to(tmp_path / "secret.json")

    made = page(tmp_path, replay=False)

    assert made.count("refused: ") == 3
    assert made.count("refused: about.json must be ") == 1
    assert "outside" not in made
    assert "accepted: 1 runs" in made


def test_copies_and_lists_of_authors_are_named(tmp_path: Path) -> None:
    honest(tmp_path / "alice", ["random"], 1)
    (tmp_path / "alice" / "about.json").write_text(json.dumps({"authors": ["A. One", "B. Two"]}))
    shutil.copytree(tmp_path / "alice", tmp_path / "copy")
    honest(tmp_path / "other", ["random", "hill_climbing"], 1)

    made = page(tmp_path, replay=False)

    assert made.count("; the same journals as in alice") == 1
    assert made.count(">A. One, B. Two<") == 2


def test_no_submission_stops_the_page_for_the_others(tmp_path: Path) -> None:
    honest(tmp_path / "good", ["random"], 1)
    for name in ("pipe", "folder", "surrogate"):
        honest(tmp_path / name, ["random"], 1)
    os.mkfifo(tmp_path / "pipe" / "journal.jsonl")
    (tmp_path / "folder" / "journal.jsonl").mkdir()
    (tmp_path / "surrogate" / "about.json").write_text('{"title": "\\ud800"}')
    honest(tmp_path / "bytes", ["random"], 1)
    (tmp_path / "bytes").rename(tmp_path / os.fsdecode(b"\xff\xfe"))

    done = subprocess.run(
        [sys.executable, "experiments/leaderboard.py", str(tmp_path), str(tmp_path / "out.d")],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    made = (tmp_path / "out.d" / "index.html").read_text("utf-8")
    assert made.count("refused: journal.jsonl: it must be a plain file.") == 2
    assert made.count("accepted: ") == 3


def test_submission_of_another_task_leaves_the_ranks_of_the_others(tmp_path: Path) -> None:
    honest(tmp_path / "good", ["random", "hill_climbing"], 2)
    before = ranks(page(tmp_path, replay=False))
    other = bench_task("accelerator-maestro")
    run_bench(bench_plan(["random"], [other], 1, 8).decided(), tmp_path / "other")

    after = ranks(page(tmp_path, replay=False))

    assert before == [row for row in after if "other" not in row]
    assert len(before) == 2


def ranks(made: str) -> list[str]:
    """Return agents and submissions in the order of the mean ranks."""
    table = made.partition("<h2>Mean rank</h2>")[2].partition("</table>")[0]
    return [line.partition("</td><td>")[0] for line in table.splitlines() if "<td>" in line]


def test_title_of_another_submission_with_its_folder_is_no_collision(tmp_path: Path) -> None:
    for name, title in (("a", "X"), ("b", "X (c)"), ("c", "X")):
        honest(tmp_path / name, ["random"], 1)
        (tmp_path / name / "about.json").write_text(json.dumps({"title": title}))

    assert len(ranks(page(tmp_path, replay=False))) == 3
