"""Spaces in which choices rule most parameters out."""

import numpy as np
import pytest

from archgym.spaces import counting as component
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Integer
from archgym.spaces.space import DesignSpace


def alternatives(n: int, width: int, size: int, is_tied: bool = False) -> DesignSpace:
    """A choice among `n` kinds, each with `width` parameters of its own."""
    kinds = tuple(f"k{kind}" for kind in range(n))
    names = [(kind, f"{kind}_{place}") for kind in kinds for place in range(width)]
    constraints = []
    if is_tied:
        constraints = [
            Constraint(f"{kind}_tie", P(f"{kind}_0") + P(f"{kind}_1") <= size, "Too much.")
            for kind in kinds
        ]
    return DesignSpace(
        "alternatives",
        [
            Categorical(name="kind", choices=kinds, doc="Which."),
            *(Integer(name=name, low=0, high=size - 1, doc="Its.") for _, name in names),
        ],
        constraints,
        [Condition(name, P("kind") == kind) for kind, name in names],
    )


def test_designs_of_a_huge_conditional_space_are_counted_exactly() -> None:
    space = alternatives(4, 6, 8)
    huge = alternatives(5, 40, 10)

    assert space.size == 4 * 8**24
    assert str(space.count()) == f"{4 * 8**6:,}"
    assert huge.count().value == 5 * 10**40
    assert huge.count().exact


def test_samples_of_it_are_canonical_and_uniform() -> None:
    space = alternatives(4, 6, 8)

    indices = space.sample(8000, np.random.default_rng(0))

    assert space.is_canonical(indices).all()
    assert np.bincount(indices[:, 0]) == pytest.approx([2000] * 4, rel=0.1)
    for place in range(6):
        own = indices[indices[:, 0] == 2, 1 + 2 * 6 + place]
        assert np.bincount(own, minlength=8) == pytest.approx([250] * 8, rel=0.25)
    assert space.sample(5, np.random.default_rng(1)).tolist() == (
        space.sample(5, np.random.default_rng(1)).tolist()
    )


def test_kinds_are_as_frequent_as_they_have_designs() -> None:
    names = [f"p{place}" for place in range(6)]
    space = DesignSpace(
        "uneven",
        [
            Categorical(name="kind", choices=("few", "many"), doc="Which."),
            Integer(name="only", low=0, high=9, doc="Of few."),
            *(Integer(name=name, low=0, high=9, doc="Of many.") for name in names),
        ],
        conditions=[
            Condition("only", P("kind") == "few"),
            *(Condition(name, P("kind") == "many") for name in names),
        ],
    )

    indices = space.sample(3000, np.random.default_rng(0))

    assert space.count().value == 10 + 10**6
    assert (indices[:, 0] == 1).sum() > 2980


def test_masks_of_it_know_what_has_a_feasible_completion() -> None:
    space = alternatives(2, 6, 8, is_tied=True)

    # The constraint is on the canonical form, so just the kind's own parameters are bound.
    prefix = [1, *[0] * 6, 5]
    assert space.masks(prefix).tolist() == [True] * 4 + [False] * 4
    assert space.masks([]).all()
    assert space.masks([0, 7]).tolist() == [True, True, *[False] * 6]


@pytest.mark.parametrize("is_tied", [False, True])
def test_it_is_what_going_through_all_combinations_gives(
    monkeypatch: pytest.MonkeyPatch, is_tied: bool
) -> None:
    whole = alternatives(3, 3, 3, is_tied)
    designs = np.concatenate(list(whole.enumerate(canonical=True)))
    expected = len(designs)
    assert whole.count().value == expected
    masks = [whole.masks(design[:n].tolist()) for design in designs[::7] for n in range(10)]

    monkeypatch.setattr(component, "_TABLE_LIMIT", 3**7)
    monkeypatch.setattr(component, "_COUNT_LIMIT", 0)
    other = alternatives(3, 3, 3, is_tied)

    assert other.count() == component.Count(expected, expected, expected, True)
    again = [other.masks(design[:n].tolist()) for design in designs[::7] for n in range(10)]
    assert all(np.array_equal(one, two) for one, two in zip(masks, again, strict=True))
    assert all(
        np.array_equal(one, two)
        for one, two in zip(whole.marginal_masks(), other.marginal_masks(), strict=True)
    )


def test_space_whose_core_is_large_too_is_estimated_and_sampled_evenly() -> None:
    # Each kind's parameters are all in a constraint, so that none is loose.
    kinds = tuple(f"k{kind}" for kind in range(4))
    names = {kind: [f"{kind}_{place}" for place in range(6)] for kind in kinds}
    sums = {kind: sum((P(n) for n in own[1:]), start=P(own[0])) for kind, own in names.items()}
    space = DesignSpace(
        "tied",
        [
            Categorical(name="kind", choices=kinds, doc="Which."),
            *(Integer(name=n, low=0, high=7, doc="Its.") for own in names.values() for n in own),
        ],
        [Constraint(f"sum_{k}", total <= 21, "Too much.") for k, total in sums.items()],
        [Condition(n, P("kind") == k) for k, own in names.items() for n in own],
    )
    grid = np.indices((8,) * 6).sum(axis=0)
    exact = 4 * int((grid <= 21).sum())

    counted = space.count()
    indices = space.sample(4000, np.random.default_rng(0))

    assert not counted.exact
    assert counted.low <= exact <= counted.high
    assert counted.value == pytest.approx(exact, rel=0.02)
    assert space.is_canonical(indices).all()
    assert space.feasible(indices).all()
    assert np.bincount(indices[:, 0]) == pytest.approx([1000] * 4, rel=0.15)
