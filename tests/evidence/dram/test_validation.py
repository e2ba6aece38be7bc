"""The model against recorded results, and how the comparison reports."""

import json
from importlib import resources
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from evidence.dram import reference as module
from evidence.dram.reference import expected_text, markdown, validate


def test_golden_rows_are_exact_in_every_digit() -> None:
    found = validate()

    assert {line.metric for line in found.lines} >= {"total_time_ns", "energy_pj", "power_mw"}
    assert all(line.exact == 1.0 for line in found.lines)
    assert found.lines[0].n_rows == 200
    assert found.problems == ()


def test_sample_of_the_reference_is_exact(reference: Path) -> None:
    found = validate(reference, max_rows=10)

    assert [line for line in found.lines if line.exact < 1.0] == []


@pytest.mark.nightly
def test_whole_reference_is_as_good_as_committed(reference: Path) -> None:
    found = validate(reference)

    assert found.problems == ()


def test_worse_result_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = module._run
    monkeypatch.setattr(
        module,
        "_run",
        lambda *arguments: {name: 1.01 * column for name, column in honest(*arguments).items()},
    )

    problems = validate().problems

    assert any("golden/total_time_ns must be exact on" in problem for problem in problems)


def test_expected_text_makes_a_validation_the_committed_one() -> None:
    found = validate()
    committed = json.loads(
        resources.files("evidence.dram").joinpath("data/accuracy.json").read_text()
    )

    assert json.loads(expected_text(found)).items() <= committed.items()


def test_markdown_has_a_line_a_file() -> None:
    lines = markdown(validate()).splitlines()

    assert lines[2] == "| golden | 200 | all | all | all | all |"


def test_readme_shows_the_committed_accuracy() -> None:
    readme = resources.files("archgym.simulators.dram").joinpath("README.md").read_text()
    committed = json.loads(
        resources.files("evidence.dram").joinpath("data/accuracy.json").read_text()
    )

    for key, (n_rows, exact, _) in committed.items():
        results, metric = key.split("/")
        if metric == "log_hash":
            cell = "all" if exact == 1.0 else f"{round(exact * n_rows)} (worst"
            line = next(row for row in readme.splitlines() if row.startswith(f"| {results} |"))
            assert f"| {cell}" in line
        if results.startswith(("dram2-", "golden-ramulator-")):
            continue
        line = next(line for line in readme.splitlines() if line.startswith(f"| {results} |"))
        if metric == "total_time_ns":
            assert f"| {n_rows} | {'all' if exact == 1.0 else round(exact * n_rows)}" in line


def test_folder_without_results_or_traces_is_refused_before_anything_runs(tmp_path: Path) -> None:
    told: list[str] = []

    with pytest.raises(FileFormatError, match=r"holds no results/\*\.csv"):
        validate(tmp_path, told.append)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "some.csv").touch()
    with pytest.raises(FileFormatError, match="holds results but no folder traces"):
        validate(tmp_path, told.append)

    assert told == []


def test_torn_results_name_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "traces").mkdir()
    golden = resources.files("evidence.dram").joinpath("data/golden.csv").read_text()
    (tmp_path / "results" / "torn.csv").write_text(golden.splitlines()[0] + "\nsyn-hot.stl,800\n")

    with pytest.raises(FileFormatError, match=r"torn\.csv:2: a row must have as many cells"):
        validate(tmp_path)
