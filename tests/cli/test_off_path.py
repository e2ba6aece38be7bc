"""Faults beside the usual path: tables of held spaces, options without effect, failed starts."""

from pathlib import Path

import pytest

import archgym as ag
from archgym.errors import InvalidDesignError, StudyExistsError
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.cli.conftest import Archgym

_HELD = ("--set", "mode=slow")


@pytest.fixture
def held_table(archgym: Archgym, tmp_path: Path) -> Path:
    path = tmp_path / "held.parquet"
    ran = archgym("table", "build", "plugin", *_HELD, "-w", "light", "--out", path)
    assert ran.code == 0, ran.err
    return path


@pytest.mark.parametrize("held", [(), _HELD])
def test_table_of_a_held_space_needs_no_space(
    archgym: Archgym, held_table: Path, tmp_path: Path, held: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    ran = archgym("search", "plugin", *held, "--from-table", held_table, "-n", "4", "--out", out)

    assert ran.code == 0, ran.err
    assert "{mode=slow}" in archgym("show", out, "--json").json["task"]


def test_table_of_a_held_space_refuses_other_designs_by_name(
    archgym: Archgym, held_table: Path, tmp_path: Path
) -> None:
    ran = archgym("search", "plugin", "--set", "mode=fast", "--from-table", held_table)

    assert ran.code == 1
    assert "holds the designs of 'toy{mode=slow}', not those of 'toy{mode=fast}'" in ran.err
    assert "`space`" not in ran.err


def test_share_to_recheck_needs_a_cache(archgym: Archgym, tmp_path: Path) -> None:
    ran = archgym("search", "plugin", "--recheck", "0.5", "--out", tmp_path / "study")

    assert ran.code == 1
    assert "`recheck` must be left out without `cache`; got 0.5." in ran.err
    assert not (tmp_path / "study").exists()


def test_start_that_fails_leaves_no_study(archgym: Archgym, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = archgym("search", "plugin", "--cache", tmp_path / "file", "--out", tmp_path / "study")

    assert ran.code == 1
    assert not (tmp_path / "study").exists()


def test_file_given_to_the_short_form_of_option_names_out(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "-w", "light", "--json", "-o", "design.json")

    assert ran.code == 1
    assert "For a file, write --out design.json." in ran.err


def test_parameter_with_the_name_of_an_option_names_the_option() -> None:
    with pytest.raises(InvalidDesignError, match="Its total is --option npus=N"):
        Task.make("cluster", fixed={"npus": 64})


def test_study_of_a_function_is_not_continued_by_a_command(tmp_path: Path) -> None:
    @ag.simulator(space=[ag.Integer("x", 1, 4)], metrics={"loss": "minimise"})
    def own(design: dict[str, float]) -> dict[str, float]:
        return {"loss": float(design["x"])}

    task = Task.make(own)
    Study.create(tmp_path / "study", task, "random", budget=2).close()

    with pytest.raises(StudyExistsError) as refused:
        Study.create(tmp_path / "study", task, "random", budget=2)
    assert "which takes the task" in str(refused.value)
    assert "archgym resume" not in str(refused.value)
