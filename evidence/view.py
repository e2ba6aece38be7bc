"""Text rendering of the comparison of a simulator with reference results."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

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


class ValidationGroup(Protocol):
    """Recorded results that are compared in one way."""

    @property
    def name(self) -> str:
        """Name that the option `--group` takes."""

    @property
    def rows(self) -> str:
        """Results in words."""

    @property
    def component(self) -> str:
        """Reason why no design of a search reaches the results; empty for evidence."""


Group = TypeVar("Group", bound=ValidationGroup)


class ValidationResult(Protocol[Group]):
    """Comparison of a simulator with recorded results."""

    @property
    def columns(self) -> Sequence[str]:
        """Headings; "note" holds notes, "met" says "yes", "kind" groups rows for the counts."""

    @property
    def groups(self) -> Sequence[Group]:
        """All groups, evidence and component checks."""

    @property
    def problems(self) -> Sequence[str]:
        """Results that are worse than their recorded limits."""

    @property
    def tables(self) -> Sequence[ErrorTable]:
        """Errors by group, written below the rows."""

    def rows_of(self, group: Group) -> Sequence[Sequence[str | int | float]]:
        """Return the cells of a group's rows, one per column."""


def write_validation(found: ValidationResult[Group]) -> None:
    """Write evidence and component checks, the rows that are met, and problems."""
    for title, is_component in (("Evidence", False), ("Component checks, not evidence", True)):
        groups = [group for group in found.groups if bool(group.component) == is_component]
        rows = [row for group in groups for row in found.rows_of(group)]
        if not rows:
            continue
        heading(title)
        _write_table(found.columns, rows)
        _say_counts(found.columns, rows)
        for group in groups:
            reason = f"; {group.component}" if is_component else ""
            if found.rows_of(group):
                say(f"  {group.name}: {group.rows}{reason}.")
        say()
    write_error_tables(found.tables)
    problems = found.problems
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
