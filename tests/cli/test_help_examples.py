"""Examples in help texts work when they are pasted into a command."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from archgym.cli.app import app
from tests.cli.conftest import Archgym

SUCH_AS = re.compile(r"such\s+as\s+(.+?)(?=;|\s\(|\.\s|\.$|$|, for all|, or page_policy)", re.S)
EVALUATE = "evaluate dram -w stream"
# Commands in which an example is pasted at {}, by the option or argument and the example's start.
PASTED = {
    ("simulator", "dram/"): "evaluate {}",
    ("--option", "device="): EVALUATE + " -o {}",
    ("--objective", "target:"): EVALUATE + " --objective {}",
    ("--subject-to", "area_mm2"): "evaluate soc --subject-to {}",
    ("--set", "page_policy="): "search dram -w stream -a random -n 1 --set {}",
    ("--values", "arbiter="): "search dram -w stream -a random -n 1 --values {}",
    ("--values", "request_buffer"): "search dram -w stream -a random -n 1 --values {}",
    ("--values", "page_policy!"): "search dram -w stream -a random -n 1 --values {}",
    ("--stop-at", "total_time_ns"): "search dram -w stream -a random -n 1 --stop-at {}",
    ("--for", "champsim"): "search cpu -w sort -o instructions=2000 -a random -n 1 --for {}",
    ("--option", "gpu_usd_per_hour="): "moe serve --option {}",
    ("--option", "live="): "kv try coding --vary policy --option {}",
    ("--option", "draft_tokens="): "moe serve --option {}",
}
# Examples that need files or minutes; the tests of their commands use the same texts.
ELSEWHERE = {
    "--as",
    "agents",
    "table",
    "--front-metrics",
    "--license",
    "--hold-out",
    "--setting",
    "--task",
    "--domain",
    "--trace",
    "--capacity",
    "--size",
    "--cost",
}


def commands(command: Any) -> Iterator[Any]:
    """Yield every command of the program."""
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner)


def examples() -> list[tuple[str, str]]:
    """Return every option or argument with an example in its help, and the example."""
    found = {}
    for command in commands(typer.main.get_command(app)):
        for parameter in command.params:
            text = " ".join((getattr(parameter, "help", None) or "").split())
            for match in SUCH_AS.finditer(text):
                for part in re.split(r",? or (?=\w+!?=)|, (?=\w+!?=)", match[1]):
                    found[(parameter.opts[0], part.strip('"'))] = None
            for part in re.findall(r"or (\w+!=\w+)", text):
                found[(parameter.opts[0], part)] = None
    return list(found)


RUN = [
    pytest.param(line.format(shlex.quote(example)), id=f"{option} {example}")
    for option, example in examples()
    for (name, start), line in PASTED.items()
    if name == option and example.startswith(start)
]


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN)
def test_example_of_a_help_text_runs(archgym: Archgym, line: str) -> None:
    ran = archgym(*shlex.split(line))

    # 3: a limit is missed, which is an answer.
    assert ran.code in (0, 3), ran.err


def test_every_example_of_a_help_text_is_run() -> None:
    missing = [
        (option, example)
        for option, example in examples()
        if option not in ELSEWHERE
        and not example.startswith(("budget=", "capacity="))
        and not any(name == option and example.startswith(start) for name, start in PASTED)
    ]

    assert len(RUN) >= len(PASTED)
    assert missing == []
