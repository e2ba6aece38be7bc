"""Output of commands: tables for people, JSON for machines."""

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "duration",
    "file_size",
    "heading",
    "notice",
    "number",
    "plain",
    "printable",
    "say",
    "stdout",
    "table",
    "values_text",
    "warn",
    "write_facts",
    "write_json",
]

# Control characters except tab and line feed; marks that reverse or isolate text; separators of
# lines; and halves of pairs, which stand for bytes that are not UTF-8.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Width of tables in files, pipes and logs.
_PIPE_WIDTH = 160
# chosen: up to two minutes, two hours and two days are shown in the smaller unit.
_SECONDS, _MINUTES, _HOURS = 120, 7200, 172_800


def stdout() -> Console:
    """Return a console on standard output."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def printable(text: str) -> str:
    """Return a text with escapes in place of characters that control a terminal.

    Names from files may hold sequences that clear the screen, write to the clipboard or reverse
    the order of letters. Line ends and tabs stay.
    """
    return _CONTROLS.sub(_escape, text)


def _escape(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def say(text: str = "") -> None:
    """Write a line of text, neither wrapped nor interpreted."""
    typer.echo(printable(text))


def notice(text: str) -> None:
    """Write a line of text on standard error."""
    typer.echo(printable(text), err=True)


def warn(text: str) -> None:
    """Write a warning on standard error."""
    notice(f"warning: {text}")


def heading(text: str) -> None:
    """Write a heading."""
    stdout().print(Text(printable(text), style="bold"), soft_wrap=True)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Iterable[str] = ()
) -> None:
    """Write a table.

    Args:
      columns: Headings; "" for a column without one.
      rows: Cells, one for each column.
      right: Headings of right-aligned columns, such as numbers.
    """
    aligned = set(right)
    built = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for column in columns:
        built.add_column(
            _cell(column),
            justify="right" if column in aligned else "left",
            overflow="fold",
            no_wrap=False,
        )
    for row in rows:
        # Names from files may contain brackets, which must not be read as markup.
        built.add_row(*(_cell(cell) for cell in row))
    console = stdout()
    console.print(built)
    console.print()


def _cell(content: str | Text) -> Text:
    if not isinstance(content, Text):
        return Text(printable(content))
    shown = printable(content.plain)
    return content if shown == content.plain else Text(shown, style=content.style)


def write_facts(rows: Iterable[tuple[str, Any, str]]) -> None:
    """Write a table of numbers with units, then each text on its own line.

    Args:
      rows: Name, value and unit; rows with None or "" as value are omitted.
    """
    given = [row for row in rows if row[1] is not None and row[1] != ""]
    cells = [
        (name, number(value), unit) for name, value, unit in given if not isinstance(value, str)
    ]
    table(("", "value", "unit"), cells, right=("value",))
    texts = [f"{name}: {value}" for name, value, _ in given if isinstance(value, str)]
    if texts:
        say("\n".join([*texts, ""]))


def number(value: float | None) -> str:
    """Return a number with six significant digits and thousands separators; a dash for NaN."""
    if value is None or math.isnan(value):
        return "–"
    if 1e6 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.6g}"


def values_text(parameter: Any) -> str:
    """Return the values of a parameter, abbreviated if there are many."""
    values = getattr(parameter, "values", None)
    if values is None:
        return str(parameter.allowed())
    if len(values) <= 10:
        return ", ".join(str(value) for value in values)
    return f"{values[0]}, {values[1]}, … {values[-1]}"


def write_json(data: Any) -> None:
    """Write data as JSON, with null for NaN."""
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    # JSON has its own escapes for these, with four digits.
    typer.echo(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def plain(data: Any) -> Any:
    """Return data as JSON types: arrays and tuples as lists, NaN and infinities as null."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if hasattr(data, "tolist"):
        return plain(data.tolist())
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def file_size(n_bytes: int) -> str:
    """Return a size in kB, MB or GB."""
    if n_bytes < 10**6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10**9 else f"{n_bytes / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes, hours or days, with two digits at least."""
    if seconds < _SECONDS:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    if seconds < _MINUTES:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < _HOURS else f"{seconds / 86400:.1f} days"
