"""`archgym control compare`: its table and what it refuses."""

from pathlib import Path

import pytest

from archgym.control.policies import Oracle
from tests.cli.conftest import Archgym

_SHORT = ("control", "compare", "hand", "--task", "dram-locality:requests=2000", "--horizon", "1")


def test_run_too_short_for_a_gap_is_told_and_a_split_counts_once(archgym: Archgym) -> None:
    ran = archgym(*_SHORT, "--episodes", "2", "--split", "held-out", "--split", "held-out")

    # Before: `nan` and `-inf`, and every row twice.
    assert ran.out.count("oracle ") == 1
    assert "nan" not in ran.out
    assert "inf" not in ran.out
    assert "The oracle saves less than 0.05 % on split held-out" in ran.err


def test_policy_that_saves_more_than_the_oracle_is_told(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Oracle, "act", lambda self, episode: (0,))

    task = "dram-locality:requests=4000,epoch=50"
    ran = archgym(*_SHORT[:3], "--task", task, "--horizon", "1", "--episodes", "1")

    # Before: there was said to be no gap.
    assert "Policy 'hand' saves more than the oracle on split held-out" in ran.err
    assert "`--horizon 8` or `--beam 8`" in ran.err
    assert "no gap" not in ran.err


def test_options_are_checked_before_any_run(archgym: Archgym, tmp_path: Path) -> None:
    many = archgym(*_SHORT, "--episodes", "12")
    absent = archgym(*_SHORT, "--picture", str(tmp_path / "none" / "x.png"))
    drawn = archgym(*_SHORT, "--picture", str(tmp_path / "x.gif"))

    assert "`--episodes` must be a whole number from 1 to 10; got 12." in many.err
    assert "`--picture` must be in a folder that exists" in absent.err
    assert "`--picture` must end in .svg, .png or .pdf" in drawn.err
