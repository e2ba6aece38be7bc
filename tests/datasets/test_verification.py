import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgym.datasets import Split, build_dataset, verify_dataset
from archgym.datasets.stored import write_manifest
from archgym.errors import FileFormatError, StorageError
from archgym.studies.metadata import _checksum
from archgym.studies.study import Study
from tests.datasets.making import mixture, search
from tests.toys import ToySimulator, toy_task

TRAIN = "data/train-00000-of-00001.parquet"
PLAIN = ["design", "error"]


def changed(dataset: Path, column: str, values: list[Any]) -> None:
    """Writes other values into the first rows of a column, and a manifest that agrees."""
    path = dataset / TRAIN
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    whole = [*values, *table.column(column).to_pylist()[len(values) :]]
    array = pa.array(whole, table.schema.field(column).type)
    table = table.set_column(place, table.schema.field(column), array)
    words = [name for name in table.schema.names if name not in PLAIN]
    pq.write_table(table, path, use_dictionary=words)
    write_manifest(dataset, ["README.md", "croissant.json", TRAIN])


def rewritten(dataset: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Writes other rows, and a manifest that agrees; keeps what the file says of its rows."""
    path = dataset / TRAIN
    table = change(pq.ParquetFile(path).read())
    words = [name for name in table.schema.names if name not in PLAIN]
    pq.write_table(table, path, use_dictionary=words)
    write_manifest(dataset, ["README.md", "croissant.json", TRAIN])


def with_unit(table: pa.Table, unit: bytes) -> pa.Table:
    place = table.schema.get_field_index("latency_ns")
    field = table.schema.field(place)
    field = field.with_metadata({**field.metadata, b"unit": unit})
    return table.cast(table.schema.set(place, field))


@pytest.mark.parametrize(
    "split",
    [
        None,
        Split("design", 0.2, 0.2, seed=3),
        Split("design", 0.2, 0.2, group="outcome"),
        Split("region", 0.2, 0.3),
        Split("workload", 0.0, 0.5),
        Split("random", 0.2, 0.2),
    ],
    ids=str,
)
def test_dataset_as_built_is_as_it_should_be(tmp_path: Path, split: Split | None) -> None:
    dataset = mixture(tmp_path, split)

    result = verify_dataset(dataset, sample=50, simulator=ToySimulator())

    assert result.problems == ()
    assert (result.rows, result.simulated) == (120, 50)


def test_sample_of_all_rows_leaves_out_those_that_failed(tmp_path: Path) -> None:
    with Study.log(tmp_path / "a", toy_task(trouble="raise")) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 4, 7, 1, 0]]))
    build_dataset(tmp_path / "a", tmp_path / "out.parquet")

    result = verify_dataset(tmp_path / "out.parquet", simulator=ToySimulator())

    assert result.problems == ()
    assert (result.rows, result.simulated) == (3, 2)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("latency_ns", [1.0], "simulated rows with another `latency_ns`: 1, the first one in task"),
        ("reward", [9.0, 9.0], "simulated rows with another reward: 2"),
        ("depth", [77], "columns of parameters with values outside the space: 1"),
        ("design", ["0" * 16], "rows whose `design` is not that of their parameters: 1"),
        ("is_duplicate", [True], "rows wrongly marked as duplicates:"),
        ("task_digest", ["x"], "rows of no known task: 1"),
        ("workload", ["x"], "rows of no workload of their task: 1"),
        ("workload", ["heavy"], "rows of no workload of their task: 1"),
        ("error", ["It broke."], "feasible rows with an error: 1"),
        ("agent", ["zzz"], "rows with another `agent` than their study: 1, the first one row 0"),
        ("agent", [None], "rows with another `agent` than their study: 1"),
        ("seed", [9, None], "rows with another `seed` than their study: 2"),
        ("study", ["x"], "rows with another `study` than their study: 1"),
        ("study_id", ["x"], "rows of no known study: 1"),
        ("hyperparameters", ['{"a": 1}'], "rows with another `hyperparameters` than their study"),
        ("task", ["x"], "rows with another `task` than their task: 1"),
        ("space", ["x"], "rows with another `space` than their task: 1"),
        ("fidelity", ["x"], "rows with another `fidelity` than their task: 1"),
        ("options", ["{}{}"], "rows with another `options` than their task: 1"),
        ("simulator_version", [9], "rows with another `simulator_version` than their task: 1"),
        ("power_mw", [None], "rows with a number in `power_mw` that does not fit: 1"),
        ("reason", ["It rained."], "rows with a reason that does not fit: 1"),
    ],
    ids=str,
)
def test_rows_that_were_changed_are_found(
    tmp_path: Path, column: str, values: list[Any], problem: str
) -> None:
    dataset = mixture(tmp_path)
    changed(dataset, column, values)

    problems = verify_dataset(dataset, sample=120, simulator=ToySimulator()).problems

    assert any(problem in found for found in problems), problems


@pytest.mark.parametrize(("column", "value"), [("workload", "heavy"), ("error", "It broke.")])
def test_wrong_metric_is_not_hidden_by_another_change(
    tmp_path: Path, column: str, value: str
) -> None:
    dataset = mixture(tmp_path)
    changed(dataset, "latency_ns", [1.0])
    changed(dataset, column, [value])

    result = verify_dataset(dataset, sample=120, simulator=ToySimulator())

    found = any("simulated rows with another `latency_ns`" in p for p in result.problems)
    # A row of another task's workload cannot be compared, so it is not counted as simulated.
    assert (result.simulated, found) == ((119, False) if column == "workload" else (120, True))
    assert len(result.problems) > 0


def test_row_in_another_part_is_found(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", 0.0, 0.3))
    path = dataset / TRAIN
    table = pq.read_table(path)
    column = pa.array(["test"] * len(table), table.schema.field("split").type)
    table = table.set_column(table.schema.get_field_index("split"), "split", column)
    words = [name for name in table.schema.names if name not in PLAIN]
    pq.write_table(table, path, use_dictionary=words)
    names = [p.relative_to(dataset).as_posix() for p in dataset.rglob("*") if p.is_file()]
    write_manifest(dataset, [name for name in names if name != "SHA256SUMS"])

    problems = verify_dataset(dataset, sample=0).problems

    assert any("rows in another part than the split says" in problem for problem in problems)


def test_files_that_were_changed_are_found(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    with (dataset / "README.md").open("a") as card:
        card.write("More.\n")
    (dataset / "croissant.json").unlink()

    problems = verify_dataset(dataset, sample=0).problems

    assert "files that differ from SHA256SUMS: 1, the first one README.md." in problems
    assert any(problem.startswith("files that cannot be read: 1") for problem in problems)


def test_changed_or_absent_data_file_is_refused(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    content = bytearray((dataset / TRAIN).read_bytes())
    content[1000] ^= 1
    (dataset / TRAIN).write_bytes(content)

    with pytest.raises(FileFormatError, match="does not have the digest that stands in SHA256SUMS"):
        verify_dataset(dataset)
    (dataset / TRAIN).rename(dataset / "data" / "x.parquet")
    with pytest.raises(FileFormatError, match="must stand in SHA256SUMS"):
        verify_dataset(dataset)
    (dataset / "data" / "x.parquet").unlink()
    with pytest.raises(FileFormatError, match=r"1 to 1000 \.parquet files"):
        verify_dataset(dataset)
    with pytest.raises(StorageError, match="no such file"):
        verify_dataset(tmp_path / "absent")


def test_dataset_whose_simulator_is_not_installed_says_so(tmp_path: Path) -> None:
    result = verify_dataset(mixture(tmp_path))

    assert result.simulated == 0
    assert "tasks that cannot be simulated again: 3" in result.problems[0]
    assert "Unknown simulator" in result.problems[0]


def test_rows_that_were_moved_or_exchanged_are_found(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    rewritten(dataset, lambda t: t.take(list(range(119, -1, -1))))

    problems = verify_dataset(dataset, sample=0).problems

    assert any("not those that were written, in their order: 1" in p for p in problems), problems

    rewritten(dataset, lambda t: t.take([*range(119), 0]))

    problems = verify_dataset(dataset, sample=0).problems

    assert any("studies with another number of rows than were written" in p for p in problems)


def test_columns_without_units_are_reported(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    path = dataset / TRAIN
    table = pq.ParquetFile(path).read()
    metadata = table.schema.metadata
    table = table.cast(pa.schema([f.remove_metadata() for f in table.schema], metadata))
    rewritten(dataset, lambda _: table)

    problems = verify_dataset(dataset, sample=0).problems

    assert any("columns that do not say what they are" in p for p in problems), problems


def test_rows_of_a_file_that_does_not_tell_of_them_are_not_taken_as_checked(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)
    rewritten(
        dataset, lambda t: t.replace_schema_metadata({b"archgym": t.schema.metadata[b"archgym"]})
    )

    problems = verify_dataset(dataset, sample=0).problems

    assert any("files that do not say which rows were written: 1" in p for p in problems)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.slice(1), "must have the 120 rows that its metadata describe; it has 119"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "120 rows.* it has 121"),
        (
            lambda t: with_unit(t, b"s"),
            "the unit of its column 'latency_ns' must be 'ns', as its declaration says; it is 's'",
        ),
        (
            lambda t: t.replace_schema_metadata({**t.schema.metadata, b"archgym_rows": b"[1]"}),
            "its metadata must describe its rows",
        ),
    ],
    ids=["dropped", "added", "unit", "no counts"],
)
def test_other_rows_or_units_than_were_written_are_refused(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], problem: str
) -> None:
    dataset = mixture(tmp_path)
    rewritten(dataset, change)

    with pytest.raises(FileFormatError, match=problem):
        verify_dataset(dataset, sample=0)


def test_workload_that_a_forged_study_names_otherwise_is_reported(tmp_path: Path) -> None:
    search(tmp_path / "study")
    path = tmp_path / "study" / "study.json"
    data = json.loads(path.read_text())
    del data["crc"]
    data["task"]["workloads"][0]["name"] = "x"
    path.write_text(json.dumps({**data, "crc": _checksum(data)}))
    build_dataset([tmp_path / "study"], tmp_path / "dataset")

    found = verify_dataset(tmp_path / "dataset", simulator=ToySimulator())

    assert found.simulated == 0
    assert "has another name where it is simulated" in " ".join(found.problems)
