"""Tests of expressions."""

import functools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archgym.errors import ArchGymError, InvalidSpaceError
from archgym.spaces.expression import Expression, P, expression_from_json

COLUMNS = {
    "a": np.array([1, 2, 3, 4]),
    "b": np.array([4, 3, 2, 1]),
    "mode": np.array(["x", "y", "x", "z"]),
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (P("a") < 3, [1, 1, 0, 0]),
        (P("a") <= P("b"), [1, 1, 0, 0]),
        (P("a") > 3, [0, 0, 0, 1]),
        (P("a") >= P("b"), [0, 0, 1, 1]),
        (P("a") == 2, [0, 1, 0, 0]),
        (P("a") != 2, [1, 0, 1, 1]),
        (P("a") + P("b") == 5, [1, 1, 1, 1]),
        (P("a") - P("b") == 1, [0, 0, 1, 0]),
        (P("a") * P("b") == 4, [1, 0, 0, 1]),
        (P("a") // 2 == 1, [0, 1, 1, 0]),
        (P("a") % 2 == 0, [0, 1, 0, 1]),
        (P("mode") == "x", [1, 0, 1, 0]),
        (P("mode").is_in("y", "z"), [0, 1, 0, 1]),
        (P("a").is_in(1, 4), [1, 0, 0, 1]),
        ((P("a") > 1) & (P("mode") == "x"), [0, 0, 1, 0]),
        ((P("a") > 3) | (P("mode") == "x"), [1, 0, 1, 1]),
        (~(P("mode") == "x"), [0, 1, 0, 1]),
        (10 - P("a") == 9, [1, 0, 0, 0]),
        (1 + P("a") == 2, [1, 0, 0, 0]),
        (2 * P("a") == 4, [0, 1, 0, 0]),
        (P("a") > 2, [0, 0, 1, 1]),
    ],
    ids=lambda value: value.text if isinstance(value, Expression) else "",
)
def test_expression_evaluates_on_columns(expression: Expression, expected: list[int]) -> None:
    assert np.asarray(expression.evaluate(COLUMNS)).astype(int).tolist() == expected


def test_names_are_those_read() -> None:
    assert ((P("a") + 1 < P("b")) | P("mode").is_in("x")).names == {"a", "b", "mode"}
    assert Expression("constant", (1,)).names == frozenset()


def test_text_reads_as_written() -> None:
    assert (P("a") * P("b") <= 64).text == "(a * b) <= 64"
    assert P("mode").is_in("x", "y").text == "mode in ['x', 'y']"
    assert (~(P("mode") == "x")).text == "not (mode == 'x')"


def test_truth_value_is_refused_so_that_and_is_not_silently_wrong() -> None:
    with pytest.raises(InvalidSpaceError, match="&"):
        bool(P("a") < 3)
    with pytest.raises(InvalidSpaceError):
        _ = 1 < P("a") < 3


scalars = st.one_of(
    st.integers(-100, 100), st.text(max_size=3), st.floats(-10, 10, allow_nan=False)
)
numbers = st.recursive(
    st.one_of(
        st.sampled_from([P("a"), P("b")]), st.builds(lambda v: P("a") + v, st.integers(1, 9))
    ),
    lambda inner: st.builds(
        lambda operation, left, right: Expression(operation, (left, right)),
        st.sampled_from(["+", "-", "*"]),
        inner,
        inner,
    ),
    max_leaves=6,
)
predicates = st.recursive(
    st.one_of(
        st.builds(
            lambda operation, left, right: Expression(operation, (left, right)),
            st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
            numbers,
            numbers,
        ),
        st.builds(
            lambda values: P("mode").is_in(*values), st.lists(scalars, min_size=1, max_size=3)
        ),
    ),
    lambda inner: st.one_of(
        st.builds(lambda left, right: left & right, inner, inner),
        st.builds(lambda left, right: left | right, inner, inner),
        st.builds(lambda one: ~one, inner),
    ),
    max_leaves=6,
)


@given(predicates)
def test_json_round_trip_keeps_meaning(expression: Expression) -> None:
    text = json.dumps(expression.to_json())

    back = expression_from_json(json.loads(text))

    assert back.to_json() == expression.to_json()
    assert back.text == expression.text
    same = np.asarray(back.evaluate(COLUMNS)) == np.asarray(expression.evaluate(COLUMNS))
    assert np.all(same)


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["parameter", "constant", "in", "not", "+", "and", "=="]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(anything)
def test_hostile_json_is_refused_with_our_error_only(data: Any) -> None:
    try:
        expression = expression_from_json(data)
    except ArchGymError:
        return
    assert isinstance(expression, Expression)
    assert expression.to_json() == data or data != data or "nan" in str(data)


def test_deep_json_is_refused_before_recursion_ends() -> None:
    data: Any = ["parameter", "a"]
    for _ in range(100_000):
        data = ["not", data]

    with pytest.raises(InvalidSpaceError):
        expression_from_json(data)


def test_expression_that_json_would_refuse_is_refused_when_built() -> None:
    terms = [P("a")] * 1000

    with pytest.raises(InvalidSpaceError, match="deep"):
        functools.reduce(lambda left, right: left + right, terms)


def test_long_sum_survives_json() -> None:
    total = P("a")
    for _ in range(50):
        total = total + P("b")

    back = expression_from_json((total <= 100).to_json())

    assert np.asarray(back.evaluate(COLUMNS)).tolist() == [False, False, False, True]
