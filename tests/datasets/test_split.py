import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from archgym.datasets import Split, build_dataset, merge_datasets, read_dataset, split_dataset
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.studies.study import Study
from tests.datasets.making import mixture, search
from tests.toys import CountingAgent, ToyAgent, toy_task


def frame(dataset: Path) -> pd.DataFrame:
    """All parts."""
    return pd.read_parquet(dataset / "data" if dataset.is_dir() else dataset)


def parts_of(rows: pd.DataFrame, name: str) -> pd.Series:
    """How many parts each value of a column is in."""
    return rows.groupby(name, observed=True)["split"].nunique()


def test_design_is_in_one_part_over_all_studies_and_workloads(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", 0.2, 0.2))

    rows = frame(dataset)

    assert set(rows["split"]) == {"train", "validation", "test"}
    assert rows["design"].duplicated().any()
    assert (parts_of(rows, "design") == 1).all()
    for part in ("train", "validation", "test"):
        path = dataset / "data" / f"{part}-00000-of-00001.parquet"
        assert set(pd.read_parquet(path)["split"]) == {part}


def test_design_is_in_the_same_part_of_every_dataset(tmp_path: Path) -> None:
    mixture(tmp_path)
    split = Split("design", 0.2, 0.2, seed=4)

    build_dataset(tmp_path / "study-1", tmp_path / "one", split=split)
    studies = [tmp_path / f"study-{n}" for n in (3, 2, 1)]
    build_dataset(studies, tmp_path / "all", split=split)
    other = Split("design", 0.2, 0.2, seed=5)
    build_dataset(studies, tmp_path / "other", split=other)

    one, whole, another = (
        frame(tmp_path / name).drop_duplicates("design").set_index("design")["split"].astype(str)
        for name in ("one", "all", "other")
    )
    assert (whole[one.index] == one).all()
    assert (another != whole[another.index]).any()


def test_designs_of_equal_outcome_are_in_one_part(tmp_path: Path) -> None:
    # The toy knows banks and depth just by their product.
    combinations = itertools.product(range(3), range(5), range(8))
    batch = np.array([[mode, banks, depth, 3, 0] for mode, banks, depth in combinations])
    with Study.log(tmp_path / "a", toy_task()) as log:
        log.evaluate(batch)

    by_design = build_dataset(tmp_path / "a", tmp_path / "x", split=Split("design", 0.2, 0.3))
    by_outcome = build_dataset(
        tmp_path / "a", tmp_path / "y", split=Split("design", 0.2, 0.3, group="outcome")
    )

    metrics = ["latency_ns", "power_mw", "throughput_gbs", "entries"]
    counts = [
        frame(tmp_path / name).groupby(metrics)["split"].nunique().max() for name in ("x", "y")
    ]
    assert by_design.rows == by_outcome.rows
    assert counts[0] > 1
    assert counts[1] == 1
    assert "make" in str(by_outcome.statement)


def test_region_is_held_out_as_asked(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)

    split = Split("region", 0.2, hold_out=("banks>=8", "mode=off, slow"))
    rows = frame(split_dataset(dataset, split, tmp_path / "out").path)

    is_held_out = (rows["banks"] >= 8) | rows["mode"].isin(["off", "slow"])
    assert (rows["split"] == "test").tolist() == is_held_out.tolist()
    assert (parts_of(rows, "design") == 1).all()


def test_region_is_chosen_where_none_is_asked_for(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)

    written = split_dataset(dataset, Split("region", 0.0, 0.3), tmp_path / "out")

    assert "chosen as it explains" in str(written.statement)
    assert written.shared["test"] == 0
    assert 0.1 < written.parts["test"] / written.rows < 0.6


@pytest.mark.parametrize("by", ["workload", "agent"])
def test_whole_workloads_and_agents_are_held_out(tmp_path: Path, by: Any) -> None:
    search(tmp_path / "a")
    search(tmp_path / "b", toy_task("heavy"), seed=2)
    Study.create(tmp_path / "c", toy_task(), CountingAgent, seed=1, budget=20).run()
    studies = [tmp_path / name for name in "abc"]
    name = {"workload": "heavy", "agent": "counting"}[by]

    drawn = build_dataset(studies, tmp_path / "x", split=Split(by, 0.0, 0.5))
    chosen = build_dataset(studies, tmp_path / "y", split=Split(by, hold_out=(name,)))

    rows = frame(tmp_path / "y")
    assert set(rows[rows["split"] == "test"][by]) == {name}
    assert name not in set(rows[rows["split"] == "train"][by])
    assert (parts_of(frame(tmp_path / "x"), by) == 1).all()
    assert drawn.parts["test"] > 0 < chosen.parts["test"]


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_whole_names_are_shares_of_rows(tmp_path: Path, seed: int) -> None:
    names = ["light", "heavy", "light"]
    for place, (name, budget) in enumerate(zip(names, (15, 20, 48), strict=True)):
        Study.create(
            tmp_path / str(place), toy_task(name), ToyAgent, seed=place, budget=budget
        ).run()
    # It asks for few designs again and again, and repeated asks are no rows.
    Study.create(tmp_path / "3", toy_task(), CountingAgent, seed=1, budget=20).run()
    studies = [tmp_path / str(place) for place in range(4)]

    by_workload = build_dataset(studies, tmp_path / "x", split=Split("workload", 0.1, 0.1, seed))
    by_agent = build_dataset(studies, tmp_path / "y", split=Split("agent", 0.1, 0.1, seed))

    assert by_workload.parts == {"train": 66, "validation": 0, "test": 20}
    assert by_agent.parts == {"train": 83, "validation": 0, "test": 3}


def test_random_split_says_that_it_leaks(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("random", 0.2, 0.2))

    assert (parts_of(frame(dataset), "design") > 1).any()
    assert "THIS LEAKS" in (dataset / "README.md").read_text()


def test_split_keeps_rows_and_can_be_made_anew(tmp_path: Path) -> None:
    dataset = mixture(tmp_path)

    first = split_dataset(dataset, Split("random", 0.2, 0.2), tmp_path / "first")
    second = split_dataset(first.path, Split("design", 0.2, 0.2), tmp_path / "second")
    direct = split_dataset(dataset, Split("design", 0.2, 0.2), tmp_path / "direct")

    keys = ["study_id", "step", "workload"]
    ours, theirs = (frame(w.path).sort_values(keys) for w in (second, direct))
    names = [name for name in ours if name not in keys]
    for name in names:
        assert ours[name].astype(str).tolist() == theirs[name].astype(str).tolist(), name
    assert second.duplicates == direct.duplicates


def test_merging_gives_parts_up(tmp_path: Path) -> None:
    dataset = mixture(tmp_path, Split("design", 0.2, 0.2))

    merged = merge_datasets([dataset], tmp_path / "merged")

    assert merged.parts == {"train": 120}
    assert read_dataset(merged.path).split is None


def test_single_table_has_the_column(tmp_path: Path) -> None:
    mixture(tmp_path)

    build_dataset(tmp_path / "study-1", tmp_path / "x.csv", split=Split("design", 0.0, 0.3))

    assert set(pd.read_csv(tmp_path / "x.csv")["split"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"by": "size"}, "`by` must be one of design, region"),
        ({"by": "design", "group": "x"}, "`group` must be one of"),
        ({"by": "region", "group": "outcome"}, '`group` must be "design"'),
        ({"by": "design", "test": 1.5}, "`test` must be a number from 0.0 to 1.0"),
        ({"by": "design", "test": 0.6, "validation": 0.5}, "leave something for training"),
        ({"by": "design", "test": 0.0, "validation": 0.0}, "not both be 0"),
        ({"by": "workload", "test": 0.0}, "`test` must be above 0"),
        ({"by": "design", "hold_out": ("banks=1",)}, "`hold_out` must be empty"),
        ({"by": "design", "seed": -1}, "`seed` must be a whole number"),
    ],
    ids=str,
)
def test_wrong_splits_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        Split(**arguments)


@pytest.mark.parametrize(
    ("split", "problem"),
    [
        (Split("region", hold_out=("banks",)), "A region must read"),
        (Split("region", hold_out=("bonks>=1",)), "'banks'"),
        (Split("region", hold_out=("mode>=1",)), "must be a number to be compared"),
        (Split("region", hold_out=("mode=idle",)), "one of off, slow, fast"),
        (Split("region", hold_out=("banks>=many",)), "must be compared with numbers"),
        (Split("region", hold_out=("banks>=1",)), "train would have none"),
        (Split("region", hold_out=("banks>=99",)), "test would have none"),
        (Split("workload", hold_out=("hevy",)), "'heavy'"),
        (Split("workload", hold_out=("heavy", "light")), "must be left for training"),
        (Split("agent"), "must be left for training"),
        (Split("design", test=1e-9), "test would have none of 120"),
    ],
    ids=str,
)
def test_splits_that_do_not_fit_the_dataset_are_refused(
    tmp_path: Path, split: Split, problem: str
) -> None:
    dataset = mixture(tmp_path)

    with pytest.raises((InvalidArgumentError, UnknownNameError), match=problem):
        split_dataset(dataset, split, tmp_path / "out")

    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".writing-*"))
