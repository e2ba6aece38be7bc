"""Tests of Pareto fronts, hypervolumes and ADRS."""

import math
from typing import Any

import numpy as np
import pytest

from archgym.analysis import pareto
from archgym.errors import InvalidArgumentError
from archgym.evaluation.objective import Objective, Term, reference_point
from tests.toys import ToySimulator, toy_task


def sphere(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Points none of which dominates another."""
    points = np.abs(rng.normal(size=(n, k)))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def random_points(n: int, k: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Points that are hard in several ways."""
    return {
        "uniform": rng.random((n, k)),
        "ties": rng.integers(0, 4, size=(n, k)).astype(np.float64),
        "sphere": sphere(n, k, rng),
    }


def non_dominated(points: np.ndarray) -> np.ndarray:
    """The definition, point by point."""
    beaten = [((points >= p).all(axis=1) & (points > p).any(axis=1)).any() for p in points]
    return ~np.array(beaten, dtype=bool)


def covered_volume(points: np.ndarray, corner: float) -> float:
    """The volume of the boxes between all coordinates that some point covers."""
    edges = [np.unique([corner, *column[column > corner]]) for column in points.T]
    tops = np.stack(np.meshgrid(*(e[1:] for e in edges), indexing="ij"), axis=-1)
    sizes = np.ones(1)
    for edge in edges:
        sizes = np.multiply.outer(sizes, np.diff(edge))
    is_covered = np.zeros(tops.shape[:-1], dtype=bool)
    for point in points:
        is_covered |= (tops <= point).all(axis=-1)
    return math.fsum(sizes[0][is_covered].tolist())


# ---- front


def test_front_is_what_none_dominates() -> None:
    values = np.array([[1.0, 5.0], [2.0, 4.0], [2.0, 3.0], [4.0, 1.0], [0.0, 0.0]])

    assert pareto.front(values).tolist() == [True, True, False, True, False]


def test_equal_points_are_on_the_front_together() -> None:
    values = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])

    assert pareto.front(values).tolist() == [True, True, True, False, False]


def test_point_that_is_as_good_in_one_column_is_dominated() -> None:
    assert pareto.front(np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 1.0]])).tolist() == [True, False]


def test_front_of_one_column_is_its_largest() -> None:
    assert pareto.front(np.array([[1.0], [3.0], [3.0]])).tolist() == [False, True, True]


def test_front_of_nothing_is_empty() -> None:
    assert pareto.front(np.empty((0, 3))).tolist() == []


def test_infinite_values_are_compared() -> None:
    values = np.array([[-np.inf, np.inf], [0.0, 0.0], [-np.inf, 0.0]])

    assert pareto.front(values).tolist() == [True, True, False]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("n", [1, 7, 200, 900])
def test_front_agrees_with_its_definition(n: int, k: int) -> None:
    for points in random_points(n, k, np.random.default_rng(k * n)).values():
        assert np.array_equal(pareto.front(points), non_dominated(points))


@pytest.mark.parametrize("k", [2, 3, 4, 6])
def test_front_of_infinite_values_agrees_with_its_definition(k: int) -> None:
    rng = np.random.default_rng(k)
    for n in range(1, 40):
        points = rng.choice([-np.inf, -1.0, 0.0, 1.0, np.inf], size=(n, k))

        assert np.array_equal(pareto.front(points), non_dominated(points))


def test_zeros_of_both_signs_are_equal() -> None:
    points = np.array([[0.0, 1.0, 0.0], [-0.0, 1.0, 0.0], [0.0, 0.5, -0.0]])

    assert pareto.front(points).tolist() == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 3, 4])
def test_front_of_many_points_dominates_all_others_and_itself_nowhere(k: int) -> None:
    for points in random_points(100_000, k, np.random.default_rng(k)).values():
        mask = pareto.front(points)
        best = np.unique(points[mask], axis=0)[:2000]

        assert non_dominated(best).all()
        for point in points[~mask][:500]:
            better = points[mask]
            assert ((better >= point).all(axis=1) & (better > point).any(axis=1)).any()


@pytest.mark.parametrize(
    "values",
    [np.zeros(3), np.zeros((3, 0)), np.zeros((3, 32)), np.array([[np.nan, 1.0]])],
)
def test_what_are_no_points_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="`values`"):
        pareto.front(values)


# ---- hypervolume


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([[3.0]], 3.0),
        ([[2.0, 3.0]], 6.0),
        ([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]], 6.0),
        ([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 2.0]], 4.0),
        ([[2.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 3.0]], 4.0),
        ([[1.0, 1.0, 1.0, 1.0, 2.0], [2.0, 2.0, 1.0, 1.0, 1.0]], 5.0),
    ],
)
def test_hypervolume_of_boxes(points: list[list[float]], volume: float) -> None:
    assert pareto.hypervolume(np.array(points), np.zeros(len(points[0]))) == volume


def test_hypervolume_counts_from_its_reference() -> None:
    assert pareto.hypervolume(np.array([[2.0, 3.0]]), [1.0, -1.0]) == 4.0


