"""Text rendering of the comparison of a simulator with reference results."""

from collections.abc import Sequence
from typing import Protocol

from archgym.cli.console.terminal import heading, number, say, table

_MET = "met"
_NOTES = "note"
_KIND = "kind"


class ErrorTable(Protocol):
    """Table of errors by group, such as that of the validation of MoE serving."""

    @property
    def title(self) -> str:
        """Heading of the table."""

    @property
    def columns(self) -> Sequence[str]:
        """Headings of the columns."""

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """Cells, one per column."""


def write_validation(
    columns: Sequence[str],
    rows: Sequence[Sequence[str | int | float]],
    problems: Sequence[str],
    tables: Sequence[ErrorTable] = (),
) -> None:
    """Write the table, its notes, the number of rows that meet their limits, and problems.

    Args:
      columns: Headings; "note" holds notes, "met" says "yes" for a row that meets its limit, "kind"
        groups rows for the counts.
      rows: Cells, one per column.
      problems: Results that are worse than their recorded limits.
      tables: Errors by group, written below the rows.
    """
    _write_table(columns, rows)
    write_error_tables(tables)
    _say_counts(columns, rows)
    say("No result is worse than recorded." if not problems else "Results worse than recorded:")
    for problem in problems:
        say(f"  {problem}")


def write_error_tables(tables: Sequence[ErrorTable]) -> None:
    """Write tables of errors by group.

    Args:
      tables: Tables whose first column names the group and whose others are numbers.
    """
    for found in tables:
        heading(found.title)
        table(found.columns, found.rows, right=found.columns[1:])


def _say_counts(columns: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> None:
    """Write how many rows are met, in all and by kind."""
    if _MET not in columns:
        return
    kinds = [str(row[columns.index(_KIND)]) if _KIND in columns else "" for row in rows]
    met = [row[columns.index(_MET)] for row in rows]
    cells = [(kind, cell) for kind, cell in zip(kinds, met, strict=True) if cell != ""]
    if not cells or not all(isinstance(cell, str) for _, cell in cells):
        return
    say(f"{sum(cell == 'yes' for _, cell in cells)} of {len(cells)} rows are met.")
    for kind in sorted({kind for kind, _ in cells if kind}):
        own = [cell for of, cell in cells if of == kind]
        say(f"  {kind}: {own.count('yes')} of {len(own)} rows are met.")


def _write_table(columns: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> None:
    """Write the table; each distinct note, which may be long, is numbered below it."""
    cells = [[c if isinstance(c, str) else number(float(c)) for c in row] for row in rows]
    notes: dict[str, int] = {}
    if _NOTES in columns:
        column = columns.index(_NOTES)
        for row in cells:
            if row[column]:
                row[column] = str(notes.setdefault(row[column], len(notes) + 1))
    numeric = [
        name
        for index, name in enumerate(columns)
        if any(not isinstance(row[index], str) for row in rows)
    ]
    table(columns, cells, right=numeric)
    for text, at in notes.items():
        say(f"{_NOTES} {at}: {text}")
    if notes:
        say()
