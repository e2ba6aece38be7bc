"""Simulators' own options as options of commands."""

from typing import Any

import pytest
import typer

from archgym.cli.app import app
from archgym.cli.options.task import OptionOption, TaskCommand
from tests.cli.conftest import Archgym


@pytest.mark.parametrize(
    "words",
    [
        ("plugin", "--device", "large"),
        ("--device=large", "plugin"),
        ("plugin", "-w", "heavy", "--device", "large"),
        ("plugin/default/light/low-power-v0", "--device", "large"),
    ],
)
def test_simulator_s_option_is_an_option_of_the_command(
    archgym: Archgym, words: tuple[str, ...]
) -> None:
    ran = archgym("evaluate", *words, "--json")

    assert ran.json["task"].startswith("plugin[device=large]/")


def test_dashes_stand_for_underscores(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--pace-s", "0.001", "--json")

    assert ran.json["task"].startswith("plugin[pace_s=0.001]/")


def test_what_follows_an_option_of_the_command_is_its_value(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--objective", "--device", "--json")

    assert (ran.code, "'--device'" in ran.err) == (1, True)


def test_describe_names_the_simulator_s_options(archgym: Archgym) -> None:
    ran = archgym("describe", "accelerator", "--area-mm2", "1.0")

    line = next(line for line in ran.out.splitlines() if line.startswith("--area-mm2"))
    assert "Designs with more area are not built" in line


def _commands(group: typer.Typer) -> list[tuple[Any, type | None]]:
    found: list[tuple[Any, type | None]] = [(c.callback, c.cls) for c in group.registered_commands]
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        found += _commands(inner.typer_instance)
    return found


def test_every_command_with_the_general_form_takes_simulators_own_options() -> None:
    taking = {
        callback.__name__: kind
        for callback, kind in _commands(app)
        if OptionOption in callback.__annotations__.values()
    }

    assert {"search", "evaluate", "tune", "build", "describe", "explain"} <= set(taking)
    assert set(taking.values()) == {TaskCommand}
