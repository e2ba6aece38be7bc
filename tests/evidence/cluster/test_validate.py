"""The simulator equals recorded rows of ASTRA-sim, and hostile references are refused."""

import os
import shutil
from importlib import resources
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from evidence.cluster.astrasim import compare_rows, models_of
from evidence.cluster.table import validate
from evidence.recorded import read_rows

GOLDEN = Path(str(resources.files("evidence.cluster"))) / "data" / "golden"
REFERENCE = os.environ.get("ARCHGYM_REFERENCE")
# chosen: a second or two of each file.
STRIDES = {"collectives": 16, "graphs": 12, "training": 24, "cosmic": 5}


def test_recorded_rows_and_event_logs_are_equal() -> None:
    validation = validate()

    assert validation.problems == ()
    assert {line.id for line in validation.lines} == {"A1", "A2", "A3"}
    assert sum(line.published for line in validation.lines if line.unit == "logs") == 3


@pytest.mark.skipif(REFERENCE is None, reason="needs ARCHGYM_REFERENCE")
@pytest.mark.parametrize("name", list(STRIDES))
def test_rows_of_the_reference_are_equal(name: str) -> None:
    folder = Path(str(REFERENCE)) / "cluster"
    rows = read_rows(folder / "results" / f"{name}.csv")[:: STRIDES[name]]

    problems, _, _, short_bad, worst = compare_rows(rows, models_of(folder))

    assert problems == []
    assert short_bad == worst == 0


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    folder = tmp_path / "reference"
    shutil.copytree(GOLDEN, folder)
    return folder


def test_wrong_time_is_a_problem(reference: Path) -> None:
    path = reference / "results" / "cosmic.csv"
    lines = path.read_text().splitlines()
    # A number that is a time in one row.
    place = lines[0].split(",").index("time_ns")
    cells = lines[1].split(",")
    cells[place] = str(int(cells[place]) + 1)
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")

    validation = validate(reference)

    assert len(validation.problems) == 2
    assert "cosmic.csv:2" in validation.problems[0]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("npus", "0"),
        ("npus", "-4"),
        ("npus", "999999999"),
        ("bandwidth", "nan"),
        ("bandwidth", "1e400"),
        ("latency", "x"),
        ("topology", "Torus"),
        ("splits", "0"),
        ("queues", "99999999999999999999"),
        ("all_reduce", "direct0"),
        ("size", "0"),
        ("dims", "0"),
        ("time_ns", ""),
        ("collective", "broadcast"),
    ],
)
def test_hostile_cell_is_refused_with_file_and_line(
    reference: Path, column: str, value: str
) -> None:
    path = reference / "results" / "collectives.csv"
    lines = path.read_text().splitlines()
    place = lines[0].split(",").index(column)
    cells = lines[1].split(",")
    cells[place] = value
    path.write_text("\n".join([lines[0], ",".join(cells)]) + "\n")

    with pytest.raises(FileFormatError, match=r"collectives\.csv:2: ") as refused:
        validate(reference)

    assert "\n" not in str(refused.value)


def test_torn_files_are_refused(reference: Path) -> None:
    path = reference / "debug" / "05_tree_two_chunks.json"
    path.write_text(path.read_text()[:500])

    with pytest.raises(FileFormatError, match=r"05_tree_two_chunks\.json"):
        validate(reference)


def test_row_with_missing_cells_is_refused(reference: Path) -> None:
    path = reference / "results" / "graphs.csv"
    path.write_text(path.read_text()[:-40])

    with pytest.raises(FileFormatError, match=r"graphs\.csv"):
        validate(reference)


def test_folder_without_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds none of results"):
        validate(tmp_path)
