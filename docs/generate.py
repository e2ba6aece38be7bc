"""Write docs/cli.md, docs/parameters.md and the drawn pictures, and check links.

`python docs/generate.py` writes; with `--check` it only reports what is out of date.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models import MODELS, model_picture, model_problems
from packages import package_picture
from parameters import parameters_page

ROOT = Path(__file__).resolve().parent.parent
CLI_PAGE = ROOT / "docs" / "cli.md"
PARAMETERS_PAGE = ROOT / "docs" / "parameters.md"
PICTURE = ROOT / "docs" / "pictures" / "packages.svg"
INTRODUCTION = """\
# Commands

All commands and options, written by `make docs` from the command line itself.

Every command lists its options with `--help`. `archgym --install-completion` lets the shell
complete commands, options and names. Options whose help says *repeat for more* may be given
several times.

| exit code | meaning |
|---|---|
| 0 | success |
| 1 | error, in one line on standard error; `--debug` at any position shows the traceback |
| 2 | invalid command line |
| 3 | no feasible design, or the best design of a search misses a limit; the reason is shown |
| 130, 143 | stopped by SIGINT or SIGTERM; the line shows how to resume |

Results go to standard output; progress, notices and errors go to standard error. Work of more than
two seconds shows a progress bar in a terminal.
"""


def main() -> None:
    """Write or check the generated files; exit with 1 if something is wrong."""
    generated = {
        CLI_PAGE: cli_page(),
        PARAMETERS_PAGE: parameters_page(),
        PICTURE: package_picture(ROOT / "archgym"),
        **{PICTURE.with_name(f"model-{name}.svg"): model_picture(name) for name in MODELS},
    }
    if "--check" not in sys.argv:
        for path, text in generated.items():
            path.write_text(text)
    problems = [*broken_links(), *missing_parts()]
    for path, text in generated.items():
        if not path.is_file() or path.read_text() != text:
            problems.append(f"{path.relative_to(ROOT)} is out of date: run `make docs`")
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.exit(1 if problems else 0)


def missing_parts() -> Iterator[str]:
    """Yield a message for each README without a picture of the model, and each wrong picture."""
    from archgym.evaluation.simulator import simulator_class, simulator_names

    for name in simulator_names():
        if name not in MODELS:
            if (ROOT / "archgym" / "simulators" / name / "README.md").is_file():
                yield f"docs/models.py: simulator {name!r} has no picture of its model"
            continue
        yield from model_problems(name, simulator_class(name)().space.names)


def cli_page() -> str:
    """Return the page on the command line."""
    import typer

    from archgym.cli.app import app

    group: Any = typer.main.get_command(app)
    parts = [INTRODUCTION]
    parts += [command_text(name, command) for name, command in commands(group)]
    return "\n".join(parts)


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command with its name, those of groups by both names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def command_text(name: str, command: Any) -> str:
    """Return the text on one command: its purpose, arguments and options."""
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
    """Return an argument as the usage line shows it."""
    # A bar would end the cell of a table.
    name = str(argument.metavar or argument.name.upper()).replace("|", "/")
    return f"{name}..." if argument.nargs == -1 else name


def row(name: str, text: str | None, default: Any) -> str:
    """Return a row of the table."""
    is_plain = default is None or default is False or callable(default) or default in ([], ())
    shown = "" if is_plain or repr(default) == "Ellipsis" else f"`{default}`"
    return f"| {name} | {(text or '').replace('|', '/')} | {shown} |"


def broken_links() -> Iterator[str]:
    """Yield a message for each relative link in a Markdown file whose target does not exist."""
    folders = ("*.md", "docs/**/*.md", "experiments/*.md", "examples/**/*.md", "archgym/**/*.md")
    for page in (page for folder in folders for page in ROOT.glob(folder)):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            is_outside = target.startswith(("http:", "https:", "mailto:"))
            if not is_outside and not (page.parent / target).exists():
                yield f"{page.relative_to(ROOT)}: the link to {target} leads nowhere"


if __name__ == "__main__":
    main()
