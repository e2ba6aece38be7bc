"""Commands of the accuracy board."""

from pathlib import Path

import pytest

from tests.bench.test_accuracy import predictions
from tests.bench.test_entries import program
from tests.cli.conftest import Archgym


def test_commands_write_questions_and_print_scores(tmp_path: Path, archgym: Archgym) -> None:
    asked = archgym("bench", "accuracy", "questions", "--out", tmp_path / "q", "--json").json
    path = predictions(tmp_path / "p.csv", 1.1, 1.2)
    shown = archgym("bench", "accuracy", "score", path)
    read = archgym("bench", "accuracy", "score", path, "--json").json

    assert asked["groups"] == {"configuration": 3, "gpu": 5, "model": 6, "engine": 3, "release": 5}
    assert asked["digest"] == read["digest"]
    assert (tmp_path / "q" / "gpu" / "H100" / "learn.csv").read_text().count("\n") > 1000
    assert "Predictions that are missing, and count as misses: 10," in shown.out
    assert shown.out.count("configuration") == 2
    tpot = next(s for s in read["scores"] if (s["axis"], s["quantity"]) == ("gpu", "tpot"))
    assert tpot["median"] == pytest.approx(10.0)


@pytest.mark.slow
def test_commands_run_a_program_and_verify_its_entry(tmp_path: Path, archgym: Archgym) -> None:
    ran = archgym("bench", "accuracy", "run", program(tmp_path), "--out", tmp_path / "entry")
    accepted = archgym("bench", "accuracy", "verify", tmp_path / "entry")
    with (tmp_path / "entry" / "predictions.csv").open("a") as file:
        file.write("gpu,m0001,1,,,,,\n")
    refused = archgym("bench", "accuracy", "verify", tmp_path / "entry", "--json")

    assert (ran.code, accepted.code, refused.code) == (0, 0, 1)
    assert "configuration" in ran.out
    assert accepted.out.startswith("Accepted; the answers were ")
    assert refused.json["refusals"] == ["predictions.csv was changed after the run"]
