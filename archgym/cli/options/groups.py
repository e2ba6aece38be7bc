"""Groups of commands, and groups of options.

A group of options is a dataclass of options that several commands take as one parameter.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints

import typer


def command_group(name: str, text: str) -> typer.Typer:
    """Return a group of commands, which shows its help if no command is named.

    Args:
      name: Name of the group.
      text: Help of the group.
    """
    made = typer.Typer(name=name, rich_markup_mode=None)

    @made.callback(invoke_without_command=True, help=text)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    return made


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the options of its groups one by one.

    A group is a dataclass whose fields are options or further groups. Where a parameter of the
    command is annotated with a group, the fields become options, and the command gets the group.
    """
    hints = get_type_hints(command, include_extras=True)
    own = signature(command).parameters
    options: list[Parameter] = []
    for name, parameter in own.items():
        if is_dataclass(hints[name]):
            options += _group_options(hints[name])
        else:
            options.append(parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**values: Any) -> None:
        command(**{name: _value(hints[name], name, values) for name in own})

    # Typer reads both; annotations that are texts would be looked up in this module.
    vars(run)["__signature__"] = Signature(options)
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _group_options(group: Any) -> list[Parameter]:
    """Return the options of a group and of the groups in it."""
    hints = get_type_hints(group, include_extras=True)
    defaults = signature(group).parameters
    options: list[Parameter] = []
    for field in fields(group):
        if is_dataclass(hints[field.name]):
            options += _group_options(hints[field.name])
        else:
            options.append(
                Parameter(
                    field.name,
                    Parameter.KEYWORD_ONLY,
                    default=defaults[field.name].default,
                    annotation=hints[field.name],
                )
            )
    return options


def _value(kind: Any, name: str, values: Mapping[str, Any]) -> Any:
    """Return the value of a parameter: that of its option, or its group."""
    if not is_dataclass(kind):
        return values[name]
    hints = get_type_hints(kind, include_extras=True)
    parts = {field.name: _value(hints[field.name], field.name, values) for field in fields(kind)}
    return kind(**parts) if isinstance(kind, type) else None
