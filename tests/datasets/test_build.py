import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import archgym as ag
from archgym.datasets import build_dataset, merge_datasets, read_dataset, to_frame
from archgym.datasets.columns import METADATA_KEY
from archgym.errors import FileFormatError, InvalidArgumentError, StorageError
from archgym.spaces.design import Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Integer, Permutation
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.datasets.making import mixture, search
from tests.toys import ToySimulator, toy_task

TRAIN = Path("data") / "train-00000-of-00001.parquet"


class OtherSpace(ToySimulator):
    """The toy with a space of its own, which shares two parameters."""

    def __init__(self) -> None:
        super().__init__()
        banks, depth = (ToySimulator().space.parameter(n) for n in ("banks", "depth"))
        space = DesignSpace(
            "ordered",
            [
                Categorical(name="mode", choices=("off", "turbo"), doc="How hard it works."),
                banks,
                depth,
                Integer(name="gain", low=0, high=1, unit="V", doc="Amplification."),
                Integer(name="boost", low=0, high=3, doc="Extra drive."),
                Permutation(name="order", items=("a", "b", "c"), doc="Who comes first."),
            ],
            constraints=[Constraint("buffer", P("banks") * P("depth") <= 64, "It is too large.")],
        )
        self.spec = self.spec.completed(space=space)


def test_each_evaluation_is_a_row_with_its_values(tmp_path: Path) -> None:
    log = search(tmp_path / "a")

    written = build_dataset(tmp_path / "a", tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / TRAIN)

    evaluated = log.records.rows(log.is_evaluation)
    assert (written.rows, len(frame)) == (30, 30)
    assert frame["step"].tolist() == evaluated.seq.tolist()
    assert frame["reward"].tolist() == evaluated.reward.tolist()
    np.testing.assert_array_equal(frame["latency_ns"], evaluated.values[:, 0, 0])
    design = log.space.design_at(log.space.canonical(evaluated.indices[7:8])[0])
    assert {name: frame[name][7] for name in log.space.names} == dict(design)
    assert set(frame["agent"]) == {"toy"}
    assert set(frame["seed"]) == {1}


def test_columns_are_typed_and_have_units(tmp_path: Path) -> None:
    search(tmp_path / "a")

    build_dataset(tmp_path / "a", tmp_path / "out.parquet")
    schema = pq.read_schema(tmp_path / "out.parquet")

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


def test_task_of_several_workloads_has_a_row_for_each(tmp_path: Path) -> None:
    log = search(tmp_path / "a", toy_task({"light": 1.0, "heavy": 2.0}))

    frame = to_frame([log])

    heavy = frame[frame["workload"] == "heavy"]
    assert len(frame) == 60
    np.testing.assert_array_equal(heavy["latency_ns"], log.records.values[log.is_evaluation, 1, 0])
    assert heavy["step"].tolist() == frame[frame["workload"] == "light"]["step"].tolist()
    assert not frame["is_duplicate"][:10].any()


def test_studies_of_other_workloads_and_objectives_share_a_dataset(tmp_path: Path) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", toy_task("heavy", "low-power"), seed=2)
    search(tmp_path / "c", toy_task(["light", "heavy"]), seed=3)

    written = build_dataset([tmp_path / name for name in "abc"], tmp_path / "out.parquet")

    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert written.rows == len(frame) == 120
    assert frame["workload"].tolist()[:60] == ["light"] * 30 + ["heavy"] * 30
    assert frame["study"].unique().tolist() == ["a", "b", "c"]
    assert frame["task"].nunique() == 3


def test_same_design_on_the_same_workload_is_a_duplicate(tmp_path: Path) -> None:
    # Without the fast mode, boost means nothing: the first three designs are one.
    batch = np.array([[0, 1, 1, 1, 0], [1, 1, 1, 1, 0], [0, 1, 1, 1, 2]])
    for name, task in (("a", toy_task("light")), ("b", toy_task("light", "low-power"))):
        with Study.log(tmp_path / name, task) as log:
            log.evaluate(batch)
    with Study.log(tmp_path / "c", toy_task("heavy")) as log:
        log.evaluate(batch)

    frame = to_frame([read_study(tmp_path / name) for name in "abc"])

    n = len(frame) // 3
    assert frame["is_duplicate"].tolist()[:n] == [False, False, True][:n]
    assert frame["is_duplicate"].tolist()[n : 2 * n] == [True] * n
    assert frame["is_duplicate"].tolist()[2 * n :] == [False, False, True][:n]
    assert frame["design"].nunique() == 2


