"""Readers of all formats take the files of the corpus, and mutated ones for a minute."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import CORPUS, READERS, corpus, problem

ROOT = Path(__file__).parents[1]
FILES = [path for reader in READERS for path in corpus(reader)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_file_of_the_corpus_is_read_or_refused_in_one_line(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())

    assert problem(path.parent.name, copy) is None


def test_corpus_is_small_and_each_folder_has_a_reader() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 400_000
    assert {path.parent.name for path in files} - {"_study"} == set(READERS)


@pytest.mark.nightly
def test_a_minute_of_mutated_files_breaks_no_reader(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "60", "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900)

    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
