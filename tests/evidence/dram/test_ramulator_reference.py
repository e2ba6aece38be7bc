"""The second controller against recorded results, and files that are not as they should be."""

import shutil
from importlib import resources
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from evidence.dram.ramulator import (
    compare_golden,
    compare_reference,
    is_reference,
)


def test_shipped_rows_are_equal_in_every_command() -> None:
    found = compare_golden()

    assert {c.metric for c in found} >= {"log_hash", "pairs", "core_energy", "status"}
    assert {c.results.removeprefix("golden-ramulator-") for c in found} >= {
        "DDR5",
        "LPDDR5",
        "HBM3",
        "GDDR6",
    }
    assert [(c.results, c.metric) for c in found if c.errors.any()] == []


def test_sample_of_recorded_rows_is_equal(recorded: Path) -> None:
    found = compare_reference(recorded, max_rows=12)

    assert [(c.results, c.metric) for c in found if c.errors.any()] == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the shipped rows that a test may damage."""
    data = resources.files("evidence.dram").joinpath("data/golden_ramulator")
    with resources.as_file(data) as folder:
        shutil.copytree(folder, tmp_path / "rows")
    for path in (tmp_path / "rows" / "results").glob("*.csv"):
        if path.name != "DDR5.csv":
            path.unlink()
    return tmp_path / "rows"


def test_folder_with_results_is_recognised(copy: Path, tmp_path: Path) -> None:
    assert is_reference(copy)
    assert not is_reference(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("DDR5,DDR5_", "DDR6,DDR5_", "`standard` must be one of"),
        ("FRFCFS", "FIFO", "`scheduler` must be one of"),
        ("DDR5_4800", "DDR5_4801", "`timing` must be one of"),
        ("bursty", "absent", "the file must exist"),
        ("row_policy", "policy", "`row_policy` is absent"),
    ],
)
def test_damaged_results_are_refused_in_one_line(
    copy: Path, old: str, new: str, problem: str
) -> None:
    path = copy / "results" / "DDR5.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

    with pytest.raises(FileFormatError, match=problem) as caught:
        compare_reference(copy)

    assert "\n" not in str(caught.value)


def test_torn_trace_is_refused(copy: Path) -> None:
    for path in (copy / "traces").iterdir():
        path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(FileFormatError, match=r"trace.gz: the file must be whole text"):
        compare_reference(copy)


def test_changed_row_is_found(copy: Path) -> None:
    path = copy / "results" / "DDR5.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[-1] = "0" * 16
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")

    (log_hash,) = (c for c in compare_reference(copy) if c.metric == "log_hash")

    assert log_hash.errors.tolist()[:2] == [1.0, 0.0]
