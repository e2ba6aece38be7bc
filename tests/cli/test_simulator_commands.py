"""Commands that simulators bring in `cli.py` of their folders."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from archgym.cli.app import add_simulator_commands

BRANCH = """
import typer

commands = typer.Typer()
group = typer.Typer(name="trace")
commands.add_typer(group)


@commands.command("branches")
def branches() -> None:
    typer.echo("taken")


@group.command()
def replay() -> None:
    typer.echo("replayed")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of simulators with one that has commands, and one that has none."""
    (tmp_path / "branch").mkdir()
    (tmp_path / "branch" / "cli.py").write_text(BRANCH)
    # The package is not loaded for its commands.
    (tmp_path / "branch" / "__init__.py").write_text("raise AssertionError")
    (tmp_path / "plain").mkdir()
    yield tmp_path
    sys.modules.pop("archgym.simulators.branch.cli", None)


@pytest.fixture
def app() -> typer.Typer:
    """An application with a command and the group `trace`."""
    made = typer.Typer()
    group = typer.Typer(name="trace")

    @made.command()
    def show() -> None:
        typer.echo("shown")

    @group.command("list")
    def list_traces() -> None:
        typer.echo("listed")

    made.add_typer(group)
    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show"], "shown"),
        (["branches"], "taken"),
        (["trace", "list"], "listed"),
        (["trace", "replay"], "replayed"),
    ],
)
def test_new_folder_brings_its_commands(
    app: typer.Typer, folder: Path, words: list[str], said: str
) -> None:
    add_simulator_commands(app, folder)

    assert CliRunner().invoke(app, words).output == f"{said}\n"


@pytest.mark.parametrize("text", ["import absent_package", "commands = 3", "", "1 +"])
def test_broken_commands_are_reported_and_the_others_work(
    app: typer.Typer, folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "cli.py").write_text(text)

    add_simulator_commands(app, folder)

    written = capsys.readouterr().err
    assert written.startswith("warning: ")
    assert "broken/cli.py cannot be loaded" in written
    assert written.count("\n") == 1
    assert CliRunner().invoke(app, ["branches"]).output == "taken\n"
    assert "archgym.simulators.broken.cli" not in sys.modules
