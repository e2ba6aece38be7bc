"""JSON documents: typed values, one declaration a format, and data as JSON types."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

T = TypeVar("T")
# chosen: enough to find the member.
_MAX_PROBLEM = 300

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A whole number of 0 or more that a 64-bit column holds."""


def typed(data: Any, kind: type[T], root: str = "") -> T:
    """Return JSON data as the type that its format declares; nothing is coerced.

    >>> typed({"seed": "1"}, dict[str, int], "settings")
    Traceback (most recent call last):
        ...
    ValueError: `settings[...]` must be `int`; got `str`

    Args:
      data: Parsed JSON, of any origin.
      kind: A dataclass, `msgspec.Struct` or annotation.
      root: Name of the member that `data` is; empty for a whole document.

    Raises:
      ValueError: A member is missing, unknown or has another type; the message is one line.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        # Such as "`$.options[...]`", or "`key` in `$.options`".
        member = f"{root}{place.rpartition('`$')[2].removesuffix('`')}".removeprefix(".")
        subject = f"`{member}`" if member else "the document"
        if place.startswith("`key`"):
            subject = f"a name in {subject}"
        if problem.startswith("Expected "):
            problem = problem.removeprefix("Expected ").replace(", got ", "; got ")
            line = f"{subject} must be {problem}"
        else:
            line = f"{subject}: {problem[:1].lower()}{problem[1:]}"
        line = "".join(letter if letter.isprintable() else "?" for letter in line)
        raise ValueError(line[:_MAX_PROBLEM]) from None


def tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by name from JSON, where a list stands for a tuple."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def refuse_constant(name: str) -> float:
    """Refuse NaN and infinities, which Python reads and JSON lacks; for `parse_constant`."""
    raise ValueError(f"{name} is not JSON")


def plain(data: Any, digits: int | None = None) -> Any:
    """Return data as JSON types: arrays and tuples as lists, NaN and infinities as null.

    Args:
      data: Mappings, sequences, arrays, numbers and texts.
      digits: Significant digits of fractions; all if None.
    """
    if isinstance(data, Mapping):
        return {str(key): plain(value, digits) for key, value in data.items()}
    if hasattr(data, "tolist"):
        return plain(data.tolist(), digits)
    if isinstance(data, list | tuple):
        return [plain(value, digits) for value in data]
    if not isinstance(data, float):
        return data
    if not math.isfinite(data):
        return None
    is_whole = data.is_integer() and abs(data) < 1e15
    return data if digits is None or is_whole else float(f"{data:.{digits}g}")
