"""Checks of arguments: numbers, choices, one-line texts, paths, lists and values by name."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Real
from os import PathLike
from typing import Any

from archgym.errors import InvalidArgumentError

# Digits are few, so that none takes long to read.
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?")
# chosen: what a person takes in at a glance, and fits into a line of any file.
_MAX_LINE = 200

MAX_WORKERS = 256
"""Workers on one machine at most. Chosen: more than any machine has a use for."""


def require(name: str, holds: bool, what: str, came: Any) -> None:
    """Check that an argument is what it must be, such as "be at least 1".

    Raises:
      InvalidArgumentError: It does not hold.
    """
    if not holds:
        raise InvalidArgumentError(f"`{name}` must {what}; got {came!r}.")


def check_whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int where it is a whole number within the limits.

    Raises:
      InvalidArgumentError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not _within(value, low, high):
        raise InvalidArgumentError(
            f"`{name}` must be a whole number {_limits(low, high)}; got {value!r}."
        )
    return int(value)


def whole(value: Any) -> Any:
    """Return a whole number that is written as 1e3, 1000.0 or a text as an int, all else as it is.

    >>> whole("1e3"), whole(1000.0), whole("1.5"), whole("many")
    (1000, 1000, '1.5', 'many')
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        exact = Decimal(value)
        return int(exact) if exact == exact.to_integral_value() else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def parse_whole(name: str, given: Any, low: int, high: int) -> int:
    """Return the whole number within the limits that an option's text or value states.

    Raises:
      InvalidArgumentError: It is something else.
    """
    number = whole(given)
    is_number = isinstance(number, Integral) and not isinstance(number, bool)
    if not is_number or not low <= number <= high:
        came = given[:40] if isinstance(given, str) else given
        raise InvalidArgumentError(
            f"`{name}` must be a whole number from {low:,} to {high:,}; got {came!r}."
        )
    return int(number)


def as_number(value: Any) -> Any:
    """Return the number that a text states as a float, and all else as it is."""
    with suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def check_number(name: str, value: Any, low: float, high: float | None = None) -> float:
    """Return `value` as a float where it is a number within the limits.

    Raises:
      InvalidArgumentError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not _within(value, low, high):
        raise InvalidArgumentError(
            f"`{name}` must be a number {_limits(low, high)}; got {value!r}."
        )
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return `value` where it is one of the choices.

    Raises:
      InvalidArgumentError: It is not.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgumentError(f"`{name}` must be one of {', '.join(choices)}; got {value!r}.")
    return value


def check_line(name: str, value: Any) -> str:
    """Return `value` where it is a text of one line, without anything that a terminal would act on.

    Raises:
      InvalidArgumentError: It is not.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_LINE:
        came = value if not isinstance(value, str) or len(value) <= _MAX_LINE else value[:40] + "…"
        raise InvalidArgumentError(
            f"`{name}` must be a text of 1 to {_MAX_LINE} characters; got {came!r}."
        )
    # Control characters, halves of characters, and what ends a line or paragraph.
    strange = [c for c in value if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    if strange:
        raise InvalidArgumentError(
            f"`{name}` must be one line without control characters; got {value!r}."
        )
    return value


def check_path(name: str, value: Any) -> str | PathLike[str]:
    """Return `value` where it is a path.

    Raises:
      InvalidArgumentError: It is not.
    """
    if not isinstance(value, str | PathLike) or not value:
        raise InvalidArgumentError(f"`{name}` must be a path; got {value!r}.")
    return value


def check_mapping(name: str, value: Any) -> Mapping[Any, Any]:
    """Return `value` where it maps names to values.

    Raises:
      InvalidArgumentError: It does not.
    """
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"`{name}` must map names to values; got {value!r}.")
    return value


def check_several(name: str, value: Any) -> tuple[Any, ...]:
    """Return the members of `value` where it is a list or another iterable.

    Raises:
      InvalidArgumentError: It is not.
    """
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise InvalidArgumentError(f"`{name}` must be a list; got {value!r}.")
    return tuple(value)


def _within(value: Any, low: float, high: float | None) -> bool:
    return bool(low <= value < float("inf") and (high is None or value <= high))


def _limits(low: float, high: float | None) -> str:
    return f"of {low} or more" if high is None else f"from {low} to {high}"
