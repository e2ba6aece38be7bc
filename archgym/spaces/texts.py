"""Values and designs from texts, as commands and options give them."""

from collections.abc import Mapping
from typing import Any

from archgym.spaces.design import Design
from archgym.spaces.parameter import Factorisation, Parameter, Permutation
from archgym.spaces.space import DesignSpace


def value_from_text(parameter: Parameter, text: str) -> Any:
    """Return the value that a text represents for a parameter; it is not checked yet.

    >>> value_from_text(Factorisation("tiles", 16, 2), "(8, 2)")
    (8, 2)
    """
    if isinstance(parameter, Permutation | Factorisation):
        # Also as Python prints it.
        separator = ":" if isinstance(parameter, Permutation) else "x"
        parts = text.strip(" ()[]").replace(separator, ",").split(",")
        items = tuple(part.strip(" '") for part in parts)
        return items if isinstance(parameter, Permutation) else tuple(map(_number, items))
    value = _number(text)
    if parameter.kind == "categorical":
        return text if isinstance(parameter.value(0), str) else value
    # Numbers of a grid are floats; 1 on the command line means 1.0.
    return float(value) if parameter.kind == "real" and isinstance(value, int) else value


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def with_values(space: DesignSpace, design: Mapping[str, Any], texts: Mapping[str, str]) -> Design:
    """Return a design with some values replaced.

    Raises:
      InvalidDesignError: A name or value is not in the space.
    """
    values = dict(design)
    for name, text in texts.items():
        known = name in space.names
        values[name] = value_from_text(space.parameter(name), text) if known else text
    return space.design(values)
