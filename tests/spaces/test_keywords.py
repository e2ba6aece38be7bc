"""Tests of the arguments of parameters."""

import pytest

from archgym.errors import InvalidSpaceError
from archgym.spaces.parameter import Categorical, Integer, Ordinal, PowerOfTwo, Real
from archgym.spaces.space import DesignSpace


@pytest.mark.parametrize(
    ("kind", "keywords", "meant"),
    [
        (Categorical, {"values": ("a", "b")}, "choices"),
        (Ordinal, {"choices": (1, 2)}, "levels"),
        (Integer, {"min": 1, "max": 4}, "low"),
        (PowerOfTwo, {"low": 1, "hihg": 4}, "high"),
        (Real, {"low": 0.0, "high": 1.0, "step": 0.1}, "count"),
        (Real, {"low": 0.0, "high": 1.0, "points": 5}, "count"),
        (Integer, {"low": 0, "high": 1, "units": "ns"}, "unit"),
    ],
)
def test_wrong_keyword_suggests_the_right_one(kind: type, keywords: dict, meant: str) -> None:
    with pytest.raises(InvalidSpaceError, match=f"Did you mean `{meant}`"):
        kind("x", **keywords)


def test_choices_may_be_numbers_without_an_order() -> None:
    space = DesignSpace("bus", [Categorical("lanes", (16, 1, 4), default=4)])

    assert [design["lanes"] for design in space.designs(next(space.enumerate()))] == [16, 1, 4]
    assert DesignSpace.from_json(space.to_json()) == space
    assert not space.parameters[0].is_ordered


def test_choices_of_names_and_numbers_are_refused() -> None:
    with pytest.raises(InvalidSpaceError, match="all strings or all numbers"):
        Categorical("lanes", ("a", 1))
