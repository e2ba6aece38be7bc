"""Tests of the page of verified submissions."""

import json
import shutil
from pathlib import Path

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

    assert "archbench-2026.1" in made
    assert "Two &lt;methods&gt;" in made
    assert "javascript:" not in made
    assert made.count(f"<h2>{TASK}</h2>") == 1
    assert "hill_climbing" in made
    assert "accepted: 2 runs, 40 evaluations" in made
    forged = next(line for line in made.splitlines() if "Forged" in line)
    assert "refused: " in forged
