"""The study of transfer: its page, and its counts of evaluations."""

import math
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "experiments"))
    yield import_module("transfer")
    sys.path.remove(str(ROOT / "experiments"))


@pytest.mark.slow
def test_page_and_data_of_transfer_agree(study: Any) -> None:
    tables = study.page(ROOT / "experiments" / "data" / "transfer.csv")

    assert (
        f"{study.START}\n\n{tables}\n\n{study.END}"
        in (ROOT / "experiments" / "warm-start.md").read_text()
    )


def test_run_that_does_not_arrive_counts_as_one_more_than_its_budget(study: Any) -> None:
    curves = [np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.5, 0.5]), np.array([1.0, 1.0, 1.0])]

    assert study.to_within(curves, 1.0).tolist() == [3.0, 4.0, 1.0]


def test_ratio_of_a_workload_is_that_of_geometric_means(study: Any) -> None:
    cold = [np.repeat([0.0, 1.0], [1, 3]), np.repeat([0.0, 1.0], [3, 1])]
    warm = [np.repeat([0.0, 1.0], [0, 4]), np.repeat([0.0, 1.0], [1, 3])]
    measured = study.Measured.of({"w": {"cold": cold, "near": warm}}, ["cold", "near"])

    assert measured.means("cold")[0] == pytest.approx(math.sqrt(2 * 4))
    assert measured.means("near")[0] == pytest.approx(math.sqrt(1 * 2))