def test_spaces_share_a_dataset_with_null_where_one_lacks_a_parameter(tmp_path: Path) -> None:
    with Study.log(tmp_path / "a", toy_task()) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 0]]))
    with Study.log(tmp_path / "b", Task.make(OtherSpace())) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 2, 5]]))

    build_dataset([tmp_path / "a", tmp_path / "b"], tmp_path / "out.parquet")
    frame = pd.read_parquet(tmp_path / "out.parquet")

    assert frame["space"].tolist() == ["toy", "ordered"]
    assert frame["mode"].tolist() == ["off", "off"]
    assert frame["gain"].tolist() == [0.1, 1.0]
    assert frame["order"][0] is None
    assert frame["order"][1].tolist() == ["c", "b", "a"]


def test_options_that_are_no_text_are_kept_as_text(tmp_path: Path) -> None:
    simulator = ToySimulator()
    simulator.spec = replace(simulator.spec, options={"lanes": 4})
    search(tmp_path / "a", Task.make(simulator))

    build_dataset([tmp_path / "a"], tmp_path / "out")

    assert read_dataset(tmp_path / "out").declaration.options == {"lanes": "4"}


def test_study_given_twice_is_refused(tmp_path: Path) -> None:
    search(tmp_path / "a")

    with pytest.raises(InvalidArgumentError, match="Each study can be in a dataset once"):
        build_dataset([tmp_path / "a", tmp_path / "a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_study_or_of_another_simulator_is_refused(tmp_path: Path) -> None:
    class Renamed(ToySimulator):
        spec = replace(
            ToySimulator.spec,
            name="renamed",
        )

    search(tmp_path / "a")
    search(tmp_path / "b", Task.make(Renamed()))

    with pytest.raises(InvalidArgumentError, match="one simulator; these studies are of renamed"):
        build_dataset([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(FileFormatError):
        build_dataset([tmp_path], tmp_path / "out")
    with pytest.raises(InvalidArgumentError, match="one or more folders"):
        build_dataset([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_exists_is_never_written_over(tmp_path: Path) -> None:
    search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "out")
    before = (tmp_path / "out" / TRAIN).read_bytes()

    for name in ("out", "a", "out/README.md"):
        with pytest.raises(InvalidArgumentError):
            build_dataset(tmp_path / "a", tmp_path / name)

    assert (tmp_path / "out" / TRAIN).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "out"]


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    search(tmp_path / "a")
    (tmp_path / "file").touch()

    with pytest.raises(StorageError, match=r"a part of the path is a file|is not a folder"):
        build_dataset(tmp_path / "a", tmp_path / "file" / "out")


def test_build_is_the_same_each_time(tmp_path: Path) -> None:
    search(tmp_path / "a")

    for name in ("x", "y"):
        build_dataset(tmp_path / "a", tmp_path / name)

    for file in (Path("README.md"), Path("croissant.json"), Path("SHA256SUMS"), TRAIN):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_empty_study_has_no_rows(tmp_path: Path) -> None:
    Study.log(tmp_path / "a", toy_task()).close()

    assert build_dataset(tmp_path / "a", tmp_path / "out").rows == 0
    assert len(to_frame([read_study(tmp_path / "a")])) == 0


def test_csv_and_json_lines_have_the_same_rows(tmp_path: Path) -> None:
    with Study.log(tmp_path / "a", Task.make(OtherSpace())) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 2, 5], [0, 4, 7, 1, 2, 1]]))

    build_dataset(tmp_path / "a", tmp_path / "new" / "out.csv")
    build_dataset(tmp_path / "a", tmp_path / "new" / "out.jsonl")
    frame = pd.read_csv(tmp_path / "new" / "out.csv")
    lines = (tmp_path / "new" / "out.jsonl").read_text().splitlines()

    assert frame["order"].tolist() == ["c b a", "a c b"]
    assert [json.loads(line)["order"] for line in lines] == [["c", "b", "a"], ["a", "c", "b"]]
    assert [json.loads(line)["latency_ns"] for line in lines][1] is None
    assert frame["feasible"].tolist() == [True, False]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["out.csv", "out.jsonl"]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    search(tmp_path / "a")

    with pytest.raises(InvalidArgumentError, match=r"ends in \.parquet, \.csv, \.jsonl"):
        build_dataset(tmp_path / "a", tmp_path / "out.xlsx")


