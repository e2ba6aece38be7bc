"""Parts of spaces: fewer parameters, fewer values of a parameter."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from archgym.errors import InvalidSpaceError, unknown_name
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.parameter import Categorical, Ordinal, Parameter, Permutation, Value


def values_of(parameter: Parameter, values: Iterable[Any]) -> Parameter:
    """Return a parameter that has only some values of another, in its order.

    The default stays if it is among them; else it is the value nearest to it in that order.

    Raises:
      InvalidDesignError: The parameter lacks one of the values.
      InvalidSpaceError: There are no values, or they are orders or factors, which have no list.
    """
    indices = sorted({parameter.index(value) for value in values})
    if not indices:
        raise InvalidSpaceError(f"Parameter `{parameter.name}` must keep a value; got none.")
    usual = parameter.default_index
    default = parameter.value(min(indices, key=lambda index: (abs(index - usual), index)))
    kept: Any = tuple(parameter.value(index) for index in indices)
    if isinstance(kept[0], tuple):
        raise InvalidSpaceError(
            f"Parameter `{parameter.name}` must be one of listed values to be restricted; it is "
            f"{'an order' if isinstance(parameter, Permutation) else 'a factorisation'}."
        )
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
            raise InvalidSpaceError(f"No design is left: {constraint.reason}.")
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
    for name in names:
        if name not in known:
            raise unknown_name("parameter", name, known)


def _scalars(values: Mapping[str, Value]) -> Mapping[str, Any]:
    return {name: value for name, value in values.items() if not isinstance(value, tuple)}
