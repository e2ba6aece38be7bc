"""`archgym validate`: where it finds the evidence, and how its table is written."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from archgym.cli.commands import validate as module
from archgym.errors import InvalidArgumentError
from evidence.validation import Group, Validation
from evidence.view import write_validation


@dataclass(frozen=True)
class Cells:
    cells: tuple[str | int | float, ...]
    group: str = "rows"


def validation(
    columns: tuple[str, ...], rows: Sequence[tuple[str | int | float, ...]], component: str = ""
) -> Validation[Cells]:
    group = Group("rows", "rows of a test", component)
    return Validation(tuple(map(Cells, rows)), columns, (group,), ())


def test_component_checks_are_told_from_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    write_validation(validation(("id",), [("V",)], "it is a log"))

    out = capsys.readouterr().out
    assert "Component checks, not evidence" in out
    assert "  rows: rows of a test; it is a log." in out


def test_notes_stand_numbered_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    long = "the paper does not tell " * 12
    rows = [
        ("V1", 1.5, "", ""),
        ("V2", 2.5, "no", long),
        ("V3", 3.5, "no", "short"),
        ("V4", 4.5, "no", long),
    ]

    write_validation(validation(("id", "ours", "met", "note"), rows))

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[-1] for line in lines[3:7]] == ["1.5", "1", "2", "1"]
    notes = lines[-7:-4]
    assert notes == [f"note 1: {long}".rstrip(), "note 2: short", ""]


@pytest.mark.parametrize(
    ("cells", "said"),
    [(("yes", "NO", "yes", ""), ["2 of 3 rows are met."]), ((3, 4), []), ((), [])],
)
def test_rows_that_are_met_are_counted(
    capsys: pytest.CaptureFixture[str], cells: tuple[str | int, ...], said: list[str]
) -> None:
    write_validation(validation(("id", "met"), [("V", cell) for cell in cells]))

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "are met" in line] == said


def test_evidence_is_found_away_from_the_checkout(tmp_path: Path) -> None:
    code = (
        "import archgym.evaluation.simulator as s, archgym.cli.commands.validate as v, sys;"
        "sys.path = [p for p in sys.path if p != sys.argv[1]];"
        "s.simulator_class = lambda name: None;"
        "print(v.evidence_of('soc').__file__)"
    )
    root = str(Path(__file__).parents[2])

    ran = subprocess.run(
        [sys.executable, "-c", code, root], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip

    assert ran.stdout.strip() == str(Path(root) / "evidence" / "soc" / "__init__.py"), ran.stderr


def test_validation_without_a_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "__file__", str(tmp_path / "archgym" / "cli" / "commands" / "x.py"))

    with pytest.raises(InvalidArgumentError, match="needs a checkout"):
        module.evidence_of("dram")
