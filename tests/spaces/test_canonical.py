"""Tests of canonical forms and constraints that are looked up."""

import numpy as np
import pytest

from archgym.errors import InvalidDesignError
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.spaces.symmetry import earlier
from archgym.testing import ProvingSimulator
from tests.toys import SPACE

TWO_CONSTRAINTS = DesignSpace(
    "two",
    [Integer(name=name, low=0, high=4, doc="A number.") for name in "abcd"],
    constraints=[
        Constraint("late", P("c") + P("d") <= 6, "c and d are too large."),
        Constraint("early", P("a") + P("b") <= 5, "a and b are too large."),
        Constraint("again", P("c") <= 3, "c is too large."),
    ],
    conditions=[Condition("d", P("c") >= 2)],
    doc="Two components, whose constraints take turns.",
)
SPACES = [
    SPACE,
    TWO_CONSTRAINTS,
    *(ProvingSimulator(space).space for space in ProvingSimulator.spec.space_names),
]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("limit", [0, 30])
def test_looked_up_forms_are_those_that_the_rules_give(
    space: DesignSpace, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.spaces.space.TABLE_LIMIT", limit)
    ruled = DesignSpace.from_json(space.to_json())
    indices = np.random.default_rng(0).integers(space.sizes, size=(3000, space.n_parameters))
    given = indices.copy()

    assert np.array_equal(ruled.canonical(indices), space.canonical(indices))
    assert np.array_equal(ruled.active(indices), space.active(indices))
    assert np.array_equal(ruled.violations(indices), space.violations(indices))
    assert np.array_equal(indices, given)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_canonical_forms_of_small_batches_are_the_callers_own(space: DesignSpace) -> None:
    rng = np.random.default_rng(0)
    for indices in rng.integers(space.sizes, size=(20, 8, space.n_parameters)):
        expected = space.canonical(np.concatenate([indices] * 20))[:8]
        for _ in range(3):
            found = space.canonical(indices)
            assert np.array_equal(found, expected)
            found[:] = -1


def test_first_constraint_in_the_order_of_the_space_is_named() -> None:
    broken = TWO_CONSTRAINTS.violations(
        np.array([[4, 4, 4, 4], [4, 4, 4, 0], [0, 0, 4, 0], [0, 0, 0, 4]])
    )

    assert broken.tolist() == [0, 1, 2, -1]


def test_earlier_constraint_counts_and_none_is_last() -> None:
    one, other = np.array([-1, -1, 2, 3]), np.array([-1, 4, -1, 1])

    assert earlier(one, other).tolist() == [-1, 4, 2, 1]


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint64, np.uint8])
def test_indices_of_any_whole_kind_are_checked(kind: type) -> None:
    high: np.ndarray = np.array([[0, 0, 0, 11, 0]], dtype=kind)

    SPACE.check_indices(high - high.dtype.type(1) * (high > 0))
    with pytest.raises(InvalidDesignError, match="must be 0 to 10; got 11"):
        SPACE.check_indices(high)
    if np.dtype(kind).kind == "i":
        with pytest.raises(InvalidDesignError, match="must be 0 to 2; got -1"):
            SPACE.check_indices(np.array([[-1, 0, 0, 0, 0]], dtype=kind))
