"""Sums of timing parameters, as the tables of both controllers write them."""

import re
from collections.abc import Mapping
from typing import Final

from archgym.simulators.kit import InvalidArgumentError

_TERM: Final = re.compile(r"([+-]?)([A-Za-z][A-Za-z0-9_]*|[0-9]{1,6})")


def distance(expression: str, values: Mapping[str, int]) -> int:
    """Return the value of a sum of parameters and numbers [clocks].

    Raises:
      InvalidArgumentError: It is not a sum, or names an unknown parameter.
    """
    compact = expression.replace(" ", "")
    total, end = 0, 0
    for match in _TERM.finditer(compact):
        sign, term = match.groups()
        if match.start() != end or (end > 0 and not sign):
            break
        if term[0].isalpha() and term not in values:
            raise InvalidArgumentError(f"Parameter `{term}` must have a value; it has none.")
        value = values[term] if term[0].isalpha() else int(term)
        total += -value if sign == "-" else value
        end = match.end()
    if end != len(compact) or not compact:
        raise InvalidArgumentError(
            f"A distance must be a sum such as `nCWL + nBL + nWR`; got {expression!r}."
        )
    return total
