"""Hyperparameters of agents, each declared once, in the constructor's signature.

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        ants: Annotated[int, Integer(name="ants", low=1, high=64, doc="Designs an ask.")] = 16,
    ) -> None:

states the type, the range that a sweep draws from, the meaning and the default.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, final, get_args

from archgym.checks import check_choice, check_number, check_whole
from archgym.errors import InvalidArgumentError
from archgym.spaces.parameter import Categorical, Parameter


@final
@dataclass(frozen=True)
class Within:
    """Limits of the values that a constructor accepts, wider than the searched range."""

    low: float
    high: float


def declared_hyperparameters(constructor: Callable[..., Any]) -> tuple[Parameter, ...]:
    """Return the ranges in a constructor's annotations, in its order, with its defaults.

    Arguments with other annotations declare no range. Annotations as texts declare none if they
    name imports of a type checker.

    Raises:
      InvalidArgumentError: A range has another name than its argument, or a default of its own.
      InvalidSpaceError: A default is not in its range.
    """
    return tuple(
        _with_default(argument, parameter) for argument, parameter in _declarations(constructor)
    )


def checked_hyperparameters(
    constructor: Callable[..., Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return usable values of a constructor's hyperparameters, each as its plain type.

    Args:
      constructor: Constructor whose annotations hold ranges, and `Within` where it accepts more.
      values: Values by name; other names may be among them, and some may be absent.

    Raises:
      InvalidArgumentError: One is outside its limits.
      InvalidDesignError: A value is not in its range, and its type is not plain.
    """
    checked: dict[str, Any] = {}
    for argument, parameter in _declarations(constructor):
        if argument.name in values:
            checked[argument.name] = _checked(argument, parameter, values[argument.name])
    return checked


def _checked(argument: inspect.Parameter, parameter: Parameter, value: Any) -> Any:
    name = argument.name
    if isinstance(parameter, Categorical) and parameter.is_text:
        return check_choice(name, value, [str(choice) for choice in parameter.choices])
    kind, *notes = get_args(argument.annotation)
    if kind not in (int, float):
        parameter.index(value)
        return value
    limits: Any = (parameter.value(0), parameter.value(parameter.size - 1))
    for note in notes:
        if isinstance(note, Within):
            limits = (note.low, note.high)
    check: Any = check_whole if kind is int else check_number
    return check(name, value, *limits)


def _declarations(
    constructor: Callable[..., Any],
) -> Iterator[tuple[inspect.Parameter, Parameter]]:
    try:
        signature = inspect.signature(constructor, eval_str=True)
    except NameError:
        return
    for argument in signature.parameters.values():
        for note in get_args(argument.annotation)[1:]:
            if isinstance(note, Parameter):
                yield argument, note


def _with_default(argument: inspect.Parameter, declared: Any) -> Parameter:
    name = argument.name
    if declared.name != name or declared.default is not None:
        raise InvalidArgumentError(
            f"The range of argument `{name}` must have its name and no default of its own; got "
            f"name {declared.name!r} and default {declared.default!r}. Give the argument the "
            "default."
        )
    if argument.default is inspect.Parameter.empty:
        raise InvalidArgumentError(
            f"Hyperparameter `{name}` must have a default, since agents are made without any "
            "too; got none. Give the argument one."
        )
    completed: Parameter = replace(declared, default=argument.default)
    return completed
