"""Simulators' own options as options of a command: `--area-mm2 2.2` for `--option area_mm2=2.2`."""

import difflib
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

__all__ = ["TaskCommand"]

# Its place differs between releases of Typer; `BadParameter` is public in all of them.
_UsageError: Any = typer.BadParameter.__mro__[1]
_GENERAL = "--option"


class TaskCommand(TyperCommand):
    """A command on a task: it takes the options that the task's simulator declares.

    What the command itself does not have is looked for among the constructor arguments of the
    simulator that one of its arguments names, and handed to `--option`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments, those of the simulator turned into the general form."""
        own = {name: p for p in self.get_params(ctx) for name in (*p.opts, *p.secondary_opts)}
        places, subjects, place = [], [], 0
        while place < len(args) and args[place] != "--":
            word = args[place]
            name, sign, _ = word.partition("=")
            option: Any = own.get(name)
            place += 1
            if word.startswith("--") and option is None:
                places.append(place - 1)
                place += not sign
            elif word.startswith("-") and option is not None:
                place += not (sign or option.is_flag or option.count)
            elif not word.startswith("-"):
                subjects.append(word)
        known = _options_of(subjects) if places else None
        if known is not None:
            for place in reversed(places):
                args[place : place + 2] = _general(args[place : place + 2], known, list(own), ctx)
        return super().parse_args(ctx, args)


def _options_of(subjects: Sequence[str]) -> tuple[str, ...] | None:
    """What the first simulator that is named declares; None where none is."""
    from archgym.discovery import simulator_class, simulator_names
    from archgym.simulator import option_names

    for subject in subjects:
        name = subject.partition("/")[0].partition("[")[0]
        if name in simulator_names():
            return option_names(simulator_class(name))
    return None


def _general(words: Sequence[str], known: Sequence[str], own: Sequence[str], ctx: Any) -> list[str]:
    """An option and what follows it in the form `--option NAME=VALUE`."""
    flag, sign, value = words[0].partition("=")
    name = flag.removeprefix("--").replace("-", "_")
    if name not in known:
        flags = ["--" + option.replace("_", "-") for option in known]
        near = difflib.get_close_matches(flag, [*own, *flags])
        hint = f"did you mean {', '.join(near)}?" if near else f"there is {', '.join(flags)}"
        raise _UsageError(f"No such option: {flag} ({hint})", ctx)
    if sign:
        return [_GENERAL, f"{name}={value}", *words[1:]]
    if not words[1:]:
        raise _UsageError(f"Option '{flag}' requires an argument.", ctx)
    return [_GENERAL, f"{name}={words[1]}"]
