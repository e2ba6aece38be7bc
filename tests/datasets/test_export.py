import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archgym.datasets.export import METADATA_KEY, export, to_frame
from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.merge import merge
from archgym.study import Study, StudyLog, read_study
from archgym.task import Task
from tests.toys import ToyAgent, ToySimulator, toy_task


def search(folder: Path, task: Task | None = None, seed: int = 1) -> StudyLog:
    study = Study.create(folder, task or toy_task(), ToyAgent, seed=seed, budget=30)
    return study.run().log


def test_each_evaluation_is_a_row_with_its_values(tmp_path: Path) -> None:
    log = search(tmp_path / "a")

    path = export(tmp_path / "a", tmp_path / "out")
    frame = pq.read_table(path).to_pandas()

    evaluated = log.records.rows(log.is_evaluation)
    assert path == tmp_path / "out" / "evaluations.parquet"
    assert len(frame) == 30
    assert frame["seq"].tolist() == evaluated.seq.tolist()
    assert frame["reward"].tolist() == evaluated.reward.tolist()
    np.testing.assert_array_equal(frame["latency_ns"], evaluated.values[:, 0, 0])
    design = log.space.design_at(log.space.canonical(evaluated.indices[7:8])[0])
    assert {name: frame[name][7] for name in log.space.names} == dict(design)
    assert set(frame["agent"]) == {"toy"}
    assert set(frame["seed"]) == {1}


def test_columns_are_typed_and_have_units(tmp_path: Path) -> None:
    search(tmp_path / "a")

    schema = pq.read_schema(export(tmp_path / "a", tmp_path / "out"))

    assert pa.types.is_dictionary(schema.field("mode").type)
    assert schema.field("banks").type == pa.int64()
    assert schema.field("gain").type == pa.float64()
    assert schema.field("gain").metadata[b"unit"] == b"V"
    assert schema.field("power_mw").metadata[b"unit"] == b"mW"
    assert schema.field("power_mw").metadata[b"goal"] == b"minimise"
    about = json.loads(schema.metadata[METADATA_KEY])
    assert about["tasks"][0]["id"] == "toy/toy/light/balanced-v0"
    assert about["studies"][0]["seed"] == 1


def test_infeasible_and_failed_evaluations_say_why(tmp_path: Path) -> None:
    batch = np.array([[0, 1, 1, 1, 0], [0, 4, 7, 1, 0], [2, 1, 1, 10, 3], [0, 1, 2, 1, 0]])
    with Study.log(tmp_path / "a", toy_task(trouble="raise")) as log:
        log.evaluate(batch)

    frame = to_frame([read_study(tmp_path / "a")])

    assert frame["feasible"].tolist() == [True, False, False, False]
    reasons = frame["reason"].astype(object).where(frame["reason"].notna(), None).tolist()
    assert reasons == [None, "The buffer is too large.", "The toy overheats.", None]
    assert frame["error"][3] == "ZeroDivisionError: the toy broke"
    assert frame["error"][:3].isna().all()
    assert frame["latency_ns"][1:].isna().all()
    assert frame["agent"].isna().all()


def test_several_workloads_have_their_own_columns(tmp_path: Path) -> None:
    log = search(tmp_path / "a", toy_task({"light": 1.0, "heavy": 2.0}))

    frame = to_frame([log])

    np.testing.assert_array_equal(
        frame["latency_ns@heavy"], log.records.values[log.is_evaluation, 1, 0]
    )
    assert "latency_ns" not in frame


def test_studies_of_one_space_share_a_table(tmp_path: Path) -> None:
    logs = [search(tmp_path / "a"), search(tmp_path / "b", toy_task("heavy"), seed=2)]

    frame = to_frame(logs)

    assert len(frame) == 60
    assert frame["workload"].tolist() == ["light"] * 30 + ["heavy"] * 30
    assert frame["study"].tolist() == ["a"] * 30 + ["b"] * 30


def test_merged_study_exports_as_its_parts(tmp_path: Path) -> None:
    logs = [search(tmp_path / "a"), search(tmp_path / "b", seed=2)]
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "m")

    merged = to_frame([read_study(tmp_path / "m")])

    assert merged.equals(to_frame(logs))


def test_task_of_each_row_is_known(tmp_path: Path) -> None:
    log = search(tmp_path / "a")

    table = pq.read_table(export(tmp_path / "a", tmp_path / "out"))

    task = log.header.task
    assert pa.types.is_dictionary(table.schema.field("task_digest").type)
    assert set(table["task_digest"].to_pylist()) == {task["digest"]}
    assert set(table["fidelity"].to_pylist()) == {task["fidelity"]}


def test_study_given_twice_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", seed=2)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "m")

    for folders in (["a", "a"], ["m", "b"]):
        with pytest.raises(InvalidArgumentError, match="Each study can be exported once"):
            export([tmp_path / name for name in folders], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_studies_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", toy_task({"light": 1.0, "heavy": 2.0}))

    with pytest.raises(InvalidArgumentError, match="must have the same workloads"):
        export([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(FileFormatError):
        export([tmp_path], tmp_path / "out")
    with pytest.raises(InvalidArgumentError, match="one or more folders"):
        export([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_card_says_what_the_file_holds(tmp_path: Path) -> None:
    search(tmp_path / "a")

    export(tmp_path / "a", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()

    assert card.startswith("# Evaluations of toy/toy/light/balanced-v0\n")
    assert "| `power_mw` | double | mW | Power |" in card
    assert "| a | toy | 1 | `{}` | 30 |" in card


def test_card_stands_beside_a_named_file(tmp_path: Path) -> None:
    search(tmp_path / "a")

    path = export(tmp_path / "a", tmp_path / "new" / "toy.parquet")

    assert sorted(p.name for p in path.parent.iterdir()) == ["toy.md", "toy.parquet"]


def test_export_is_the_same_each_time(tmp_path: Path) -> None:
    search(tmp_path / "a")

    first, second = (export(tmp_path / "a", tmp_path / name) for name in ("x", "y"))

    assert first.read_bytes() == second.read_bytes()


def test_empty_study_exports_no_rows(tmp_path: Path) -> None:
    Study.log(tmp_path / "a", toy_task()).close()

    assert len(to_frame([read_study(tmp_path / "a")])) == 0


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    search(tmp_path / "a")
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match=r"a part of the path is a file|is not a folder"):
        export(tmp_path / "a", tmp_path / "file")


def test_study_is_exported_without_its_simulator(tmp_path: Path) -> None:
    search(tmp_path / "a", Task.make(ToySimulator(), "heavy"))

    assert len(to_frame([read_study(tmp_path / "a")])) == 30
