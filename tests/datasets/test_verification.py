from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgym.datasets import Split, build_dataset, verify_dataset
from archgym.datasets.manifest import write_manifest
from archgym.errors import FileFormatError, StorageError
from archgym.study import Study
from tests.datasets.making import mixture
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
        ("workload", ["x"], "rows of no known workload: 1"),
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
    assert "does not exist" in result.problems[0]
