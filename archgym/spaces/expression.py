"""Predicates over parameters, written as Python and kept as data.

`P("ranks") * P("banks") <= 64` builds a tree that evaluates on whole columns of designs, prints
as words and travels through JSON, so that a constraint never needs code to be loaded.
"""

import operator
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from archgym.errors import InvalidSpaceError

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    # In floats: powers of whole numbers from a file could grow without end.
    "**": np.float_power,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "and": np.logical_and,
    "or": np.logical_or,
}
# Value of one side that decides a whole, whatever the other side is.
_DECIDES = {"and": False, "or": True}
# A JSON file may be hostile: deeper trees than anyone writes are refused before recursion ends.
_MAX_DEPTH = 100

Scalar = str | int | float | bool


@dataclass(frozen=True, eq=False)
class Expression:
    """A tree of operators over parameters' values.

    `operation` is "parameter", "constant", "in", "not" or a binary operator; `operands` are the
    name, the constant, or the sub-trees it works on.
    """

    operation: str
    operands: tuple[Any, ...]
    depth: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        depth = 1 + max((o.depth for o in self.operands if isinstance(o, Expression)), default=0)
        if depth > _MAX_DEPTH:
            raise InvalidSpaceError(
                f"An expression must be at most {_MAX_DEPTH} operators deep; it is {depth}. Split "
                "it into several constraints."
            )
        object.__setattr__(self, "depth", depth)

    def evaluate(self, columns: Mapping[str, np.ndarray]) -> Any:
        """Return value for every design.

        Args:
          columns: Parameter name to its values, each of shape (n,).

        Returns:
          (n,) array, bool for predicates; a scalar where no parameter is named.
        """
        match self.operation:
            case "parameter":
                return columns[self.operands[0]]
            case "constant":
                return self.operands[0]
            case "not":
                return np.logical_not(self.operands[0].evaluate(columns))
            case "in":
                # Value by value: numpy would turn a list of numbers and words into words.
                column = self.operands[0].evaluate(columns)
                hits = [np.asarray(column == value) for value in self.operands[1]]
                return np.logical_or.reduce(hits, axis=0) if hits else np.False_
            case _:
                left, right = (operand.evaluate(columns) for operand in self.operands)
                return _BINARY[self.operation](left, right)

    @cached_property
    def names(self) -> frozenset[str]:
        """Parameters that the expression reads."""
        if self.operation == "parameter":
            return frozenset([self.operands[0]])
        parts = [o.names for o in self.operands if isinstance(o, Expression)]
        return frozenset().union(*parts)

    def given(self, values: "Mapping[str, Scalar]") -> "Expression":
        """Return the expression with some parameters at fixed values.

        What no longer depends on a parameter becomes a constant.

        Args:
          values: Values by parameter.
        """
        if not self.names & values.keys():
            return self
        if self.names <= values.keys():
            with np.errstate(divide="ignore", invalid="ignore"):
                result = self.evaluate({name: np.asarray(values[name]) for name in self.names})
            return Expression("constant", (np.asarray(result).item(),))
        operands = [o.given(values) if isinstance(o, Expression) else o for o in self.operands]
        for operand in operands:
            # One side may decide alone.
            is_constant = isinstance(operand, Expression) and operand.operation == "constant"
            if is_constant and _DECIDES.get(self.operation) is operand.operands[0]:
                return operand
        return Expression(self.operation, tuple(operands))

    def renamed(self, names: Mapping[str, str]) -> "Expression":
        """Return the expression with other names of parameters.

        Args:
          names: New name by the present one; others stay.
        """
        if self.operation == "parameter":
            return P(names.get(self.operands[0], self.operands[0]))
        operands = (o.renamed(names) if isinstance(o, Expression) else o for o in self.operands)
        return Expression(self.operation, tuple(operands))

    @property
    def text(self) -> str:
        """The expression as people write it."""
        match self.operation:
            case "parameter":
                return str(self.operands[0])
            case "constant":
                return repr(self.operands[0])
            case "not":
                return f"not ({self.operands[0].text})"
            case "in":
                return f"{self.operands[0].text} in {list(self.operands[1])!r}"
            case _:
                left, right = (self._inner(operand) for operand in self.operands)
                return f"{left} {self.operation} {right}"

    @staticmethod
    def _inner(operand: "Expression") -> str:
        return f"({operand.text})" if operand.operation in _BINARY else operand.text

    def to_json(self) -> list[Any]:
        """Return the tree as nested lists, operator first."""
        match self.operation:
            case "parameter" | "constant":
                return [self.operation, self.operands[0]]
            case "in":
                return ["in", self.operands[0].to_json(), list(self.operands[1])]
            case _:
                return [self.operation, *(operand.to_json() for operand in self.operands)]

    def is_in(self, *values: Scalar) -> "Expression":
        """Return an expression that is true where the value is one of `values`."""
        return Expression("in", (self, tuple(values)))

    def _with(self, operation: str, other: "Expression | Scalar") -> "Expression":
        right = other if isinstance(other, Expression) else Expression("constant", (other,))
        return Expression(operation, (self, right))

    def __add__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("+", other)

    def __radd__(self, other: Scalar) -> "Expression":
        return Expression("constant", (other,)) + self

    def __sub__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("-", other)

    def __rsub__(self, other: Scalar) -> "Expression":
        return Expression("constant", (other,)) - self

    def __mul__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("*", other)

    def __rmul__(self, other: Scalar) -> "Expression":
        return Expression("constant", (other,)) * self

    def __truediv__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("/", other)

    def __rtruediv__(self, other: Scalar) -> "Expression":
        return Expression("constant", (other,)) / self

    def __floordiv__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("//", other)

    def __mod__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("%", other)

    def __pow__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("**", other)

    def __eq__(self, other: object) -> "Expression":  # type: ignore[override]  # builds a tree
        if not isinstance(other, Expression | str | int | float):
            return NotImplemented
        return self._with("==", other)

    def __ne__(self, other: object) -> "Expression":  # type: ignore[override]  # builds a tree
        if not isinstance(other, Expression | str | int | float):
            return NotImplemented
        return self._with("!=", other)

    def __lt__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("<", other)

    def __le__(self, other: "Expression | Scalar") -> "Expression":
        return self._with("<=", other)

    def __gt__(self, other: "Expression | Scalar") -> "Expression":
        return self._with(">", other)

    def __ge__(self, other: "Expression | Scalar") -> "Expression":
        return self._with(">=", other)

    def __and__(self, other: "Expression") -> "Expression":
        return self._with("and", other)

    def __or__(self, other: "Expression") -> "Expression":
        return self._with("or", other)

    def __invert__(self) -> "Expression":
        return Expression("not", (self,))

    __hash__ = None  # type: ignore[assignment]  # `==` builds a tree, so hashing would lie

    def __bool__(self) -> bool:
        raise InvalidSpaceError(
            f"An expression has no truth value by itself ({self.text}); join predicates with "
            "`&`, `|` and `~`, in brackets, instead of `and`, `or` and `not`."
        )


