"""Option groups: dataclasses of options that commands share."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer

from archgym.cli.options.groups import with_groups
from tests.cli.conftest import Archgym
from tests.cli.test_help import COMMANDS


@dataclass(frozen=True)
class _Inner:
    size: Annotated[int, typer.Option("--size", help="Size of the thing.")] = 1


@dataclass(frozen=True)
class _Outer:
    inner: _Inner
    name: Annotated[str, typer.Option("--name", help="Name of the thing.")] = "thing"


def test_groups_become_options_and_come_back_as_groups() -> None:
    got: list[Any] = []

    def command(first: str, outer: _Outer, flag: bool = False) -> None:
        got.append((first, outer, flag))

    made = with_groups(command)
    made(first="a", size=3, name="b", flag=True)

    assert list(inspect.signature(made).parameters) == ["first", "size", "name", "flag"]
    assert inspect.signature(made).parameters["size"].default == 1
    assert got == [("a", _Outer(_Inner(3), "b"), True)]


def test_option_of_the_simulator_is_part_of_the_task(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "-o", "device=large", "--json")

    assert ran.json["task"].startswith("plugin[device=large]/")


def test_option_of_the_simulator_is_not_an_option_of_the_command(archgym: Archgym) -> None:
    ran = archgym("evaluate", "plugin", "--device", "large")

    assert ran.code == 2
    assert "No such option" in ran.err


def test_describe_lists_the_simulator_s_options(archgym: Archgym) -> None:
    ran = archgym("describe", "accelerator", "--option", "area_mm2=1.0")

    line = next(line for line in ran.out.splitlines() if line.startswith("--option area_mm2="))
    assert "Largest area of a design at its node [mm2]" in line


@pytest.mark.parametrize("name", ["search", "evaluate", "table build", "explain"])
def test_commands_on_a_task_take_the_same_options(name: str) -> None:
    options = {parameter.name for parameter in COMMANDS[name].params}

    assert {"space", "fidelity", "option", "workload", "objective"} <= options
