"""Entries are asked group by group, and refused where they differ, were changed or cheat."""

import json
import sys
import tempfile
from pathlib import Path

import pytest

from archgym.bench.accuracy import score, split
from archgym.bench.entries import hidden_from, run_entry, verify_entry
from archgym.errors import ArchGymError, SimulatorError

# Medians of what may be learned, for all questions; `known` may have better answers.
PROGRAM = """
import csv, pathlib, statistics, sys
folder = pathlib.Path(sys.argv[1])
learn, asked = (list(csv.DictReader((folder / f"{n}.csv").open())) for n in ("learn", "questions"))
tpot = statistics.median(float(row["tpot_mean_ms"]) for row in learn)
known = {}
CHEAT
with (folder / "predictions.csv").open("w") as file:
    print("id,tpot_ms", file=file)
    for row in asked:
        print(row["id"], known.get(row["id"], tpot), sep=",", file=file)
"""
SEARCHES = """
places = [folder, *folder.parent.parent.glob("*/asked")]
for path in [p for place in places for p in place.rglob("*") if p.is_file()]:
    text = path.read_text()
    if "tpot_mean_ms" in text:
        known |= {r["id"]: r["tpot_mean_ms"] for r in csv.DictReader(text.splitlines())}
"""
READS_TABLE = """
from archgym.bench.accuracy import TABLE
known = {row["id"]: row["tpot_mean_ms"] for row in csv.DictReader(TABLE.open())}
"""
REMEMBERS = """
kept = pathlib.Path("MEMORY")
with kept.open("a") as file:
    for row in learn:
        print(row["id"], row["tpot_mean_ms"], file=file)
known = dict(line.split() for line in kept.read_text().splitlines())
"""


def program(folder: Path, cheat: str = "") -> str:
    path = folder / "program.py"
    path.write_text(PROGRAM.replace("CHEAT", cheat.replace("MEMORY", str(folder / "memory"))))
    return f"{sys.executable} {path}"


@pytest.mark.slow
@pytest.mark.parametrize("cheat", ["", SEARCHES])
def test_program_is_given_no_answer_and_accepted_again(
    cheat: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Folders of other runs on this machine are none of this one's.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run_entry(program(tmp_path, cheat), tmp_path / "entry")

    found = score(tmp_path / "entry" / "predictions.csv")
    assert all(each.missing == 0 for each in found if each.quantity == "tpot")
    assert min(each.median or 0.0 for each in found if each.quantity == "tpot") > 20.0
    assert verify_entry(tmp_path / "entry") == []


@pytest.mark.slow
@pytest.mark.parametrize("cheat", [READS_TABLE, REMEMBERS])
def test_program_that_has_answers_from_elsewhere_is_refused(cheat: str, tmp_path: Path) -> None:
    run_entry(program(tmp_path, cheat), tmp_path / "entry")

    refusals = " ".join(verify_entry(tmp_path / "entry"))

    assert "is below that of repeated runs" in refusals
    assert "differ" in refusals or (cheat == READS_TABLE and not hidden_from())


def test_changed_predictions_and_other_rows_are_refused(tmp_path: Path) -> None:
    run_entry(program(tmp_path), tmp_path / "entry")
    entry = tmp_path / "entry" / "entry.json"
    with (tmp_path / "entry" / "predictions.csv").open("a") as file:
        file.write("\n")

    assert verify_entry(tmp_path / "entry") == ["predictions.csv was changed after the run"]
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "split": "another"}))
    assert "are others than those" in verify_entry(tmp_path / "entry")[0]
    entry.write_text("[]")
    with pytest.raises(ArchGymError, match="an entry must be JSON with"):
        verify_entry(tmp_path / "entry")


def test_function_is_asked_and_a_program_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "def nothing(folder):\n    (folder / 'predictions.csv').write_text('id\\n')\n"
    Path("mine.py").write_text(text)

    run_entry("mine:nothing", "entry")

    assert {each.missing - each.rows for each in score("entry/predictions.csv")} == {0}
    for command, what in (("false", "status 1"), ("sleep 9 #", "took more than 0.2 s")):
        with pytest.raises(SimulatorError, match=f"{next(iter(split()))} third-1.*{what}"):
            run_entry(f"sh -c '{command}'", "other", 0.2)
    assert not Path("other").exists()
