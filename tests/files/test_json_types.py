"""JSON that is checked against a declaration."""

import math
from typing import Any

import pytest

from archgym.files.json_types import Whole, typed


@pytest.mark.parametrize("value", [0, 7, 2**63 - 1])
def test_whole_numbers_are_taken(value: int) -> None:
    assert typed(value, Whole) == value


@pytest.mark.parametrize("value", [True, 1.0, "1", None, -1, 2**63, 10**40, math.nan, []])
def test_other_values_are_no_whole_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match="the document must be `int`"):
        typed(value, Whole)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ({"a": {"b": "x"}}, dict[str, dict[str, int]], "`part[...][...]` must be `int`; got `str`"),
        ([1, "x"], list[int], "`part[1]` must be `int`; got `str`"),
        ({1: 2}, dict[str, int], "a name in `part` must be `str`; got `int`"),
        ([], dict[str, int], "`part` must be `object`; got `array`"),
    ],
)
def test_message_names_the_member_below_its_root(data: Any, kind: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared
        typed(data, kind, "part")

    assert str(caught.value) == message
