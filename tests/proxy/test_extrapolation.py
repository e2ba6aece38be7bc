from dataclasses import fields

import numpy as np
import pytest

from archgym.datasets.dataset import Dataset
from archgym.proxy import Proxy, TrainOptions, model_kind, train
from archgym.proxy.extrapolation import Familiarity
from archgym.proxy.workload_model import Part
from tests.proxy.toydata import toy_dataset
from tests.toys import SPACE

QUICK = {"n_trees": 4, "n_randomised": 2, "min_samples_leaf": 1}
NO_FACTS = np.zeros(0)
ROWS = ("indices", "values", "feasible", "workload", "agent", "step")


def rows_of(dataset: Dataset, mask: np.ndarray) -> Dataset:
    parts = {f.name: getattr(dataset, f.name) for f in fields(dataset)}
    return Dataset(**{**parts, **{name: parts[name][mask] for name in ROWS}})


def is_fast(dataset: Dataset) -> np.ndarray:
    return np.asarray(dataset.indices[:, 0] == 2)


@pytest.fixture(scope="module")
def whole() -> Dataset:
    dataset = toy_dataset(500)
    return rows_of(dataset, dataset.feasible & (dataset.workload == 0))


@pytest.fixture(scope="module")
def slow(whole: Dataset) -> Proxy:
    return train(rows_of(whole, ~is_fast(whole)), TrainOptions("forest", setting=QUICK))


def test_new_values_and_pairs_are_told_apart() -> None:
    seen = np.array([[0, 0, 0, 0, 0], [1, 1, 0, 0, 0]])

    familiarity = Familiarity.of(SPACE, seen)

    asked = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [2, 1, 0, 0, 0]])
    assert familiarity.novelty(asked).tolist() == [0, 1, 2]


def test_intervals_hold_designs_of_a_mode_that_was_never_seen(whole: Dataset, slow: Proxy) -> None:
    part, fast = slow.parts[0], rows_of(whole, is_fast(whole))
    level = 0.9

    low, high = part.interval(fast.indices, NO_FACTS, level)

    held = ((low <= fast.values) & (fast.values <= high)).mean(axis=0)
    assert held[0] > 0.8
    width = part.quantiles[2] * part.spread(fast.indices, NO_FACTS)
    error = np.abs(
        part.scaling.scaled(part.predict(fast.indices, NO_FACTS)) - part.scaling.scaled(fast.values)
    )
    assert (error <= width).mean(axis=0)[0] < held[0]


def test_intervals_of_what_was_seen_stay_narrow(whole: Dataset, slow: Proxy) -> None:
    part = slow.parts[0]
    known = rows_of(whole, ~is_fast(whole)).indices[:100]
    fast = known.copy()
    fast[:, 0] = 2

    ends = [part.interval(designs, NO_FACTS, 0.9) for designs in (known, fast)]

    # As a factor, since latency is learned as a logarithm.
    widths = [np.median(high[:, 0] / low[:, 0]) for low, high in ends]
    assert widths[1] > 1.2 * widths[0]
    least = 2 * part.beyond[1, 2, 0] * part.scaling.factor[0]
    assert (np.log(ends[1][1] / ends[1][0])[:, 0] >= least - 1e-9).all()


def test_unseen_workload_has_intervals_as_wide_as_workloads_differ() -> None:
    dataset = toy_dataset(300, facts=True)
    options = TrainOptions("forest", workloads="joint", setting=QUICK)
    part = train(dataset, options).parts[0]
    here = rows_of(dataset, dataset.feasible & (dataset.workload == 0))

    ends = [
        part.interval(here.indices, np.array([0.0]), 0.9, is_new=is_new) for is_new in (False, True)
    ]

    spans = [np.log(high / low)[:, 0] for low, high in ends]
    # The heavy workload takes up to three times as long as the light one.
    assert np.median(spans[0]) < 1.0
    assert (spans[1] > 1.0).all()


def test_file_that_claims_intervals_below_nothing_is_refused(slow: Proxy) -> None:
    part = slow.parts[0]
    data = part.to_json()
    data["beyond"][1][0][0] = -1.0

    with pytest.raises(ValueError, match="no number below 0"):
        Part.from_data(data, dict(part.arrays()), SPACE, 4, model_kind("forest"))
