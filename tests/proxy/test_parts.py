"""Proxies learn the part train, and are judged on the part test and on workloads left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.datasets.dataset import Dataset
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.proxy import Proxy, TrainOptions, judge, train
from archgym.proxy.fitting import distinct_rows
from archgym.proxy.proxy import ProxySimulator
from archgym.proxy.verified_search import search_on_proxy
from tests.proxy.toydata import toy_dataset
from tests.toys import ToySimulator

OPTIONS = TrainOptions(model="linear", setting={"degree": 1, "alpha": 0.01})
JOINT = replace(OPTIONS, workloads="joint")


@pytest.fixture
def dataset() -> Dataset:
    whole = toy_dataset(facts=True)
    first, added = whole.workloads[0], whole.rows(whole.workload == 0)
    third = replace(first, name="third", digest="3" * 64, facts={"load": (2.0, "1")})
    workloads = (*whole.workloads, third)
    more = replace(added, values=1.5 * added.values, workload=added.workload + 2)
    names = ("indices", "values", "feasible", "workload", "agent", "step")
    arrays = {n: np.concatenate([getattr(whole, n), getattr(more, n)]) for n in names}
    declaration = replace(whole.declaration, workloads=workloads)
    whole = replace(whole, declaration=declaration, **arrays)
    parts = np.array(["train", "test", "validation", "train"])
    # By design, each of which comes once for each workload.
    n = len(whole) // len(whole.workloads)
    return replace(whole, split=np.tile(parts[np.arange(n) % 4], len(whole.workloads)))


def test_proxy_of_a_dataset_in_parts_learns_train_alone(dataset: Dataset) -> None:
    proxy = train(dataset, OPTIONS)
    alone = train(replace(dataset.rows(dataset.split == "train"), split=None), OPTIONS)

    learned = distinct_rows(dataset.rows(dataset.split == "train"))
    assert (proxy.about["part"], proxy.about["distinct_rows"]) == ("train", len(learned))
    for one, other in zip(proxy.parts, alone.parts, strict=True):
        facts = np.zeros(0)
        values = (part.predict(dataset.indices[:20], facts) for part in (one, other))
        assert np.array_equal(*values)


def test_errors_on_the_test_part_come_with_its_count(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, OPTIONS).save(tmp_path / "proxy.npz")
    proxy = Proxy.load(tmp_path / "proxy.npz")

    tested = distinct_rows(dataset.rows(dataset.split == "test"))
    errors = proxy.errors["test part"]
    for place, workload in enumerate(dataset.workloads):
        here = tested.feasible & (tested.workload == place)
        assert {each["n"] for each in errors[workload.name].values()} == {int(here.sum())}


def test_workload_that_is_left_out_is_judged_and_not_learned(dataset: Dataset) -> None:
    name = dataset.workloads[0].name

    proxy = train(dataset, JOINT, left_out=[name])

    assert name not in [workload.name for workload in proxy.declaration.workloads]
    assert list(proxy.errors["left-out workload"]) == [name]
    assert name not in proxy.errors["test part"]
    rows = dataset.rows(dataset.workload == 0)
    assert judge(proxy, rows)[name] == proxy.errors["left-out workload"][name]


def test_search_on_a_proxy_takes_a_shipped_workload_that_was_left_out(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = dataset.workloads[0]
    train(dataset, JOINT, left_out=[left.name]).save(tmp_path / "p.npz")
    proxy, toy = ProxySimulator(tmp_path / "p.npz"), ToySimulator()
    monkeypatch.setattr(proxy, "simulator", lambda: toy)
    monkeypatch.setattr(toy, "describe_workload", lambda workload: left.facts, raising=False)

    found = search_on_proxy(proxy, left.name, budget=20, n_verified=2)

    assert len(found.rows) == 2


def test_workload_is_left_out_of_joint_models_alone(dataset: Dataset) -> None:
    with pytest.raises(InvalidArgumentError, match="workloads are joint"):
        train(dataset, OPTIONS, left_out=[dataset.workloads[0].name])
    with pytest.raises(UnknownNameError, match="no-such"):
        train(dataset, JOINT, left_out=["no-such"])


def test_proxy_is_not_judged_on_a_workload_that_it_cannot_predict(dataset: Dataset) -> None:
    proxy = train(dataset.rows(dataset.workload == 1), OPTIONS)

    with pytest.raises(InvalidArgumentError, match="cannot predict workload"):
        judge(proxy, dataset)
