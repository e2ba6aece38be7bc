"""Tests of parameters."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archgym.errors import ArchGymError, InvalidDesignError, InvalidSpaceError
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Integer,
    Ordinal,
    Parameter,
    Permutation,
    PowerOfTwo,
    Real,
    parameter_from_json,
)

names = st.text("abcdef_", min_size=1, max_size=6)
categoricals = st.builds(
    lambda name, choices: Categorical(name=name, choices=tuple(choices)),
    names,
    st.lists(st.text(max_size=4), min_size=1, max_size=6, unique=True),
)
ordinals = st.builds(
    lambda name, levels: Ordinal(name=name, levels=tuple(sorted(levels))),
    names,
    st.sets(st.one_of(st.integers(-50, 50), st.floats(-9, 9)), min_size=1, max_size=6),
)
integers = st.builds(
    lambda name, low, span, step: Integer(name=name, low=low, high=low + span, step=step),
    names,
    st.integers(-1000, 1000),
    st.integers(0, 60),
    st.integers(1, 7),
)
powers = st.builds(
    lambda name, low, span: PowerOfTwo(name=name, low=2**low, high=2 ** (low + span)),
    names,
    st.integers(0, 20),
    st.integers(0, 12),
)
reals = st.builds(
    lambda name, low, span, count, log: Real(
        name=name, low=low, high=low + span, count=count, log=log
    ),
    names,
    st.floats(0.01, 100),
    st.floats(0.5, 100),
    st.integers(2, 40),
    st.booleans(),
)
permutations = st.builds(
    lambda name, items: Permutation(name=name, items=tuple(items)),
    names,
    st.lists(st.text("xyzk", min_size=1, max_size=3), min_size=1, max_size=7, unique=True),
)
factorisations = st.builds(
    lambda name, total, parts: Factorisation(name=name, total=total, parts=parts),
    names,
    st.integers(1, 5000),
    st.integers(1, 4),
)
parameters: st.SearchStrategy[Parameter] = st.one_of(
    categoricals, ordinals, integers, powers, reals, permutations, factorisations
)

ALL = [
    Categorical(name="policy", choices=("open", "closed"), default="closed", doc="When."),
    Ordinal(name="width", levels=(8, 16, 64), default=16, unit="bits"),
    Integer(name="depth", low=2, high=11, step=3),
    PowerOfTwo(name="banks", low=2, high=16, default=8),
    Real(name="gain", low=0.0, high=1.0, count=5, default=0.25, unit="V"),
    Real(name="rate", low=0.001, high=10.0, count=5, log=True),
    Permutation(name="order", items=("x", "y", "z"), default=("z", "x", "y")),
    Factorisation(name="tiles", total=12, parts=3, default=(2, 2, 3)),
]


@given(parameters, st.data())
def test_index_and_value_are_each_others_inverse(parameter: Parameter, data: Any) -> None:
    index = data.draw(st.integers(0, parameter.size - 1))

    value = parameter.value(index)

    assert parameter.index(value) == index
    assert parameter.array(np.array([index]))[0] == value


@given(parameters)
def test_values_differ(parameter: Parameter) -> None:
    n = min(parameter.size, 200)

    assert len({parameter.value(index) for index in range(n)}) == n


@given(parameters)
def test_json_round_trip_gives_the_same_parameter(parameter: Parameter) -> None:
    back = parameter_from_json(json.loads(json.dumps(parameter.to_json())))

    assert back == parameter
    assert [back.value(i) for i in range(min(9, back.size))] == [
        parameter.value(i) for i in range(min(9, back.size))
    ]


@pytest.mark.parametrize("parameter", ALL, ids=lambda parameter: str(parameter.name))
def test_json_round_trip_keeps_default_unit_and_doc(parameter: Parameter) -> None:
    back = parameter_from_json(json.loads(json.dumps(parameter.to_json())))

    assert back == parameter
    assert (back.default_index, back.unit, back.doc) == (
        parameter.default_index,
        parameter.unit,
        parameter.doc,
    )


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (ALL[0], ["open", "closed"]),
        (ALL[1], [8, 16, 64]),
        (ALL[2], [2, 5, 8, 11]),
        (ALL[3], [2, 4, 8, 16]),
        (ALL[4], [0.0, 0.25, 0.5, 0.75, 1.0]),
        (ALL[5], [0.001, 0.01, 0.1, 1.0, 10.0]),
        (
            ALL[6],
            [
                ("x", "y", "z"),
                ("x", "z", "y"),
                ("y", "x", "z"),
                ("y", "z", "x"),
                ("z", "x", "y"),
                ("z", "y", "x"),
            ],
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_values_stand_in_their_order(parameter: Parameter, values: list[Any]) -> None:
    assert [parameter.value(index) for index in range(parameter.size)] == values


def test_factorisation_has_every_product_once() -> None:
    parameter = Factorisation(name="tiles", total=12, parts=3)
    expected = {
        (a, b, c)
        for a in range(1, 13)
        for b in range(1, 13)
        for c in range(1, 13)
        if a * b * c == 12
    }

    assert {parameter.value(i) for i in range(parameter.size)} == expected
    assert parameter.size == len(expected) == 18


def test_factorisation_of_a_large_prime_is_quick() -> None:
    assert Factorisation(name="tiles", total=999_999_937, parts=3).size == 3


def test_sub_actions_multiply_to_the_size() -> None:
    assert math.prod(Permutation(name="o", items=tuple("abcde")).sub_sizes) == 120
    assert math.prod(Factorisation(name="t", total=360, parts=3).sub_sizes) == 180


def test_sub_actions_are_the_digits_of_the_number() -> None:
    order = Permutation(name="o", items=("a", "b", "c"))

    picks = np.unravel_index(order.index(("c", "a", "b")), order.sub_sizes)

    assert [int(pick) for pick in picks] == [2, 0, 0]


def test_permutation_of_twenty_items_has_int64_numbers() -> None:
    parameter = Permutation(name="o", items=tuple("abcdefghijklmnopqrst"))
    last = tuple(reversed(parameter.items))

    assert parameter.index(last) == parameter.size - 1 < 2**63
    assert parameter.value(parameter.size - 1) == last


@pytest.mark.parametrize("parameter", ALL, ids=lambda parameter: str(parameter.name))
@pytest.mark.parametrize(
    "value", [None, True, "nonsense", 7.5, -1, [], {}, (), math.nan, ("x", "y"), [1, 2, 7], b"x"]
)
def test_value_outside_is_refused_with_name_value_and_what_is_allowed(
    parameter: Parameter, value: Any
) -> None:
    with pytest.raises(InvalidDesignError) as caught:
        parameter.index(value)

    assert f"`{parameter.name}` must be {parameter.allowed()}; got {value!r}." == str(caught.value)


def test_true_is_not_one() -> None:
    with pytest.raises(InvalidDesignError):
        Integer(name="n", low=0, high=3).index(True)
    with pytest.raises(InvalidDesignError):
        Factorisation(name="t", total=1, parts=2).index((True, True))


def test_lists_from_json_are_taken_as_orders_and_factors() -> None:
    assert ALL[6].index(["z", "y", "x"]) == 5
    assert ALL[7].value(ALL[7].index([1, 3, 4])) == (1, 3, 4)


def test_whole_float_finds_its_number() -> None:
    assert Integer(name="n", low=0, high=3).index(2.0) == 2


def test_numpy_scalars_are_values() -> None:
    assert Integer(name="n", low=0, high=3).index(np.int64(2)) == 2
    assert Categorical(name="c", choices=("a", "b")).index(np.str_("b")) == 1
    assert Factorisation(name="t", total=6, parts=2).index(np.array([2, 3])) == Factorisation(
        name="t", total=6, parts=2
    ).index((2, 3))


def test_values_of_a_design_are_plain_python() -> None:
    for parameter in ALL:
        value = parameter.value(parameter.size - 1)
        assert type(value) in (str, int, float, tuple)


def test_long_list_is_shortened_in_words() -> None:
    assert Integer(name="n", low=0, high=99).allowed() == "one of the 100 values 0, 1, 2, …, 99"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Categorical, {"name": "", "choices": ("a",)}),
        (Categorical, {"name": 5, "choices": ("a",)}),
        (Categorical, {"name": "c", "choices": ()}),
        (Categorical, {"name": "c", "choices": ("a", "a")}),
        (Categorical, {"name": "c", "choices": ("a", 1)}),
        (Categorical, {"name": "c", "choices": ("a",), "default": "b"}),
        (Categorical, {"name": "c", "choices": ("a",), "default": []}),
        (Ordinal, {"name": "o", "levels": (2, 1)}),
        (Ordinal, {"name": "o", "levels": (1, 1)}),
        (Ordinal, {"name": "o", "levels": (1, math.inf)}),
        (Ordinal, {"name": "o", "levels": (1, math.nan)}),
        (Ordinal, {"name": "o", "levels": (False, 1)}),
        (Ordinal, {"name": "o", "levels": (1, 10**400)}),
        (Integer, {"name": "i", "low": 3, "high": 2}),
        (Integer, {"name": "i", "low": 0, "high": 2, "step": 0}),
        (Integer, {"name": "i", "low": 0, "high": 2.0}),
        (Integer, {"name": "i", "low": 0, "high": 10**9}),
        (Integer, {"name": "i", "low": 0, "high": 4, "step": 2, "default": 3}),
        (Integer, {"name": "i", "low": 0, "high": 1, "default": True}),
        (Integer, {"name": "i", "low": 2**70, "high": 2**70 + 1}),
        (PowerOfTwo, {"name": "p", "low": 3, "high": 8}),
        (PowerOfTwo, {"name": "p", "low": 8, "high": 4}),
        (PowerOfTwo, {"name": "p", "low": 0, "high": 4}),
        (Real, {"name": "r", "low": 1.0, "high": 1.0, "count": 3}),
        (Real, {"name": "r", "low": 0.0, "high": 1.0, "count": 1}),
        (Real, {"name": "r", "low": 0.0, "high": 1.0, "count": 3, "log": True}),
        (Real, {"name": "r", "low": 0.0, "high": math.inf, "count": 3}),
        (Real, {"name": "r", "low": 0, "high": 10**400, "count": 3}),
        (Real, {"name": "r", "low": -1.7e308, "high": 1.7e308, "count": 3}),
        (Real, {"name": "r", "low": 0.0, "high": 1.0, "count": 2.5}),
        (Real, {"name": "r", "low": 0.0, "high": 1.0, "count": 3, "default": 0.3}),
        (Permutation, {"name": "p", "items": ()}),
        (Permutation, {"name": "p", "items": ("a", "a")}),
        (Permutation, {"name": "p", "items": ("a", 1)}),
        (Permutation, {"name": "p", "items": tuple("abcdefghijklmnopqrstu")}),
        (Permutation, {"name": "p", "items": ("a", "b"), "default": ("a", "c")}),
        (Factorisation, {"name": "f", "total": 0, "parts": 2}),
        (Factorisation, {"name": "f", "total": 6, "parts": 0}),
        (Factorisation, {"name": "f", "total": 6, "parts": 2, "default": (2, 2)}),
        (Factorisation, {"name": "f", "total": 2**29, "parts": 16, "default": "x"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:50],
)
def test_declaration_that_cannot_work_is_refused(kind: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpaceError):
        kind(**fields)


hostile_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.lists(
        st.one_of(st.integers(-3, 9), st.text(max_size=2), st.floats(), st.none()), max_size=4
    ),
    st.just(10**400),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@given(
    st.sampled_from([parameter.to_json() for parameter in ALL]),
    st.dictionaries(
        st.sampled_from(
            [
                "kind",
                "name",
                "default",
                "unit",
                "doc",
                "choices",
                "levels",
                "low",
                "high",
                "step",
                "count",
                "log",
                "items",
                "total",
                "parts",
                "extra",
                "values",
            ]
        ),
        hostile_values,
        max_size=3,
    ),
    st.booleans(),
)
def test_hostile_json_is_refused_with_our_error_only(
    sound: dict[str, Any], changes: dict[str, Any], drop: bool
) -> None:
    data = {**sound, **changes}
    if drop:
        data.pop(sorted(data)[0])
    try:
        parameter = parameter_from_json(data)
    except ArchGymError:
        return
    assert parameter.index(parameter.value(parameter.default_index)) == parameter.default_index


@pytest.mark.parametrize("data", [None, 5, "integer", [], {"kind": []}, {"kind": {}}, {}])
def test_json_that_is_no_parameter_is_refused(data: Any) -> None:
    with pytest.raises(InvalidSpaceError, match="kind"):
        parameter_from_json(data)
