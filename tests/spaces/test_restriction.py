"""Tests of parts of spaces."""

import json
from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import InvalidDesignError, InvalidSpaceError, UnknownNameError
from archgym.spaces.design import Condition, Constraint, values_of
from archgym.spaces.expression import P
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Integer,
    Permutation,
    PowerOfTwo,
    parameter_from_json,
)
from archgym.spaces.space import DesignSpace


@pytest.fixture
def cache() -> DesignSpace:
    return DesignSpace(
        "cache",
        [
            PowerOfTwo("ways", 1, 16, default=2, unit="ways", doc="Ways of a set."),
            PowerOfTwo("kib", 8, 64, default=32),
            Categorical("policy", ("lru", "random", "adaptive"), default="lru"),
            Integer("epoch", 1, 4),
            Integer("warmup", 1, 3),
        ],
        [Constraint("fits", P("ways") <= P("kib") // 4, "a way must have 4 KiB")],
        [
            Condition("epoch", P("policy") == "adaptive"),
            Condition("warmup", P("epoch") > 1),
        ],
    )


def test_values_keep_their_order_and_the_nearest_default(cache: DesignSpace) -> None:
    part = cache.restricted(values={"ways": [16, 8], "policy": ["random", "lru"]})

    assert part.parameter("ways").value(0) == 8
    assert part.default_indices.tolist() == [0, 2, 0, 0, 0]
    assert part.parameter("policy").allowed() == "one of lru, random"
    assert part.parameter("ways").unit == "ways"
    assert part.name == "cache"


def test_constraint_holds_with_the_default_of_a_parameter_that_is_left_out(
    cache: DesignSpace,
) -> None:
    part = cache.restricted(keep=["ways", "policy"], name="small")

    # 32 KiB have room for 8 ways.
    assert part.names == ("ways", "policy")
    ways = {
        part.design_at(row)["ways"] for chunk in part.enumerate(canonical=True) for row in chunk
    }
    assert ways == {1, 2, 4, 8}


def test_what_a_parameter_that_is_left_out_makes_inactive_goes_too(cache: DesignSpace) -> None:
    # The default policy is lru, so that no epoch and no warm-up can matter.
    assert cache.restricted(keep=["ways", "epoch", "warmup"]).names == ("ways",)


def test_designs_of_a_part_are_designs_of_the_whole(cache: DesignSpace) -> None:
    part = cache.restricted(values={"ways": [1, 16], "kib": [8, 64]})
    whole = {tuple(row) for chunk in cache.enumerate(canonical=True) for row in chunk.tolist()}

    for chunk in part.enumerate(canonical=True):
        for design in part.designs(chunk):
            row = cache.canonical(cache.indices_of(design)[None, :])[0]
            assert tuple(row.tolist()) in whole


def test_part_without_a_feasible_default_is_refused(cache: DesignSpace) -> None:
    with pytest.raises(InvalidSpaceError, match="a way must have 4 KiB"):
        cache.restricted(values={"ways": [16], "kib": [8]})


def test_unknown_names_and_values_are_refused(cache: DesignSpace) -> None:
    with pytest.raises(UnknownNameError, match="'ways'"):
        cache.restricted(keep=["way"])
    with pytest.raises(InvalidDesignError, match="`ways` must be one of 1, 2, 4, 8, 16; got 3"):
        cache.restricted(values={"ways": [3]})
    with pytest.raises(InvalidSpaceError, match="`ways` must keep a value"):
        cache.restricted(values={"ways": []})


@pytest.mark.parametrize(
    "parameter",
    [Permutation("order", ("n", "m", "k")), Factorisation("tiles", 24, 3, default=(2, 3, 4))],
)
def test_orders_and_factors_keep_some_values(parameter: Permutation | Factorisation) -> None:
    kept = [parameter.value(number) for number in (4, 1)]
    part = DesignSpace("whole", [parameter]).restricted(values={parameter.name: kept})
    (held,) = part.parameters

    assert [held.value(number) for number in range(held.size)] == kept[::-1]
    assert [held.index(list(value)) for value in kept] == [1, 0]
    assert parameter_from_json(json.loads(json.dumps(held.to_json()))) == held
    assert held.default in kept
    assert "kept" not in parameter.to_json()
    assert values_of(held, kept[:1]).size == 1
    with pytest.raises(InvalidDesignError, match="must be one of"):
        held.index(parameter.value(0))
    for kept_numbers in ((3, 1), (0, parameter.size), (-1,)):
        with pytest.raises(InvalidSpaceError, match="increasing numbers below"):
            replace(parameter, kept=kept_numbers)


def test_name_and_range_may_be_given_by_place() -> None:
    assert Integer("banks", 4, 16, 4) == Integer(name="banks", low=4, high=16, step=4)
    assert Categorical("policy", ("a", "b")).choices == ("a", "b")


def test_expression_given_a_value_is_a_constant_where_nothing_else_counts() -> None:
    expression = (P("ways") <= 4) & (P("policy") == "lru")

    assert expression.given({"ways": 2, "policy": "lru"}).operands == (True,)
    half = expression.given({"ways": 2})
    assert half.names == {"policy"}
    assert half.evaluate({"policy": np.array(["lru", "random"])}).tolist() == [True, False]


def test_constraint_that_a_parameter_left_out_always_meets_goes_too() -> None:
    space = DesignSpace(
        "tables",
        [Categorical("table", ("tree", "hash")), Categorical("host", ("none", "one"))],
        [Constraint("one", (P("table") != "hash") | (P("host") == "none"), "one table is hashed")],
    )

    assert space.restricted(keep=["table"]).constraints == ()
