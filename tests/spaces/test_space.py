"""Tests of design spaces."""

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    InvalidDesignError,
    InvalidSpaceError,
    UnknownNameError,
)
from archgym.spaces.design import Condition, Constraint, Design
from archgym.spaces.expression import Expression, P
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Integer,
    Ordinal,
    Parameter,
    Permutation,
    PowerOfTwo,
    Real,
)
from archgym.spaces.space import DesignSpace
from archgym.testing import ProvingSimulator
from tests.toys import SPACE

A, B, C, D = (Integer(name=name, low=0, high=3) for name in "abcd")


@st.composite
def spaces(draw: Any) -> DesignSpace:
    """Small spaces with constraints and chains of conditions; the default is feasible."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    parameters: list[Parameter] = [
        Integer(name=f"p{i}", low=0, high=size - 1, default=draw(st.integers(0, size - 1)))
        for i, size in enumerate(sizes)
    ]
    place = st.integers(0, len(sizes) - 1)
    conditions = []
    for child in sorted(draw(st.sets(place, max_size=2))):
        parent = draw(place)
        if parent < child:
            conditions.append(Condition(f"p{child}", P(f"p{parent}") >= draw(st.integers(0, 3))))
    constraints = []
    bare = DesignSpace("bare", parameters, (), conditions)
    default = bare.columns(bare.canonical(bare.default_indices[None, :]))
    for number in range(draw(st.integers(0, 2))):
        one, other = P(f"p{draw(place)}"), P(f"p{draw(place)}")
        require = one + other <= draw(st.integers(0, 6))
        if draw(st.booleans()):
            require = ~require
        if np.all(require.evaluate(default)):
            constraints.append(Constraint(f"c{number}", require, f"Reason {number}."))
    return DesignSpace("drawn", parameters, constraints, conditions)


def everything(space: DesignSpace) -> np.ndarray:
    return np.array(list(np.ndindex(*space.sizes.tolist())), dtype=np.int64)


def kept(space: DesignSpace) -> np.ndarray:
    """Feasible canonical designs, by looking at each."""
    rows = everything(space)
    found: np.ndarray = rows[space.is_canonical(rows) & space.feasible(rows)]
    return found


# ---- properties


@settings(deadline=None)
@given(spaces())
def test_enumeration_runs_in_index_order_with_the_last_parameter_fastest(
    space: DesignSpace,
) -> None:
    rows = np.concatenate(list(space.enumerate(chunk=7)))

    assert np.array_equal(rows, everything(space))
    assert np.array_equal(space.flat(rows), np.arange(space.size))
    assert np.array_equal(space.unflat(np.arange(space.size)), rows)


@settings(deadline=None)
@given(spaces(), st.integers(0, 50), st.integers(0, 50))
def test_enumeration_can_start_and_stop_anywhere(space: DesignSpace, start: int, stop: int) -> None:
    rows = [row for chunk in space.enumerate(start, stop, chunk=5) for row in chunk.tolist()]

    assert rows == everything(space)[start:stop].tolist()


@settings(deadline=None)
@given(spaces())
def test_canonical_form_is_idempotent_and_keeps_meaning(space: DesignSpace) -> None:
    rows = everything(space)
    canonical = space.canonical(rows)

    assert np.array_equal(space.canonical(canonical), canonical)
    assert space.is_canonical(canonical).all()
    assert np.array_equal(space.violations(rows), space.violations(canonical))
    assert np.array_equal(space.active(rows), space.active(canonical))
    assert np.array_equal(rows[space.active(rows)], canonical[space.active(rows)])
    assert np.array_equal(np.where(space.active(rows), rows, space.default_indices), canonical)


@settings(deadline=None)
@given(spaces())
def test_count_is_the_number_of_distinct_feasible_designs(space: DesignSpace) -> None:
    rows = everything(space)
    feasible = rows[space.feasible(rows)]
    distinct = {row.tobytes() for row in space.canonical(feasible)}

    count = space.count()

    assert count.exact
    assert count.value == count.low == count.high == len(distinct) == len(kept(space))


@settings(deadline=None)
@given(spaces())
def test_canonical_enumeration_gives_each_distinct_feasible_design_once(space: DesignSpace) -> None:
    rows = np.concatenate(list(space.enumerate(chunk=11, canonical=True)))

    assert np.array_equal(rows, kept(space))


@settings(deadline=None)
@given(spaces())
def test_masks_allow_exactly_what_has_a_feasible_completion(space: DesignSpace) -> None:
    rows = everything(space)
    feasible = rows[space.feasible(rows)]

    for k in range(space.n_parameters):
        for prefix in {tuple(row[:k]) for row in feasible.tolist()}:
            match = feasible[(feasible[:, :k] == prefix).all(axis=1)]
            expected = np.isin(np.arange(space.sizes[k]), match[:, k])
            assert np.array_equal(space.masks(prefix), expected)


@settings(deadline=None)
@given(spaces())
def test_marginal_masks_allow_exactly_what_occurs(space: DesignSpace) -> None:
    rows = everything(space)
    feasible = rows[space.feasible(rows)]

    for place, mask in enumerate(space.marginal_masks()):
        assert np.array_equal(mask, np.isin(np.arange(space.sizes[place]), feasible[:, place]))


@settings(deadline=None)
@given(spaces(), st.integers(0, 2**32))
def test_samples_are_feasible_and_canonical(space: DesignSpace, seed: int) -> None:
    rows = space.sample(20, np.random.default_rng(seed))

    assert rows.shape == (20, space.n_parameters)
    assert rows.dtype == np.int64
    assert space.feasible(rows).all()
    assert space.is_canonical(rows).all()


@settings(deadline=None)
@given(spaces())
def test_json_and_pickle_round_trips_give_an_equal_space(space: DesignSpace) -> None:
    back = DesignSpace.from_json(json.loads(json.dumps(space.to_json())))
    copy = pickle.loads(pickle.dumps(space))

    assert back == space == copy
    assert hash(back) == hash(space)
    assert back.to_json() == space.to_json()
    assert np.array_equal(kept(back), kept(space))


@settings(deadline=None)
@given(spaces(), st.data())
def test_designs_and_index_vectors_are_each_others_inverse(space: DesignSpace, data: Any) -> None:
    rows = everything(space)[: data.draw(st.integers(1, 20))]

    designs = space.designs(rows)

    assert np.array_equal(space.indices_of_many(designs), rows)
    assert space.design(dict(designs[0])) == designs[0]


# ---- sampling


def chi_square(space: DesignSpace, drawn: np.ndarray) -> float:
    """How likely counts so uneven are, were the draw uniform."""
    numbers = {row.tobytes(): n for n, row in enumerate(kept(space))}
    hits = np.bincount([numbers[row.tobytes()] for row in drawn], minlength=len(numbers))
    return float(chisquare(hits).pvalue)


@pytest.mark.parametrize("name", ["mixed", "mapping", "tiny"])
def test_sampling_is_uniform_over_distinct_feasible_designs(name: str) -> None:
    space = ProvingSimulator(name).space

    drawn = space.sample(200_000 if name == "mixed" else 20_000, np.random.default_rng(0))

    assert chi_square(space, drawn) > 0.001


def test_sampling_by_rejection_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archgym.spaces.counting._TABLE_LIMIT", 1)

    drawn = SPACE.sample(100_000, np.random.default_rng(0))

    fresh = pickle.loads(pickle.dumps(SPACE))
    assert chi_square(fresh, fresh.sample(100_000, np.random.default_rng(0))) > 0.001
    assert len(drawn) == 100_000


def test_parameters_drawn_together_are_those_drawn_one_by_one() -> None:
    free = [Integer(name=f"p{n}", low=0, high=high) for n, high in enumerate((0, 2, 99_999, 9, 4))]
    space = DesignSpace("s", free, [Constraint("order", P("p3") <= P("p4"), "Order.")])
    one, other = np.random.default_rng(0), np.random.default_rng(0)

    alone = [one.integers([size], size=(20, 1))[:, 0] for size in space.sizes[:3].tolist()]

    assert np.array_equal(space.sample(20, other)[:, :3], np.stack(alone, axis=1))


def test_same_seed_gives_same_samples() -> None:
    one, other = (SPACE.sample(50, np.random.default_rng(3)) for _ in range(2))

    assert np.array_equal(one, other)


@pytest.mark.parametrize("n", [-1, 2.5, "3", True, None])
def test_number_of_samples_that_is_no_count_is_refused(n: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="`n` must be a whole number, 0 or more; got"):
        SPACE.sample(n, np.random.default_rng(0))


def test_seed_in_place_of_a_generator_is_refused() -> None:
    rng: Any = 3
    with pytest.raises(InvalidArgumentError, match=r"`rng` .* got 3\. .*default_rng"):
        SPACE.sample(1, rng)


def test_sample_of_none_is_empty() -> None:
    assert SPACE.sample(0, np.random.default_rng(0)).shape == (0, 5)


def test_rare_feasible_designs_are_found_by_rejection() -> None:
    rare = DesignSpace(
        "rare",
        [Integer(name=name, low=0, high=199) for name in "abcd"],
        [Constraint("rare", P("a") + P("b") + P("c") + P("d") <= 60, "Too much.")],
    )

    rows = rare.sample(20, np.random.default_rng(0))

    assert rare.feasible(rows).all()


# ---- counting


def big(limit: int) -> DesignSpace:
    """4 x 10^8 combinations that hang together, over what is counted."""
    return DesignSpace(
        "big",
        [Integer(name=name, low=0, high=141) for name in "abcd"],
        [Constraint("sum", P("a") + P("b") + P("c") + P("d") <= limit, "Too much.")],
    )


@pytest.mark.parametrize("limit", [120, 200, 282])
def test_estimate_has_an_interval_that_covers_the_count(limit: int) -> None:
    sums = np.ones(1)
    for _ in range(4):
        sums = np.convolve(sums, np.ones(142))
    exact = sums[: limit + 1].sum()

    count = big(limit).count()

    assert not count.exact
    assert count.low <= exact <= count.high
    assert count.low <= count.value <= count.high
    assert str(count).startswith("about ")


def test_count_of_up_to_a_hundred_million_is_exact() -> None:
    space = DesignSpace(
        "large",
        [Integer(name=name, low=0, high=255) for name in "abc"],
        [Constraint("sum", P("a") <= P("b"), "Order.")],
    )

    count = space.count()

    assert count.exact
    assert count.value == 256 * 257 // 2 * 256
    assert str(count) == f"{256 * 257 // 2 * 256:,}"


def test_independent_parameters_count_exactly_at_any_size() -> None:
    space = DesignSpace("huge", [Integer(name=f"p{i}", low=0, high=999) for i in range(30)])

    assert space.size == 1000**30
    assert space.count().exact
    assert space.count().value == 1000**30
    with pytest.raises(InvalidSpaceError, match="2\\^62"):
        space.flat(space.default_indices[None, :])


def test_space_of_astronomical_size_can_be_shown_and_estimated() -> None:
    parameters = [Integer(name=f"p{i}", low=0, high=999) for i in range(200)]
    total = Constraint("tied", P("p0") + P("p1") >= 0, "Never.")
    chain = [
        Constraint(f"c{i}", P(f"p{i}") + P(f"p{i + 1}") >= 1, "Never both 0.") for i in range(199)
    ]
    space = DesignSpace("endless", parameters, [total], ())
    tied = DesignSpace(
        "tied", [*(Integer(name=f"p{i}", low=0, high=999, default=1) for i in range(200))], chain
    )

    assert "endless" in repr(space)
    assert str(tied.count()).startswith("about")
    assert len(space.sample(3, np.random.default_rng(0))) == 3
    with pytest.raises(InvalidSpaceError, match="2\\^62"):
        space.unflat(np.array([0]))


# ---- designs


def test_design_is_a_frozen_hashable_mapping() -> None:
    design = SPACE.design_at(SPACE.default_indices)

    assert dict(design) == {"mode": "off", "banks": 1, "depth": 1, "gain": 0.0, "boost": 0}
    assert design == Design(dict(design))
    assert len({design, Design(dict(design))}) == 1
    with pytest.raises(TypeError):
        design["mode"] = "fast"  # type: ignore[index]  # the point
    with pytest.raises(AttributeError):
        design.other = 1  # type: ignore[attr-defined]  # the point


def test_design_pickles() -> None:
    design = SPACE.design_at(SPACE.default_indices)

    assert pickle.loads(pickle.dumps(design)) == design


def test_value_outside_names_parameter_value_and_what_is_allowed() -> None:
    design = dict(SPACE.design_at(SPACE.default_indices))

    with pytest.raises(
        InvalidDesignError, match=r"`banks` must be one of 1, 2, 4, 8, 16; got 12\."
    ):
        SPACE.indices_of({**design, "banks": 12})


def test_missing_and_unknown_parameters_are_named() -> None:
    design = dict(SPACE.design_at(SPACE.default_indices))

    with pytest.raises(InvalidDesignError, match=r"'bank'. Did you mean 'banks'"):
        SPACE.indices_of({**design, "bank": 1})
    del design["mode"]
    with pytest.raises(InvalidDesignError, match="`mode` missing"):
        SPACE.indices_of(design)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.zeros((2, 4), dtype=np.int64), "shape"),
        (np.zeros(5, dtype=np.int64), "shape"),
        (np.zeros((2, 5)), "whole numbers"),
        (np.array([[0, 0, 0, 0, 4]]), "`boost` must be 0 to 3; got 4 in design 0"),
        (
            np.array([[0, 0, 0, 0, 0], [0, -1, 0, 0, 0]]),
            "`banks` must be 0 to 4; got -1 in design 1",
        ),
        (np.array([[0, 2**64 - 1, 0, 0, 0]], dtype=np.uint64), "`banks`"),
        (np.zeros((1, 5), dtype=bool), "whole numbers"),
    ],
)
def test_indices_outside_are_refused(indices: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidDesignError, match=message):
        SPACE.check_indices(indices)


def test_unknown_parameter_offers_near_names() -> None:
    with pytest.raises(UnknownNameError, match="'depth'"):
        SPACE.parameter("dept")


def test_columns_have_values() -> None:
    columns = SPACE.columns(np.array([[0, 0, 0, 0, 0], [2, 4, 7, 10, 3]]))

    assert {name: column.tolist() for name, column in columns.items()} == {
        "mode": ["off", "fast"],
        "banks": [1, 16],
        "depth": [1, 8],
        "gain": [0.0, 1.0],
        "boost": [0, 3],
    }


def test_bulk_functions_take_no_designs_at_all() -> None:
    none = np.empty((0, 5), dtype=np.int64)

    assert SPACE.canonical(none).shape == (0, 5)
    assert SPACE.violations(none).shape == (0,)
    assert SPACE.is_canonical(none).shape == (0,)
    assert SPACE.flat(none).shape == (0,)
    assert SPACE.designs(none) == []
    assert SPACE.indices_of_many([]).shape == (0, 5)


def test_canonical_form_never_shares_memory_with_what_came() -> None:
    rows = SPACE.default_indices[None, :].copy()
    free = DesignSpace("free", [A, B])

    assert not np.shares_memory(SPACE.canonical(rows), rows)
    assert not np.shares_memory(free.canonical(rows[:, :2]), rows)


def test_violation_is_the_first_constraint_broken() -> None:
    space = DesignSpace(
        "two",
        [A, B],
        [Constraint("x", P("a") <= 2, "A."), Constraint("y", P("a") + P("b") <= 3, "Sum.")],
    )

    assert space.violations(np.array([[0, 0], [3, 0], [3, 3], [2, 3]])).tolist() == [-1, 0, 0, 1]


def test_chain_of_conditions_switches_off_what_hangs_below() -> None:
    space = DesignSpace(
        "chain",
        [A, B, C],
        conditions=[Condition("c", P("b") >= 0), Condition("b", P("a") >= 2)],
    )

    assert space.active(np.array([[0, 3, 3], [2, 3, 3]])).tolist() == [
        [True, False, False],
        [True, True, True],
    ]
    assert space.canonical(np.array([[0, 3, 3], [2, 3, 3]])).tolist() == [[0, 0, 0], [2, 3, 3]]
    assert space.count().value == 2 + 2 * 16


# ---- declarations


def test_default_infeasible_is_refused_with_its_reason() -> None:
    with pytest.raises(InvalidSpaceError, match="Too small"):
        DesignSpace("x", [A], [Constraint("c", P("a") >= 1, "Too small.")])


@pytest.mark.parametrize(
    ("parameters", "constraints", "conditions", "message"),
    [
        ([], [], [], "needs parameters"),
        ([A, A], [], [], "names that differ"),
        ([A], [Constraint("c", P("z") >= 0, "R.")], [], "'z'"),
        ([A], [Constraint("c", Expression("constant", (True,)), "R.")], [], "must name parameters"),
        ([A], [], [Condition("z", P("a") > 1)], "at most once"),
        ([A, B], [], [Condition("b", P("a") > 1), Condition("b", P("a") > 2)], "at most once"),
        ([A, B], [], [Condition("b", P("a") > 1), Condition("a", P("b") > 1)], "circle"),
        ([A], [], [Condition("a", P("a") > 1)], "circle"),
        (
            [Categorical(name="m", choices=("x",))],
            [Constraint("c", P("m") + 1 > 2, "R.")],
            [],
            "fit their parameters",
        ),
        (
            [Permutation(name="m", items=("x", "y"))],
            [Constraint("c", P("m") % 2 == 0, "R.")],
            [],
            "fit their parameters",
        ),
    ],
)
def test_declaration_that_cannot_work_is_refused(
    parameters: Any, constraints: Any, conditions: Any, message: str
) -> None:
    with pytest.raises(InvalidSpaceError, match=message):
        DesignSpace("x", parameters, constraints, conditions)


def test_documentation_does_not_change_the_digest() -> None:
    plain = DesignSpace("x", [Integer(name="a", low=0, high=3)])
    documented = DesignSpace("x", [Integer(name="a", low=0, high=3, doc="A.")], doc="X.")

    assert plain.digest == documented.digest
    assert plain == documented


@pytest.mark.parametrize(
    "other",
    [
        DesignSpace("x", [Integer(name="a", low=0, high=4)]),
        DesignSpace("x", [Integer(name="b", low=0, high=3)]),
        DesignSpace("x", [Integer(name="a", low=0, high=3, default=1)]),
        DesignSpace("x", [Integer(name="a", low=0, high=3)], [Constraint("c", P("a") < 3, "R.")]),
    ],
)
def test_any_other_declaration_changes_the_digest(other: DesignSpace) -> None:
    assert DesignSpace("x", [Integer(name="a", low=0, high=3)]).digest != other.digest


def test_space_does_not_change_under_its_users() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SPACE.sizes[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        SPACE.default_indices[0] = 1


KINDS = DesignSpace(
    "kinds",
    [
        Categorical(name="c", choices=("x", "y"), default="y"),
        Ordinal(name="o", levels=(1, 2.5)),
        PowerOfTwo(name="p", low=1, high=4),
        Real(name="r", low=0.0, high=1.0, count=3),
        Permutation(name="q", items=("x", "y", "z")),
        Factorisation(name="f", total=12, parts=2),
    ],
    [Constraint("k", P("p") <= 4, "R.")],
    [Condition("r", P("c") == "y")],
)


def test_space_of_every_kind_survives_json() -> None:
    back = DesignSpace.from_json(json.loads(json.dumps(KINDS.to_json())))

    rows = KINDS.sample(50, np.random.default_rng(0))
    assert back.designs(rows) == KINDS.designs(rows)


hostile = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=4),
        st.sampled_from(["a", "c", "p", "parameter", "constant", "//", "%", "*", "==", 10**30]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["name", "kind", "require", "reason", "when"]), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(st.data())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hostile_json_is_refused_with_our_error_only(data: Any) -> None:
    document = json.loads(json.dumps(KINDS.to_json()))
    for _ in range(data.draw(st.integers(1, 2))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
                place = inner
                continue
            if data.draw(st.booleans()):
                place[key] = data.draw(hostile)
            else:
                del place[key]
            break
        if not document:
            break
    try:
        space = DesignSpace.from_json(document)
    except ArchGymError:
        return
    rows = np.concatenate([space.default_indices[None, :]] * 2)
    assert space.feasible(rows).all()
    assert DesignSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize(
    "data", [None, 5, "x", [], {}, {"name": "x"}, {"name": "x", "parameters": 3}]
)
def test_json_that_is_no_space_is_refused(data: Any) -> None:
    with pytest.raises(InvalidSpaceError):
        DesignSpace.from_json(data)


def test_declaration_that_stands_for_too_many_values_is_refused() -> None:
    many = [
        {"kind": "integer", "name": f"p{number}", "low": 0, "high": 999_999} for number in range(99)
    ]

    with pytest.raises(InvalidSpaceError, match="at most 4194304 values together"):
        DesignSpace.from_json({"name": "bomb", "parameters": many})
