"""Help texts of all commands, arguments and options."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from archgym.cli.app import app


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(_commands(typer.main.get_command(app)))
BAD_OPENING = re.compile(r"(What|Whether|How|Where|Which|Who|Of|As|The same|Its)\b")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_is_a_sentence(name: str) -> None:
    first = COMMANDS[name].help.split("\n\n")[0]

    assert re.fullmatch(r"[A-Z][a-z]+ .{8,}\.", " ".join(first.split())), first
    assert not BAD_OPENING.match(first)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_option_is_a_complete_phrase(name: str) -> None:
    for parameter in COMMANDS[name].params:
        text = parameter.help or ""

        assert len(text.split()) >= 3, (parameter.name, text)
        assert text[0].isupper(), (parameter.name, text)
        assert text[-1] in ".)", (parameter.name, text)
        assert not BAD_OPENING.match(text), (parameter.name, text)
