"""Summaries of studies as Python objects and as JSON."""

from pathlib import Path

import pytest

from archgym.errors import InvalidArgumentError
from archgym.report.study_summary import summarise
from tests.cli.conftest import Archgym, archgym

__all__ = ["archgym"]


def test_summary_of_a_study_is_what_show_writes(archgym: Archgym, swept: Path) -> None:
    folder = swept / "light/small/seed-0"

    summary = summarise([folder])

    assert summary.comparison is None
    assert summary.study is not None
    assert summary.study.best is not None
    shown = archgym("show", folder, "--json").json
    assert shown["best"]["reward"] == summary.study.best.reward
    values = summary.study.curve.values
    assert shown["curve"]["values"] == [None if v != v else v for v in values.tolist()]


def test_summary_of_several_studies_ranks_them(swept: Path) -> None:
    folders = [swept / f"light/small/seed-{seed}" for seed in (0, 1)]

    summary = summarise(folders)

    assert summary.study is None
    assert summary.comparison is not None
    rewards = [study.reward for study in summary.comparison.studies]
    assert rewards == sorted(rewards, reverse=True)
    assert summary.to_json()["overall_best"] == str(summary.comparison.studies[0].log.folder)


def test_study_that_is_named_twice_is_refused(swept: Path) -> None:
    folder = swept / "light/small/seed-0"

    with pytest.raises(InvalidArgumentError, match="each study once"):
        summarise([folder, folder])