def test_merged_datasets_are_what_their_studies_give(tmp_path: Path) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", toy_task("heavy"), seed=2)
    with Study.log(tmp_path / "c", Task.make(OtherSpace())) as log:
        log.evaluate(np.array([[0, 1, 1, 1, 2, 5]]))
    for name in "abc":
        build_dataset(tmp_path / name, tmp_path / f"data-{name}")

    merge_datasets([tmp_path / f"data-{name}" for name in "abc"], tmp_path / "merged.parquet")
    build_dataset([tmp_path / name for name in "abc"], tmp_path / "built.parquet")

    merged, built = (pq.read_table(tmp_path / f"{n}.parquet") for n in ("merged", "built"))
    assert merged.schema == built.schema
    assert merged.to_pylist() == built.to_pylist()


def test_datasets_that_share_a_study_are_not_merged(tmp_path: Path) -> None:
    first = mixture(tmp_path)
    build_dataset(tmp_path / "study-1", tmp_path / "second", license="mit")

    with pytest.raises(InvalidArgumentError, match=r"both hold 'study-1' \("):
        merge_datasets([first, tmp_path / "second"], tmp_path / "out")


def test_datasets_of_several_licenses_need_one_to_be_merged(tmp_path: Path) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", seed=2)
    build_dataset(tmp_path / "a", tmp_path / "x", license="mit")
    build_dataset(tmp_path / "b", tmp_path / "y", license="cc-by-4.0")

    with pytest.raises(InvalidArgumentError, match="one license"):
        merge_datasets([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    assert merge_datasets([tmp_path / "x", tmp_path / "y"], tmp_path / "out", license="mit").rows


@pytest.mark.parametrize(
    "name", ["two\nlines", "carriage\rreturn", "\x1b[31mred", "nul\0", "half\udc80", "\u2028", ""]
)
def test_name_and_license_are_one_line(tmp_path: Path, name: str) -> None:
    search(tmp_path / "a")
    build_dataset(tmp_path / "a", tmp_path / "known")

    both: tuple[dict[str, Any], ...] = ({"name": name}, {"license": name})
    for given in both:
        with pytest.raises(InvalidArgumentError, match=r"must be (one line|a text)") as caught:
            build_dataset(tmp_path / "a", tmp_path / "out", **given)
        assert len(str(caught.value).splitlines()) == 1
        with pytest.raises(InvalidArgumentError, match=r"must be (one line|a text)"):
            merge_datasets([tmp_path / "known"], tmp_path / "out", **given)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "known"]


def test_choices_that_are_numbers_are_a_column_of_numbers(tmp_path: Path) -> None:
    @ag.simulator(
        space=[ag.Categorical("lanes", (1, 2.5, 4)), ag.Integer("x", 0, 3)],
        metrics={"loss": "minimise"},
    )
    def bus(design: dict) -> dict:
        return {"loss": design["lanes"] + design["x"]}

    ag.search(bus, budget=8, agent="grid", folder=tmp_path / "study")
    build_dataset([tmp_path / "study"], tmp_path / "data")

    files = sorted((tmp_path / "data").rglob("*.parquet"))
    table = pd.concat([pq.read_table(file).to_pandas() for file in files])
    assert set(table["lanes"]) <= {1.0, 2.5, 4.0}
    assert len(table) == 8
