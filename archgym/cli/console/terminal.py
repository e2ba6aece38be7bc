"""Output of commands: tables for people, JSON for machines."""

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archgym.report.quantities import grouped_number

# Control characters except tab and line feed; marks that reverse or isolate text; separators of
# lines; and halves of pairs, which stand for bytes that are not UTF-8.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Width of output in files, pipes and logs where COLUMNS is not set, as in Git.
_PIPE_WIDTH = 80
# Cells between two columns of a table: a space, the separator, a space.
_GAP = 3
# chosen: below this width of the first column, rows are written as records.
_LEAST_NAME = 12
# chosen: up to two minutes, two hours and two days are shown in the smaller unit.
_SECONDS, _MINUTES, _HOURS = 120, 7200, 172_800


def stdout() -> Console:
    """Return a console on standard output, as wide as the terminal.

    In a file or a pipe its width is COLUMNS if that is set, else 80.
    """
    width = None if sys.stdout.isatty() else _pipe_width()
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def _pipe_width() -> int:
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) else _PIPE_WIDTH


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
    """Write a heading, wrapped between words to the width of the output."""
    console = stdout()
    shown = "\n".join(_wrapped(printable(text), console.width, "  "))
    console.print(Text(shown, style="bold"), soft_wrap=True)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Iterable[str] = ()
) -> None:
    """Write a table.

    Args:
      columns: Headings; "" for a column without one.
      rows: Cells, one for each column.
      right: Headings of right-aligned columns, such as numbers.
    """
    cells = [[_cell(cell) for cell in row] for row in rows]
    console = stdout()
    heads = [_cell(column) for column in columns]
    widths = _widths([heads, *cells], console.width)
    aligned = set(right)
    if widths is None:
        is_right = [column in aligned for column in columns]
        if not _write_hanging(console, heads, cells, is_right):
            _write_records(heads, cells)
        return
    built = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for column, head, width in zip(columns, heads, widths, strict=True):
        built.add_column(
            head,
            justify="right" if column in aligned else "left",
            overflow="fold",
            width=width,
        )
    for row in cells:
        # Names from files may contain brackets, which must not be read as markup.
        built.add_row(*row)
    console.print(built)
    console.print()


def _widths(rows: Sequence[Sequence[Text]], width: int) -> list[int] | None:
    """Return widths of columns that break no word; None if the words do not fit."""
    natural = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    room = width - _GAP * (len(natural) - 1)
    if sum(natural) <= room:
        return natural
    least = [
        max((len(word) for cell in column for word in cell.plain.split()), default=0)
        for column in zip(*rows, strict=True)
    ]
    spare = room - sum(least)
    if spare < 0:
        return None
    wanted = [n - m for n, m in zip(natural, least, strict=True)]
    # Narrow columns first: what they leave goes to the long texts.
    widths = list(least)
    for left, place in zip(
        range(len(wanted), 0, -1),
        sorted(range(len(wanted)), key=lambda place: wanted[place]),
        strict=True,
    ):
        given = min(wanted[place], spare // left)
        widths[place] += given
        spare -= given
    return widths


def _write_hanging(
    console: Console,
    heads: Sequence[Text],
    rows: Sequence[Sequence[Text]],
    is_right: Sequence[bool],
) -> bool:
    """Write a table with long names on lines of their own; return False if it is too wide."""
    rest = [max(cell.cell_len for cell in column) for column in zip(heads, *rows, strict=True)][1:]
    first = console.width - sum(rest) - _GAP * len(rest)
    if first < _LEAST_NAME:
        return False
    widths = [first, *rest]
    gap = Text(" " * _GAP)
    for number, row in enumerate((heads, *rows)):
        shown = list(row)
        if row[0].cell_len > first:
            console.print(row[0], soft_wrap=True)
            shown[0] = Text("")
        parts = [cell.copy() for cell in shown]
        for part, width, is_number in zip(parts, widths, is_right, strict=True):
            part.align("right" if is_number else "left", width)
        console.print(gap.join(parts), soft_wrap=True, style="bold" if number == 0 else "")
        if number == 0:
            console.print("─" * console.width)
    console.print()
    return True


def _write_records(heads: Sequence[Text], rows: Sequence[Sequence[Text]]) -> None:
    """Write each row as lines of name and value, for a terminal that is too narrow."""
    indent = max(len(head.plain) for head in heads) + 2
    for row in rows:
        for head, cell in zip(heads, row, strict=True):
            if cell.plain:
                typer.echo(f"{head.plain:<{indent}}{cell.plain}")
        typer.echo()


def _cell(content: str | Text) -> Text:
    if not isinstance(content, Text):
        return Text(printable(content))
    shown = printable(content.plain)
    return content if shown == content.plain else Text(shown, style=content.style)


def prose(text: str, indent: str = "") -> None:
    """Write a text wrapped between words to the width of the output.

    Args:
      text: Sentences, or names with commas.
      indent: Start of the lines after the first.
    """
    typer.echo("\n".join(_wrapped(printable(text), stdout().width, indent)))


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


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
    return grouped_number(value)


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
    from archgym.files.json_types import plain

    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    # JSON has its own escapes for these, with four digits.
    typer.echo(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def file_size(n_bytes: int) -> str:
    """Return a size in kB, MB or GB."""
    if n_bytes < 10**6:
        return f"{n_bytes / 1e3:.1f} kB"
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 10**9 else f"{n_bytes / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """Return a duration in the largest unit that fits (s, min, h, days), 1 s at least."""
    if seconds < _SECONDS:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    if seconds < _MINUTES:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < _HOURS else f"{seconds / 86400:.1f} days"
