"""Writes docs/cli.md from the commands themselves, and checks every link in the documentation.

`python docs/generate.py` writes; with `--check` it only says what is out of date.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CLI_PAGE = ROOT / "docs" / "cli.md"
INTRODUCTION = """\
# Commands

This page is written by `make docs` from the commands themselves.

Every command says its options with `--help`. `archgym --install-completion` lets the shell complete
commands, options and names. Options that are marked *repeat it* may be given several times.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error, in one line on standard error; `--debug`, anywhere, shows the traceback |
| 2 | the command was written wrongly |
| 3 | `evaluate`: the design cannot be built; the reason is said |
| 130, 143 | stopped by SIGINT or SIGTERM; the line says how to resume |

Results go to standard output; progress, notices and errors to standard error. A progress bar shows
in a terminal when something takes over two seconds.
"""


def main() -> None:
    """Writes or checks, and exits with 1 where something is wrong."""
    page = cli_page()
    if "--check" not in sys.argv:
        CLI_PAGE.write_text(page)
    problems = list(broken_links())
    if not CLI_PAGE.is_file() or CLI_PAGE.read_text() != page:
        problems.append("docs/cli.md is out of date: run `make docs`")
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.exit(1 if problems else 0)


def cli_page() -> str:
    """The page on the command line."""
    import typer

    from archgym.cli.app import app

    group: Any = typer.main.get_command(app)
    parts = [INTRODUCTION]
    parts += [command_text(name, command) for name, command in commands(group)]
    return "\n".join(parts)


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its name, those of groups by both names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def command_text(name: str, command: Any) -> str:
    """One command: what it does, its arguments and its options."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    shown = " ".join(argument_text(argument) for argument in arguments)
    doc = " ".join((command.help or "").split())
    lines = [
        f"## archgym {name}",
        "",
        doc,
        "",
        "```text",
        f"archgym {name} {shown} [OPTIONS]",
        "```",
    ]
    lines += ["", "| | | default |", "|---|---|---|"]
    for argument in arguments:
        lines.append(row(f"`{argument_text(argument)}`", argument.help, argument.default))
    for option in options:
        names = ", ".join(f"`{text}`" for text in reversed(option.opts))
        lines.append(row(names, option.help, option.default))
    return "\n".join([*lines, ""])


def argument_text(argument: Any) -> str:
    """An argument as the usage line shows it."""
    # A bar would end the cell of a table.
    name = str(argument.metavar or argument.name.upper()).replace("|", "/")
    return f"{name}..." if argument.nargs == -1 else name


def row(name: str, text: str | None, default: Any) -> str:
    """A row of the table."""
    is_plain = default is None or default is False or callable(default) or default in ([], ())
    shown = "" if is_plain or repr(default) == "Ellipsis" else f"`{default}`"
    return f"| {name} | {(text or '').replace('|', '/')} | {shown} |"


def broken_links() -> Iterator[str]:
    """Says of each relative link in a Markdown file whose target does not exist."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("archgym/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            is_outside = target.startswith(("http:", "https:", "mailto:"))
            if not is_outside and not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)}: the link to {target} leads nowhere"


if __name__ == "__main__":
    main()
