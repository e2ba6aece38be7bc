"""The model against FARSI's recorded results, and files that are damaged."""

import gzip
import json
from pathlib import Path

import pytest

from archgym.errors import FileFormatError
from evidence.soc import TOLERANCE, validate

ROW = {
    "workload": "cava",
    "design": {
        "buses": [[8, 1, -1]],
        "memories": [["dram", 8, 1, 0]],
        "processors": [0],
        "accelerators": {},
        "task_pe": [0] * 9,
        "task_mem": [0] * 9,
    },
}


def _folder(tmp_path: Path, text: bytes) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.jsonl").write_bytes(text)
    return tmp_path


def test_golden_rows_agree_within_a_billionth() -> None:
    found = validate()

    assert found.problems == ()
    assert {line.n_rows for line in found.lines if line.group == "steps"} == {65}
    assert {line.n_rows for line in found.lines if line.quantity == "cost"} == {33, 65}
    assert {line.quantity for line in found.lines} >= {"latency_s", "task_energy_j", "phases"}
    assert max(line.worst for line in found.lines) < TOLERANCE


def test_sampled_rows_logs_and_table_of_the_reference_agree(reference: Path) -> None:
    found = validate(reference, stride=10)

    assert found.problems == ()
    results = {line.results for line in found.lines}
    assert {"cava", "radar_share", "8-two-processors-shared", "cava_table"} <= results
    table = [line for line in found.lines if line.results == "cava_table"]
    assert {line.quantity for line in table} >= {"designs", "meet_budgets", "sum_of_logs", "optima"}


@pytest.mark.slow
def test_all_rows_of_the_reference_agree(reference: Path) -> None:
    found = validate(reference)

    assert found.problems == ()
    rows = sum(line.n_rows for line in found.lines if line.quantity == "start_s")
    # Recorded rows, those that ship, and logs of phases.
    assert rows == 2254 + 65 + 8
    designs = [line for line in found.lines if line.group == "designs"]
    assert sum(line.n_rows for line in designs if line.quantity == "energy_j") == 1520 + 33


def test_wrong_number_is_a_problem_that_names_the_line(reference: Path, tmp_path: Path) -> None:
    with gzip.open(reference / "results" / "cava.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in list(lines)[:3]]
    rows[1]["energy_j"] *= 1.0 + 1e-8
    rows[2]["phases"] += 1
    text = "\n".join(map(json.dumps, rows)).encode()

    problems = validate(_folder(tmp_path, text)).problems

    # The third row is a design of a search, the second has an order of launches of its own.
    assert [problem.partition(" must")[0] for problem in problems] == [
        "mine: phases", "mine: energy_j", "mine: phases",
    ]  # fmt: skip
    assert ["line 2" in problem for problem in problems] == [False, True, False]
    assert ["line 3" in problem for problem in problems] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{", "must be JSON"),
        (b"[1]", "must be a JSON object"),
        (b"{}", "must have 'workload'"),
        (json.dumps({**ROW, "workload": "none"}).encode(), "Unknown workload 'none'"),
        (json.dumps({**ROW, "sharing": "both"}).encode(), "queue or shared"),
        (json.dumps({**ROW, "order": [0, 0]}).encode(), "numbers 0 to 8"),
        (
            json.dumps({**ROW, "design": {**ROW["design"], "processors": [3]}}).encode(),
            "on buses 0 to 0",
        ),
        (json.dumps(ROW).encode(), "must have 'latency_s'"),
        (b"\xff\xfe", "must be whole text"),
    ],
)
def test_damaged_row_is_refused_with_its_line(text: bytes, expected: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="mine") as caught:
        validate(_folder(tmp_path, text))

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_torn_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    packed = gzip.compress(json.dumps(ROW).encode())
    (tmp_path / "results" / "mine.jsonl.gz").write_bytes(packed[:-9])

    with pytest.raises(FileFormatError, match="must be whole text"):
        validate(tmp_path)


def test_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds no results"):
        validate(tmp_path)


def test_own_workload_of_the_folder_is_read(reference: Path, tmp_path: Path) -> None:
    own = json.loads((reference / "data" / "workloads" / "cava.json").read_text())
    (tmp_path / "data" / "workloads").mkdir(parents=True)
    (tmp_path / "data" / "workloads" / "another.json").write_text(json.dumps(own))
    with gzip.open(reference / "results" / "cava.jsonl.gz", "rt") as lines:
        row = json.loads(next(lines))
    text = json.dumps({**row, "workload": "another"}).encode()

    assert validate(_folder(tmp_path, text)).problems == ()
