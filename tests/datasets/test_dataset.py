from pathlib import Path

import numpy as np
import pytest

from archgym.datasets import Split, build_dataset, read_dataset
from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.datasets.making import mixture, search
from tests.datasets.test_build import OtherSpace
from tests.toys import ToySimulator, toy_task


def test_arrays_are_the_studies_canonical_designs_and_values(tmp_path: Path) -> None:
    log = search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "out")

    dataset = read_dataset(tmp_path / "out")

    rows = log.records.rows(log.is_evaluation)
    np.testing.assert_array_equal(dataset.indices, log.space.canonical(rows.indices))
    np.testing.assert_array_equal(dataset.values, rows.values[:, 0])
    np.testing.assert_array_equal(dataset.feasible, rows.reason[:, 0] == 0)
    np.testing.assert_array_equal(dataset.step, rows.seq)
    assert dataset.agents == ("toy",)
    assert dataset.space == log.space
    assert dataset.metrics == log.metrics
    assert dataset.split is None


def test_workloads_of_all_tasks_are_unfolded(tmp_path: Path) -> None:
    dataset = read_dataset(mixture(tmp_path, Split("design", 0.2, 0.2)))

    assert len(dataset) == 120
    assert [w.name for w in dataset.workloads] == ["light", "heavy"]
    assert np.bincount(dataset.workload).tolist() == [60, 60]
    assert dataset.split is not None
    assert set(dataset.split.tolist()) == {"train", "validation", "test"}
    simulator = ToySimulator()
    for place, facts in enumerate(dataset.workloads):
        rows = dataset.workload == place
        result = simulator.evaluate_batch(dataset.indices[rows], simulator.workload(facts.name))
        np.testing.assert_array_equal(dataset.values[rows], result.values)


def test_evaluations_on_which_the_simulator_broke_are_left_out(tmp_path: Path) -> None:
    with Study.log(tmp_path / "a", toy_task(trouble="raise")) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 4, 7, 1, 0]]))
    build_dataset(tmp_path / "a", tmp_path / "out.parquet")

    dataset = read_dataset(tmp_path / "out.parquet")

    assert dataset.feasible.tolist() == [True, False]
    assert dataset.agents == ("",)


def test_rows_of_several_spaces_are_read_one_space_at_a_time(tmp_path: Path) -> None:
    search(tmp_path / "a")
    with Study.log(tmp_path / "b", Task.make(OtherSpace())) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 2, 5], [1, 1, 1, 0, 2, 3]]))
    build_dataset([tmp_path / "a", tmp_path / "b"], tmp_path / "out")

    with pytest.raises(InvalidArgumentError, match="one `space` to be read"):
        read_dataset(tmp_path / "out")
    with pytest.raises(UnknownNameError):
        read_dataset(tmp_path / "out", space="orderd")
    dataset = read_dataset(tmp_path / "out", space="ordered")

    assert dataset.indices.tolist() == [[0, 1, 1, 1, 2, 5], [1, 1, 1, 0, 2, 3]]
    assert len(read_dataset(tmp_path / "out", space="toy")) == 30


def test_digest_is_that_of_the_content(tmp_path: Path) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", seed=2)
    for name, studies in (("x", "a"), ("y", "a"), ("z", "b")):
        build_dataset(tmp_path / studies, tmp_path / name)

    digests = [read_dataset(tmp_path / name).digest for name in "xyz"]

    assert digests[0] == digests[1] != digests[2]


def test_more_rows_than_allowed_are_refused(tmp_path: Path) -> None:
    search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "out")

    with pytest.raises(InvalidArgumentError, match="at most `max_rows`=29 rows"):
        read_dataset(tmp_path / "out", max_rows=29)


def test_simulator_need_not_be_installed(tmp_path: Path) -> None:
    search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "out")

    declaration = read_dataset(tmp_path / "out").declaration

    assert declaration.reasons == read_study(tmp_path / "a").reasons
    assert list(declaration.objectives) == ["balanced"]


def test_table_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "out.csv")

    with pytest.raises(InvalidArgumentError, match="must be Parquet"):
        read_dataset(tmp_path / "out.csv")
    with pytest.raises(FileFormatError, match="must have a folder 'data'"):
        read_dataset(tmp_path / "a")
