"""Text from files reaches the terminal without anything that controls it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archgym.cli.console.terminal import heading, printable, say, table, warn, write_json
from tests.cli.conftest import Archgym

TITLE = "\x1b]0;owned\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\x9b2J", "a\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb\x7f", "a\\x0db\\x7f"),
        ("a\udcffb", "a\\udcffb"),
        ("line\n\tβ – …", "line\n\tβ – …"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    "write",
    [
        say,
        warn,
        heading,
        lambda text: table((text, "b"), [(text, text)]),
        lambda text: write_json({text: text + "\x9b"}),
    ],
)
def test_every_way_of_writing_escapes(
    write: Callable[[str], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    write(TITLE)

    written = "".join(capfd.readouterr())
    assert "owned" in written
    assert not set(written) & set("\x1b\x07\x9b")


def test_task_id_of_a_study_is_escaped(archgym: Archgym, study: Path) -> None:
    path = study / "study.json"
    header = json.loads(path.read_text())
    header["task"]["id"] = TITLE + header["task"]["id"]
    path.write_text(json.dumps(header))

    for command in ("show", "resume"):
        ran = archgym(command, study)
        assert "\x1b" not in ran.out + ran.err, command
        assert "\x07" not in ran.out + ran.err, command


def test_name_of_a_file_is_escaped_in_an_error(archgym: Archgym) -> None:
    ran = archgym("show", TITLE)

    assert ran.code == 1
    assert "\x1b" not in ran.err
    assert "x1b]0;owned" in ran.err


def test_argument_that_is_not_utf8_is_refused_in_one_line(archgym: Archgym) -> None:
    ran = archgym("search", "plugin", "-n", "3", "--out", "a\udcff")

    assert ran.code == 2
    assert ran.err.startswith("error: an argument must be UTF-8 text")
    assert len(ran.err.splitlines()) == 1
    assert not list(Path().iterdir())
