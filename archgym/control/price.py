"""Cost of a user's own choice: a name, a product or a weighted sum of what parts of a run count."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np

from archgym.control.runs import Floats
from archgym.errors import InvalidArgumentError, check_known

_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# chosen: longer than anyone writes.
_LONGEST: Final = 500


@final
@dataclass(frozen=True)
class Price:
    """Cost of a part of a run, such as `latency_ns + 0.5 * energy_pj`.

    Each name stands for its value per unit of work in an epoch. The result is weighted by the
    epoch's work. So sums are exact for an episode; products and percentiles are means over epochs.

    Attributes:
      text: Formula of names, positive numbers, `+`, `*`, `/` and parentheses.
      names: Names in it.
    """

    text: str
    names: tuple[str, ...] = ()
    _tree: Any = field(default=None, repr=False, compare=False)

    @staticmethod
    def read(text: str, known: Mapping[str, str]) -> "Price":
        """Return the price of a text.

        Args:
          text: Formula.
          known: Description of what may be named, by name.

        Raises:
          InvalidArgumentError: The text is no such formula.
          UnknownNameError: It has an unknown name.
        """
        try:
            tree = ast.parse(text[: _LONGEST + 1].strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            tree = None
        nodes = [] if tree is None else [*ast.walk(tree)]
        if len(text) > _LONGEST or not nodes or not all(map(_is_allowed, nodes)):
            raise InvalidArgumentError(
                f"`cost` must be a formula of {', '.join(known)}, positive numbers, +, *, / and "
                f"parentheses; got {text[:80]!r}."
            )
        names = tuple(dict.fromkeys(each.id for each in nodes if isinstance(each, ast.Name)))
        check_known("cost", names, known)
        if not names:
            raise InvalidArgumentError(f"`cost` must name one of {', '.join(known)}; got {text!r}.")
        return Price(text, names, tree)

    def __call__(self, amounts: Mapping[str, Floats], work: Floats) -> Floats:
        """Return the cost of a part, (n_agents,), from amounts by name, each (n_agents,)."""
        done = np.maximum(work, 1.0)
        each = {name: amounts[name] / done for name in self.names}
        return np.asarray(done * _value(self._tree, each), dtype=np.float64)


def _is_allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        number: Any = node.value
        return type(number) in (int, float) and bool(0 < number < 1e30)
    if isinstance(node, ast.BinOp):
        return type(node.op) in _OPERATORS
    return isinstance(node, (ast.Name, ast.Load, *_OPERATORS))


def _value(node: Any, columns: Mapping[str, Floats]) -> Any:
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    return _OPERATORS[type(node.op)](_value(node.left, columns), _value(node.right, columns))
