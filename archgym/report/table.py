"""A table of a report."""

from dataclasses import dataclass
from typing import final

Cell = str | float | int | None


@final
@dataclass(frozen=True)
class Table:
    """Rows under a title; what a reader sees, and the CSV of the same."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    decimals: int | None = None
    """Format of numbers on the page if all are of one size; files have every digit."""
