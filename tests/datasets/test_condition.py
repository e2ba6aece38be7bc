from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from archgym.datasets import Split, build_dataset
from archgym.datasets.region import Condition, parse_condition
from archgym.datasets.stored import open_stored
from archgym.errors import InvalidArgumentError
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace
from archgym.studies.study import Study
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator
from tests.toys import ToySimulator

CHOICES = ("plain", "a,b", "a", 'say "b"', "x=1", "n<2", " padded")


class WordySimulator(Simulator):
    """Its values hold what conditions are written with."""

    spec = SimulatorSpec(
        name="wordy",
        version=0,
        metrics=ToySimulator.spec.metrics[:1],
        objectives={"low-latency": ToySimulator.spec.objectives["low-latency"]},
        default_objective="low-latency",
        default_workload="light",
        space=DesignSpace(
            "wordy",
            [
                Categorical(name="word", choices=CHOICES, doc="A word."),
                Integer(name="n", low=0, high=3, doc="A number."),
            ],
        ),
    )

    def workload_names(self) -> tuple[str, ...]:
        return ("light",)

    def workload(self, name: str | Path) -> Workload:
        return Workload(str(name), "0" * 64, None)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        values = 1.0 + indices.sum(axis=1, keepdims=True).astype(np.float64)
        return BatchResult(values, np.zeros(len(indices), dtype=np.int16))


def whole_space(folder: Path, simulator: Simulator, split: Split | None = None) -> Path:
    """A dataset of every design."""
    task = Task.make(simulator)
    with Study.log(folder / "study", task) as log:
        log.evaluate(np.concatenate(list(task.space.enumerate(canonical=True))))
    return build_dataset(folder / "study", folder / "data", split=split).path


def held_out(folder: Path, simulator: Simulator, *texts: str) -> pd.DataFrame:
    split = Split("region", 0.0, hold_out=texts)
    rows = pd.read_parquet(whole_space(folder, simulator, split) / "data")
    return rows[rows["split"] == "test"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("word=a,b", {"a,b"}),
        ('word="a,b",plain', {"a,b", "plain"}),
        ("word=a, plain", {"a", "plain"}),
        ('word="say ""b"""', {'say "b"'}),
        ("word=x=1", {"x=1"}),
        ("word=n<2", {"n<2"}),
    ],
)
def test_values_may_hold_commas_quotes_and_signs(
    tmp_path: Path, text: str, values: set[str]
) -> None:
    assert set(held_out(tmp_path, WordySimulator(), text)["word"]) == values


def test_condition_is_written_as_it_is_read(tmp_path: Path) -> None:
    about = open_stored(whole_space(tmp_path, WordySimulator())).about

    for value in CHOICES[:-1]:
        condition = Condition("word", "=", (value, "plain"))
        assert parse_condition(str(condition), about) == condition


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("loops=k x y z", lambda loops, tiles: loops == ["k", "x", "y", "z"]),
        ('loops=["k","x","y","z"]', lambda loops, tiles: loops == ["k", "x", "y", "z"]),
        ("loops=k x ...", lambda loops, tiles: loops[:2] == ["k", "x"]),
        ("loops=k …,x y ...", lambda loops, tiles: loops[0] == "k" or loops[:2] == ["x", "y"]),
        ("tiles=4 3 2", lambda loops, tiles: tiles == [4, 3, 2]),
        ("tiles=4 ...", lambda loops, tiles: tiles[0] == 4),
    ],
)
def test_orders_and_factors_are_held_out(tmp_path: Path, text: str, fits: Any) -> None:
    split = Split("region", 0.0, hold_out=(text,))
    folder = whole_space(tmp_path, ProvingSimulator("mapping", has_failures=False), split)
    rows = pd.read_parquet(folder / "data")

    wanted = [
        fits(list(loops), list(tiles))
        for loops, tiles in zip(rows["loops"], rows["tiles"], strict=True)
    ]
    assert (rows["split"] == "test").tolist() == wanted
    assert 0 < sum(wanted) < len(rows)


def test_region_of_orders_is_chosen_where_there_is_nothing_else(tmp_path: Path) -> None:
    split = Split("region", 0.0, 0.2)
    folder = whole_space(tmp_path, ProvingSimulator("mapping", has_failures=False), split)

    about = open_stored(folder).about
    assert about.split is not None
    (text,) = about.split["hold_out"]
    assert text.endswith(" ...")
    assert str(parse_condition(text, about)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("loops=k x", "Write them apart by spaces"),
        ("loops=k k ...", "must begin as an order of x, y, z, k can"),
        ("loops=...", "must begin as"),
        ("loops>=k", "must be a number to be compared with >="),
        ("tiles=5 ...", "must begin as 3 whole factors"),
        ("tiles=a b c", "Write them apart by spaces"),
        ("tiles=0 ...", "must begin as"),
        ('fixed="only', "with double quotes around a value that holds a comma"),
    ],
)
def test_other_orders_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    folder = whole_space(tmp_path, ProvingSimulator("mapping", has_failures=False))

    with pytest.raises(InvalidArgumentError, match=problem) as caught:
        parse_condition(text, open_stored(folder).about)
    assert "\n" not in str(caught.value)