def P(name: str) -> Expression:  # noqa: N802 - reads as a symbol in `P("banks") <= 8`
    """Return the value of the parameter `name`.

    Example:
      >>> fits = (P("ranks") * P("banks") <= 64) & (P("policy") == "open")
      >>> fits.text
      "((ranks * banks) <= 64) and (policy == 'open')"
    """
    return Expression("parameter", (name,))


def expression_from_json(data: Any, depth: int = 0) -> Expression:
    """Return expression from what `Expression.to_json` gave.

    Raises:
      InvalidSpaceError: `data` is not such a list, or nested deeper than 100.
    """
    problem = InvalidSpaceError(
        "An expression must be a list with an operator and its operands; got "
        f"{reprlib.repr(data)}. Write it with archgym.P and `to_json`."
    )
    if depth > _MAX_DEPTH or not isinstance(data, list) or len(data) < 2:
        raise problem
    operation, *operands = data
    scalar = (str, int, float)
    if operation == "parameter" and len(operands) == 1 and isinstance(operands[0], str):
        return Expression("parameter", (operands[0],))
    if operation == "constant" and len(operands) == 1 and isinstance(operands[0], scalar):
        return Expression("constant", (operands[0],))
    if operation == "not" and len(operands) == 1:
        return Expression("not", (expression_from_json(operands[0], depth + 1),))
    if operation == "in" and len(operands) == 2 and isinstance(operands[1], list):
        if not all(isinstance(value, scalar) for value in operands[1]):
            raise problem
        return Expression("in", (expression_from_json(operands[0], depth + 1), tuple(operands[1])))
    if isinstance(operation, str) and operation in _BINARY and len(operands) == 2:
        return Expression(
            operation, tuple(expression_from_json(operand, depth + 1) for operand in operands)
        )
    raise problem
