"""The model equals ChampSim in every counter, and refuses folders that are torn."""

import shutil
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from archgym.simulators.cpu.workloads.programs import read_trace
from evidence.cpu import reference as module
from evidence.cpu import validate
from evidence.cpu.golden import golden_text
from evidence.cpu.reference import compare_row, reference_rows

# Every so many rows of a file; the whole is for `archgym validate cpu --reference`.
STRIDES = {
    "default": 13,
    "near_default": 20,
    "random": 40,
    "random_short": 40,
    "small_caches": 6,
    "as_shipped_replacement": 6,
    "long": 9,
}


@pytest.mark.parametrize("name", STRIDES)
def test_sampled_rows_equal_champsim(reference: Path, name: str) -> None:
    rows = list(reference_rows(reference / "results" / f"{name}.csv"))[:: STRIDES[name]]

    different = {row.place: compare_row(row, module._trace(reference, row.trace)) for row in rows}

    assert len(rows) >= 1
    assert {place: what for place, what in different.items() if what} == {}


def test_event_log_of_a_scenario_is_reproduced(reference: Path) -> None:
    lines = module._scenario(reference, reference / "debug" / "s2_little_core_sqlite")

    assert [(line.n_rows, line.n_met) for line in lines] == [(1, 1), (786, 786)]


def test_recorded_rows_are_those_of_the_model() -> None:
    path = Path(module.__file__).parent / "data" / "golden.csv"

    assert golden_text() == path.read_text()


def test_validation_reads_another_folder(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "traces").mkdir()
    trace = reference / "traces" / "sha.champsimtrace.xz"
    shutil.copy(trace, tmp_path / "traces" / "other.champsimtrace.xz")
    lines = (reference / "results" / "random_short.csv").read_text().splitlines()
    row = next(line for line in lines[1:] if line.split(",")[1] == "sha")
    (tmp_path / "results" / "mine.csv").write_text(
        f"{lines[0]}\n{row.replace(',sha,', ',other,')}\n"
    )

    found = validate(tmp_path)

    assert found.problems == ()
    assert found.rows[1] == ("mine", "every counter", 1, 1, 0.0, "yes", "")


def test_rows_of_the_default_machine_are_designs_of_a_search(reference: Path) -> None:
    rows = list(reference_rows(reference / "results" / "default.csv"))

    found = module.compare_designs(reference, "default", rows[:2])

    assert [(line.quantity, line.n_rows, line.n_met) for line in found] == [
        ("total_cycles", 2, 2), ("branch_mpki", 2, 2), ("l1i_mpki", 2, 2), ("l1d_mpki", 2, 2),
        ("llc_mpki", 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "results/x.csv:1: must have the columns trace, warmup, simulated"),
        ("trace,warmup,simulated,cycles\nsha,0,10,many\n", "x.csv:2: must have a number"),
        ("trace,warmup,simulated,cycles\nsha,0,0,5\n", "x.csv:2: must simulate an instruction"),
        ("trace,warmup,simulated,kycles\nsha,0,9,5\n", "x.csv:2: has counters that are unknown"),
        ("trace,warmup,simulated,L1D.sets\nsha,0,9,3\n", "`L1D.sets` must be a power of two"),
        ("trace,warmup,simulated\n../sha,0,9\n", "names a trace '../sha'"),
        ("trace,warmup,simulated\nsha,0,9\n", "must hold traces/sha.champsimtrace.xz"),
    ],
)
def test_torn_results_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.csv").write_text(content)

    with pytest.raises(FileFormatError) as refused:
        validate(tmp_path)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_row_that_asks_for_more_than_the_trace_has_is_a_difference(reference: Path) -> None:
    row = next(reference_rows(reference / "results" / "long.csv"))
    trace = read_trace(reference / "traces" / "sha.champsimtrace.xz", limit=5000)

    assert compare_row(row, trace) == [f"{row.trace} has only 5,000 instructions"]
