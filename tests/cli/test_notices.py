"""Bars: where they are shown, and what they are told."""

import sys
from pathlib import Path

import pytest

from archgym.cli.console import progress as notices
from archgym.cli.console.progress import StageBar
from archgym.datasets import Split, build_dataset, merge_datasets, split_dataset, verify_dataset
from archgym.tables import TableSimulator, build_table, verify_table
from tests.datasets.making import mixture
from tests.toys import ToySimulator, toy_task


class Told:
    """What was told, as it came."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.last: dict[str, tuple[float, float]] = {}

    def __call__(self, what: str, done: float, total: float) -> None:
        """Takes how far a stage is."""
        if what not in self.stages:
            self.stages.append(what)
        self.last[what] = done, total


def test_stages_are_shown_in_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notices, "_SILENT_S", 0.0)
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda shown=is_terminal: shown)
        monkeypatch.setenv("TERM", "xterm")
        with StageBar() as bar:
            bar("rows", 1, 3)
            bar("rows", 3, 3)
            bar("designs on [{a}]", 1, 2)
        shown = capsys.readouterr().err

        assert ("rows" in shown) == is_terminal
        assert ("designs on [{a}]" in shown) == is_terminal


def test_datasets_tell_how_far_they_are(tmp_path: Path) -> None:
    made = mixture(tmp_path)
    built, split, merged, verified = Told(), Told(), Told(), Told()

    studies = [tmp_path / f"study-{n}" for n in (1, 2, 3)]
    build_dataset(studies, tmp_path / "built", progress=built)
    split_dataset(made, Split("design", 0.2, 0.2), tmp_path / "split", progress=split)
    merge_datasets([made], tmp_path / "merged", progress=merged)
    verify_dataset(made, sample=20, simulator=ToySimulator(), progress=verified)

    assert built.last == {"studies": (3, 3)}
    assert split.last == merged.last == {"rows": (120, 120)}
    assert verified.stages == ["rows", "simulated rows"]
    done, total = verified.last["simulated rows"]
    assert (verified.last["rows"], done) == ((120, 120), total)


def test_tables_tell_how_far_they_are(tmp_path: Path) -> None:
    built, verified = Told(), Told()

    path = build_table(toy_task("light"), tmp_path / "t.parquet", 1, assembling=built)
    assert list(verify_table(TableSimulator(path), ToySimulator(), 300, progress=verified)) == []

    assert built.last == {"written designs": (2376, 2376)}
    assert verified.last == {
        "parameters": (2376, 2376),
        "designs on light": (300, 300),
        "optima": (3, 3),
    }