def test_points_that_do_not_exceed_the_reference_add_nothing() -> None:
    points = np.array([[2.0, 2.0], [5.0, 0.0], [9.0, -1.0], [1.0, 1.0]])

    assert pareto.hypervolume(points, [0.0, 0.0]) == 4.0


def test_hypervolume_of_nothing_is_zero() -> None:
    assert pareto.hypervolume(np.empty((0, 2)), [0.0, 0.0]) == 0.0


@pytest.mark.parametrize(("k", "n"), [(1, 50), (2, 60), (3, 40), (4, 20), (5, 10), (6, 6)])
@pytest.mark.parametrize("corner", [-0.1, 0.2])
def test_hypervolume_is_the_volume_that_points_cover(n: int, k: int, corner: float) -> None:
    for points in random_points(n, k, np.random.default_rng(k)).values():
        found = pareto.hypervolume(points, np.full(k, corner))

        assert found == pytest.approx(covered_volume(points, corner), rel=1e-12)


def test_hypervolume_does_not_depend_on_the_order_of_points() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 5, size=(80, 4)).astype(np.float64)

    volumes = {pareto.hypervolume(rng.permutation(points), np.zeros(4)) for _ in range(5)}

    assert len(volumes) == 1


@pytest.mark.parametrize(
    ("points", "reference"),
    [
        ([[1.0, 2.0]], [0.0]),
        ([[1.0, 2.0]], [0.0, math.nan]),
        ([[math.inf, 2.0]], [0.0, 0.0]),
    ],
)
def test_reference_that_does_not_fit_is_refused(points: Any, reference: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`reference`"):
        pareto.hypervolume(np.array(points), reference)


def test_hypervolume_that_could_take_minutes_is_left_out() -> None:
    points = np.ones((101, 9))

    assert pareto.quick_hypervolume(points, np.zeros(9)) is None
    assert pareto.quick_hypervolume(points[:60], np.zeros(9)) == 1.0
    assert pareto.quick_hypervolume(np.ones((100_000, 3)), np.zeros(3)) == 1.0


# ---- ADRS

# Area and time, less is better.
EXACT = np.array([[100.0, 40.0], [200.0, 20.0]])
FOUND = np.array([[110.0, 42.0], [300.0, 20.0], [200.0, 26.0]])


def test_adrs_is_the_mean_of_the_least_relative_losses() -> None:
    # The first is missed by 10 % of area, the second by 30 % of time: less than by 50 % of area.
    assert pareto.adrs(-np.log(FOUND), -np.log(EXACT)) == pytest.approx((0.10 + 0.30) / 2)


def test_adrs_of_the_exact_front_is_zero() -> None:
    assert pareto.adrs(-np.log(EXACT), -np.log(EXACT)) == 0.0


def test_what_is_better_than_exact_is_no_distance() -> None:
    assert pareto.adrs(-np.log(EXACT / 2), -np.log(EXACT)) == 0.0


def test_adrs_of_nothing_is_infinite() -> None:
    assert pareto.adrs(np.empty((0, 2)), -np.log(EXACT)) == math.inf


def test_adrs_in_parts_is_adrs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    found, exact = rng.random((40, 3)), rng.random((50, 3))
    whole = pareto.adrs(found, exact)
    monkeypatch.setattr(pareto, "_MAX_DISTANCES", 500)

    assert pareto.adrs(found, exact) == whole


@pytest.mark.parametrize("exact", [np.empty((0, 2)), np.zeros((3, 3))])
def test_exact_front_that_does_not_fit_is_refused(exact: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="`exact`"):
        pareto.adrs(np.zeros((1, 2)), exact)


# ---- reference point


def corner(objective: Objective) -> np.ndarray:
    task = toy_task({"light": 2.0, "heavy": 1.0})
    return reference_point(objective, task.reference, task.metrics, task.weights)


def test_reference_point_is_twice_as_bad_as_the_default_design() -> None:
    objective = Objective("o", (Term("latency_ns", "minimise"), Term("throughput_gbs", "maximise")))

    assert corner(objective) == pytest.approx([-math.log(2), -math.log(2)])


def test_reference_point_is_below_what_the_default_design_misses_of_a_target() -> None:
    task = toy_task("light")
    power = task.reference[0][1]
    target = (power + 0.1) / 4 - 0.1
    objective = Objective("o", (Term("power_mw", "at-most", target=target),))

    found = reference_point(objective, task.reference, task.metrics, task.weights)

    assert found == pytest.approx([-math.log(8)])


def test_reference_point_of_the_published_form_is_zero() -> None:
    objective = Objective("o", (Term("latency_ns", "archgym-2023", target=50.0),))

    assert corner(objective).tolist() == [0.0]


def test_default_design_of_the_toy_has_a_hypervolume_of_its_own() -> None:
    task = toy_task("light", ToySimulator.spec.objectives["balanced"].name)
    default = task.space.default_indices[None, :]
    terms = task.trials(default, task.evaluate(default), np.zeros(1, dtype=bool)).terms

    assert pareto.hypervolume(terms, corner(task.objective)) == pytest.approx(math.log(2) ** 2)
