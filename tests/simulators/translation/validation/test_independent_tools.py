"""The kernel counts what independent tools counted on the same traces."""

from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.translation.validation.independent_tools import (
    cases,
    exact_rows,
    misses,
    prepared_for,
)
from archgym.traces import read_planes

# Rows of the files whose policies the kernel has; the last are those of 64 bytes once more.
ROWS = {"pycachesim": 320, "srrip": 64, "libcachesim": 32, "cachegrind": 36}
ROWS |= {"cachegrind-caches": 12}


def test_every_row_of_the_results_becomes_a_case(reference: Path) -> None:
    found = [case.results for case in cases(reference)]

    assert {name: found.count(name) for name in ROWS} == ROWS
    assert len(found) == sum(ROWS.values())


@pytest.mark.parametrize("results", ["pycachesim", "srrip", "libcachesim", "cachegrind"])
def test_a_row_of_each_tool_is_met(reference: Path, results: str) -> None:
    trace = read_planes(reference / "traces" / "dlrm.npz")
    case = next(c for c in cases(reference) if c.trace == "dlrm" and c.results == results)

    counted = misses(case, prepared_for(case, trace))

    off = [abs(ours - theirs) for ours, theirs in zip(counted, case.expected, strict=True)]
    assert max(off) <= case.allowed


@pytest.mark.slow
def test_all_rows_are_met(reference: Path) -> None:
    rows = exact_rows(reference)

    assert sum(row.n_rows for row in rows) == sum(ROWS.values())
    assert [row for row in rows if row.n_met < row.n_rows] == []
    assert {row.worst for row in rows if not row.results.startswith("cachegrind")} == {0}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("gups,x,64,4,100,5", "unit_bytes must be a whole number, 0 or more; got 'x'"),
        ("gups,4096,64,4,100", "misses must be a whole number, 0 or more; got None"),
        ("../x,4096,64,4,100,5", "trace must be a name of letters and digits; got '../x'"),
    ],
)
def test_damaged_results_are_named_with_their_line(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "srrip.csv"
    path.write_text(f"trace,unit_bytes,entries,ways,stream_len,misses\n{line}\n")

    with pytest.raises(FileFormatError) as error:
        list(cases(tmp_path))

    assert f"{path}:2: {problem}." in str(error.value)


def test_any_results_may_be_missing(tmp_path: Path) -> None:
    assert list(cases(tmp_path)) == []


def test_results_that_are_no_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "srrip.csv").mkdir()

    with pytest.raises(FileFormatError, match=r"srrip.csv: cannot be read"):
        list(cases(tmp_path))
