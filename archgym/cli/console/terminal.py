"""What commands write: tables for people, JSON for machines."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "heading",
    "number",
    "plain",
    "say",
    "stdout",
    "table",
    "unit",
    "values_text",
    "warn",
    "write_facts",
    "write_json",
]

# Wide enough for tables that nobody looks at in a terminal: a file, a pipe, a log.
_PIPE_WIDTH = 160


def stdout() -> Console:
    """Return the console on standard output."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def say(text: str = "") -> None:
    """Write a line as it stands, never wrapped or interpreted."""
    typer.echo(text)


def warn(text: str) -> None:
    """Write a line on standard error about what should be changed."""
    typer.echo(f"warning: {text}", err=True)


def heading(text: str) -> None:
    """Write a line that begins a part."""
    stdout().print(Text(text, style="bold"), soft_wrap=True)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: Iterable[str] = ()
) -> None:
    """Write a table.

    Args:
      columns: Headings; "" for none.
      rows: Cells, one for each column.
      right: Headings of columns that are flush right, as numbers are.
    """
    aligned = set(right)
    built = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for column in columns:
        built.add_column(
            Text(column),
            justify="right" if column in aligned else "left",
            overflow="fold",
            no_wrap=False,
        )
    for row in rows:
        # Names from files may hold brackets, which must not be read as markup.
        built.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    console = stdout()
    console.print(built)
    console.print()


def write_facts(rows: Iterable[tuple[str, Any, str]]) -> None:
    """Write a table of numbers with their units, then texts, however long, a line each.

    Args:
      rows: Name, value and unit; what is None or "" is left out.
    """
    given = [row for row in rows if row[1] is not None and row[1] != ""]
    cells = [
        (name, number(value), unit(of)) for name, value, of in given if not isinstance(value, str)
    ]
    table(("", "value", "unit"), cells, right=("value",))
    texts = [f"{name}: {value}" for name, value, _ in given if isinstance(value, str)]
    if texts:
        say("\n".join([*texts, ""]))


def number(value: float | None) -> str:
    """Return number with six significant digits and thousands apart; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if 1e6 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.6g}"


def unit(text: str) -> str:
    """Return a unit as it stands in a table; nothing for pure numbers."""
    return "" if text == "1" else text


def values_text(parameter: Any) -> str:
    """Return the values of a parameter in a few words."""
    values = getattr(parameter, "values", None)
    if values is None:
        return str(parameter.allowed())
    if len(values) <= 10:
        return ", ".join(str(value) for value in values)
    return f"{values[0]}, {values[1]}, … {values[-1]}"


def write_json(data: Any) -> None:
    """Write data as JSON, without NaN."""
    typer.echo(json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False))


def plain(data: Any) -> Any:
    """Return data as JSON can hold it: arrays and tuples as lists, NaN and infinities as null."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if hasattr(data, "tolist"):
        return plain(data.tolist())
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
