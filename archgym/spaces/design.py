"""Designs, constraints and conditions of a design space, and of a part of one."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

from archgym.errors import InvalidSpaceError, check_known, sentence
from archgym.spaces.display import html_table, shortened
from archgym.spaces.expression import Expression
from archgym.spaces.parameter import (
    Categorical,
    Factorisation,
    Ordinal,
    Parameter,
    Permutation,
    Value,
)


@final
class Design(Mapping[str, Value]):
    """A frozen choice of one value for each parameter of a space.

    Example:
      >>> design = Design(ways=8, policy="lru")
      >>> design["ways"], dict(design)
      (8, {'ways': 8, 'policy': 'lru'})
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value] | None = None, /, **by_name: Value) -> None:
        """Take values from a mapping, by keyword as `dict` does, or both."""
        self._values = {**(values or {}), **by_name}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return shortened((f"{name}={value!r}" for name, value in self._values.items()), "Design(")

    def _repr_html_(self) -> str:
        return html_table("Design", ("parameter", "value"), self._values.items())


@final
@dataclass(frozen=True, eq=False)
class Constraint:
    """A predicate that every design must satisfy, with the reason in words.

    Example:
      >>> from archgym.spaces.expression import P
      >>> few = Constraint("few banks", P("ranks") * P("banks") <= 64, "at most 64 banks")
      >>> few.require.text
      '(ranks * banks) <= 64'
    """

    name: str
    require: Expression
    reason: str


@final
@dataclass(frozen=True, eq=False)
class Condition:
    """Condition under which a parameter is active; where it is inactive, it takes its default.

    Example:
      >>> from archgym.spaces.expression import P
      >>> Condition("depth", when=P("prefetcher") != "none").when.text
      "prefetcher != 'none'"
    """

    parameter: str
    when: Expression


def values_of(parameter: Parameter, values: Iterable[Any]) -> Parameter:
    """Return a parameter that has only some values of another, in its order.

    The default stays if it is among them; else it is the value nearest to it in that order.

    Raises:
      InvalidDesignError: The parameter lacks one of the values.
      InvalidSpaceError: There are no values.
    """
    indices = sorted({parameter.index(value) for value in values})
    if not indices:
        raise InvalidSpaceError(f"Parameter `{parameter.name}` must keep a value; got none.")
    usual = parameter.default_index
    default = parameter.value(min(indices, key=lambda index: (abs(index - usual), index)))
    if isinstance(parameter, Permutation | Factorisation):
        return parameter.keeping(indices, default)
    kept: Any = tuple(parameter.value(index) for index in indices)
    words: dict[str, Any] = {"unit": parameter.unit, "doc": parameter.doc, "default": default}
    make = Ordinal if parameter.is_ordered else Categorical
    return make(parameter.name, kept, **words)


def with_inactive(
    dropped: Mapping[str, Value], defaults: Mapping[str, Value], conditions: Iterable[Condition]
) -> Mapping[str, Value]:
    """Return the parameters that are constants: those left out, and those they make inactive.

    Args:
      dropped: Values of the parameters that are left out.
      defaults: Default of every parameter.
      conditions: Conditions of the whole space, in an order in which each follows its parents.
    """
    constant, inactive = dict(dropped), set[str]()
    for condition in conditions:
        when = condition.when.given(_scalars(constant))
        is_off = not when.names and not when.operands[0]
        if condition.parameter not in dropped and (is_off or condition.when.names & inactive):
            constant[condition.parameter] = defaults[condition.parameter]
            inactive.add(condition.parameter)
    return constant


def without(
    constant: Mapping[str, Value],
    constraints: Iterable[Constraint],
    conditions: Iterable[Condition],
) -> tuple[list[Constraint], list[Condition]]:
    """Return the constraints and conditions that are left where some parameters are constants.

    Raises:
      InvalidSpaceError: A constraint cannot hold any more.
    """
    kept: list[Constraint] = []
    for constraint in constraints:
        require = constraint.require.given(_scalars(constant))
        if require.names:
            kept.append(Constraint(constraint.name, require, constraint.reason))
        elif not require.operands[0]:
            raise InvalidSpaceError(f"No design is left: {sentence(constraint.reason)}")
    left = (
        Condition(c.parameter, c.when.given(_scalars(constant)))
        for c in conditions
        if c.parameter not in constant
    )
    return kept, [condition for condition in left if condition.when.names]


def check_names(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names of parameters that a space lacks.

    Raises:
      UnknownNameError: Names the first one.
    """
    check_known("parameter", names, known)


def _scalars(values: Mapping[str, Value]) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if not isinstance(value, tuple)}
