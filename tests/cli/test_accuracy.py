"""Commands of the accuracy board."""

from pathlib import Path

import pytest

from tests.bench.test_accuracy import predictions
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
