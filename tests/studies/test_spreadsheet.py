"""Measured designs from CSV files: units, partial designs, and one clear line for bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.measurements.calibration import calibration_of
from archgym.measurements.file import MEASURED_NAME, Measurements
from archgym.studies import spreadsheet
from archgym.studies.spreadsheet import measured, read_spreadsheet
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator

TASK = Task.make(ProvingSimulator("tiny", has_failures=False), "near")


def written(folder: Path, text: str) -> Path:
    path = folder / "measured.csv"
    path.write_text(text)
    return path


def test_row_is_a_design_with_metrics_in_the_units_of_the_simulator(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "mode,count,cost_ns [us],note,date,machine\nb,1,0.0021,7,2026-01-02,box\n",
    )

    found = read_spreadsheet(path, TASK)

    (row,) = found.rows
    assert row.design == {"mode": "b", "count": 1}
    assert row.metrics == {"cost_ns": pytest.approx(2.1), "note": 7.0}
    assert (row.date, row.machine, row.workload) == ("2026-01-02", "box", "near")
    simulated = TASK.evaluate(TASK.space.indices_of(row.design)[None]).values[0, 0]
    assert row.simulated["cost_ns"] == simulated[0]
    assert found.unused == ("note",)


def test_parameters_that_are_left_out_are_the_default_designs(tmp_path: Path) -> None:
    found = read_spreadsheet(written(tmp_path, "mode,cost_ns\na,1.2\n,1.3\n"), TASK)

    default = TASK.space.design_at(TASK.space.default_indices)
    assert found.completed == ("count",)
    assert dict(found.rows[1].design) == dict(default)
    assert found.rows[0].design == {"mode": "a", "count": default["count"]}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("mode,cost_ns\nc,1.2\n", 2, "`mode` must be"),
        ("mode,count,cost_ns\nb,3,1.2\n", 2, "Mode b has at most one"),
        ("mode,cost_ns,date\na,1.2,2026-13-45\n", 2, "`date` must be a day or time that exists"),
        ("mode,cost_ns\na,1\na,0\n", 3, "`cost_ns` must be a number above 0; got 0"),
        ("mode,cost_ns\na,-2\n", 2, "above 0; got -2"),
        ("mode,cost_ns\na,1_2000\n", 2, "`cost_ns` must be a number; got '1_2000'"),
        ("mode,cost_ns\na,\u0661\u0662\n", 2, "`cost_ns` must be a number"),
        ("mode,cost_ns\na,nan\n", 2, "above 0; got nan"),
        ("mode,cost_ns\na,fast\n", 2, "`cost_ns` must be a number; got 'fast'"),
        ("mode,cost_ns\na,1e-320\n", 2, "must be 0 or a number between 1e-30 and 1e+30"),
        ("mode,cost_ns\na,\n", 2, "must have a metric"),
        ("mode,workload,cost_ns\na,far,1.2\n", 2, "`workload` must be one of near; got 'far'"),
        ("mode,cost_ns [W]\na,1.2\n", 1, "must be in ns, or a multiple of it"),
        ("mode,cost_n\na,1.2\n", 1, "unknown column 'cost_n'. Did you mean 'cost_ns'"),
        ("mod,cost_ns\na,1.2\n", 1, "Did you mean 'mode'"),
        ("mode,time\na,1.2\n", 2, "must have a metric of proving, such as cost_ns"),
        ("mode,cost_ns,cost_ns\na,1,1\n", 1, "each column must come once"),
        ("mode,cost_ns\na,1,3\n", 2, "must have 2 cells"),
        ("evaluation,cost_ns\n1,1.2\n", 2, "'1' is not the number of an evaluation of a study"),
        ("mode,cost_ns\n", 1, "must have a heading and rows"),
        ("", 1, "must have a heading and rows"),
        ('mode,cost_ns\n"a,1.2\n', None, "must be CSV"),
        ("mode;cost_ns\na;1,2\n", 1, "cells must be separated by commas; the heading has ';'"),
        ("design,cost_ns\n7,1.2\n", 1, "unknown column 'design'. Did you mean 'evaluation'"),
        ("mode,cost_ns\na,1300\n", 1, "1,000 times larger than simulated"),
        ("mode,cost_ns\na,0.0013\n", 1, "write it in the heading, such as `cost_ns [us]`"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    path = written(tmp_path, text)

    with pytest.raises(FileFormatError) as raised:
        read_spreadsheet(path, TASK)

    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{path}" + (f":{line}:" if line else ":"))


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("device", "ddr4-2400", "`device` belongs to the task, which all rows share"),
        ("space", "ramulator", "`space` belongs to the task, which all rows share"),
        ("bandwidth_percent", "140", "`bandwidth_percent` must be at most 100 %; got 140"),
        ("row_hits", "-1", "`row_hits` must be 0 or above; got -1"),
    ],
)
def test_another_set_up_and_impossible_numbers_are_refused(
    tmp_path: Path, column: str, cell: str, words: str
) -> None:
    path = written(tmp_path, f"total_time_ns,{column}\n13000,{cell}\n")

    with pytest.raises(FileFormatError) as raised:
        read_spreadsheet(path, Task.make("dram", "stream"))

    assert words in str(raised.value)


def test_shares_gains_and_what_is_simulated_as_0_may_be_0() -> None:
    task = Task.make("kv", "coding", space="serving", last="20")
    zeros = {"hit_percent": 0.0, "loaded_percent": 0.0, "goodput_per_s": 0.0}

    row = measured(task, {}, zeros)

    assert row.metrics == zeros
    assert (row.simulated["loaded_percent"], row.simulated["hit_percent"] > 0) == (0.0, True)
    with pytest.raises(InvalidArgumentError, match="`ttft_p50_ms` must be a number above 0; got 0"):
        measured(task, {}, {"ttft_p50_ms": 0.0})
    found = calibration_of(task.simulator, Measurements(None, (row,), ("", "1")))
    assert found.n_runs == 1
    # The difference stands in for the logarithm; 0 for 0 says nothing of a factor.
    assert {found.prior.quantities[q] for q in found.process.measured_quantities} == {
        "hit_percent",
        "goodput_per_s",
    }


def test_counts_may_be_0(tmp_path: Path) -> None:
    text = "total_time_ns,row_hits,resets\n13000,0,0\n"

    found = read_spreadsheet(written(tmp_path, text), Task.make("dram", "stream"))

    assert found.rows[0].metrics == {"total_time_ns": 13000.0, "row_hits": 0.0, "resets": 0.0}
    assert found.unused == ("resets",)


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"cost_ns": -1.0}, "`cost_ns` must be a number above 0; got -1"),
        ({"cost_n": 4.1, "gain_gbs": 1.0}, "Did you mean 'cost_ns'"),
        ({"time": 4.1}, "must have a metric of proving, such as cost_ns, gain_gbs; got time"),
        ({}, "got none"),
        ({"cost_ns": True}, "`cost_ns` must be a number; got True"),
        ({"cost_ns": "7.4"}, "`cost_ns` must be a number; got '7.4'"),
        ({"cost_ns": 10**400}, "`cost_ns` must be a number above 0; got inf"),
    ],
)
def test_python_checks_metrics_as_files_are(metrics: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        measured(TASK, {"mode": "a"}, metrics)


def test_numbers_of_numpy_are_numbers() -> None:
    row = measured(TASK, {"mode": "a"}, {"cost_ns": np.float32(1.5)})  # type: ignore[dict-item]  # on purpose

    assert row.metrics == {"cost_ns": 1.5}


@pytest.mark.parametrize("words", [{"date": None}, {"date": 20261130}, {"machine": "a\nb"}])
def test_words_about_a_run_are_texts_of_one_line(words: dict[str, Any]) -> None:
    (name,) = words

    with pytest.raises(InvalidArgumentError, match=f"`{name}` must be"):
        measured(TASK, {"mode": "a"}, {"cost_ns": 1.5}, **words)


def test_study_refuses_a_wrong_unit_as_files_do(tmp_path: Path) -> None:
    with (
        Study.create(tmp_path / "study", TASK, "random", seed=1, budget=2) as study,
        pytest.raises(InvalidArgumentError, match="about 1,000 times larger than simulated"),
    ):
        study.measure({"mode": "a"}, {"cost_ns": 1300.0})

    assert not (tmp_path / "study" / MEASURED_NAME).exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hit_percent\n0.55\n", "`hit_percent` must be in percent, 100 times a fraction"),
        ("output_per_s\n0.08\n", "1,000 times smaller than simulated, 0.00102"),
        ("ttft_p50_ms\n0.45\n", "such as `ttft_p50_ms [s]`"),
    ],
)
def test_hint_about_a_unit_can_be_followed(tmp_path: Path, text: str, words: str) -> None:
    task = Task.make("kv", "coding", space="serving", last="20")

    with pytest.raises(FileFormatError) as raised:
        read_spreadsheet(written(tmp_path, text), task)

    assert words in str(raised.value)
    assert "[us]" not in str(raised.value)


def test_columns_of_texts_are_named_as_unused(tmp_path: Path) -> None:
    found = read_spreadsheet(written(tmp_path, "mode,cost_ns,note\na,1.2,cold start\n"), TASK)

    assert found.unused == ("note",)


def test_binary_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(b"\xff\xfe\x00mode")

    with pytest.raises(FileFormatError, match="must be CSV in UTF-8"):
        read_spreadsheet(path, TASK)


def test_a_million_rows_are_refused_before_they_are_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreadsheet, "MAX_MEASUREMENTS", 1000)
    path = written(tmp_path, "mode,cost_ns\n" + "a,1.2\n" * 1001)

    with pytest.raises(FileFormatError, match="at most 1,000 rows can be read"):
        read_spreadsheet(path, TASK)


def test_numbers_of_evaluations_name_the_designs_of_a_study(tmp_path: Path) -> None:
    designs = {"2": {"mode": "b", "count": 0}}

    found = read_spreadsheet(written(tmp_path, "evaluation,cost_ns\n2,1.4\n"), TASK, designs)

    assert found.rows[0].design == designs["2"]
    with pytest.raises(FileFormatError, match="'3' is not the number of an evaluation"):
        read_spreadsheet(written(tmp_path, "evaluation,cost_ns\n3,1.4\n"), TASK, designs)


def test_task_of_two_workloads_asks_which_one_ran() -> None:
    task = Task.make(ProvingSimulator("tiny", has_failures=False), ["near", "far"])

    with pytest.raises(InvalidArgumentError, match="which of near, far was measured"):
        measured(task, {"mode": "a"}, {"cost_ns": 1.2})
    assert measured(task, {"mode": "a"}, {"cost_ns": 1.2}, "far").workload == "far"


def test_what_calibration_computes_is_no_measurement(tmp_path: Path) -> None:
    simulator = ProvingSimulator("tiny", has_failures=False)
    task = Task.make(simulator, "near", confidence=0.9)

    for name in ("p90_cost_ns", "simulated_cost_ns"):
        with pytest.raises(FileFormatError, match=r"must have a metric|Did you mean 'cost_ns'"):
            read_spreadsheet(written(tmp_path, f"mode,{name}\na,2\n"), task)
