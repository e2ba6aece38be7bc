"""Recorded rows of the engines' own classes agree, and a changed cell is found."""

import os
import shutil
from pathlib import Path

import pytest

from evidence.kv import reference as module
from evidence.kv import validate


@pytest.mark.slow
def test_shipped_rows_agree_in_every_column() -> None:
    found = validate()

    assert found.problems == ()
    rows = {line.results: line.n_rows for line in found.lines if line.quantity == "requests"}
    assert rows == {
        "engine_concurrent": 4, "engine_sequential": 10, "engine_steps": 15, "offload": 10,
        "radix": 8,
    }  # fmt: skip


def test_changed_cell_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (module._SHIPPED / "radix.csv").read_text().splitlines()
    cells = lines[1].split(",")
    cells[-1] = str(int(cells[-1]) + 1)
    (tmp_path / "radix.csv").write_text("\n".join([lines[0], ",".join(cells)]) + "\n")
    monkeypatch.setattr(module, "_SHIPPED", tmp_path)

    found = validate(group="rows")

    assert len(found.problems) == 1
    assert "hits_checksum" in found.problems[0]


@pytest.mark.slow
def test_small_optima_agree_with_exhaustive_search(tmp_path: Path) -> None:
    reference = os.environ.get("ARCHGYM_REFERENCE")
    if not reference:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    source = Path(reference) / "kv" / "results" / "optimum_small.jsonl"
    (tmp_path / "results").mkdir()
    shutil.copy(source, tmp_path / "results")

    found = validate(tmp_path, group="optima")

    assert found.problems == ()
    assert found.lines[0].n_rows == 400
