"""Agreement of computed numbers with recorded ones, by file and quantity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from archgym.errors import InvalidArgumentError
from evidence.validation import Cells, Group, Validation

COLUMNS: Final = ("results", "quantity", "rows", "equal", "worst_error", "met", "note")
"""Headings of the cells of an `Agreement`."""


@final
@dataclass(frozen=True)
class Agreement:
    """Agreement of one quantity with one file.

    Attributes:
      group: Name of the group of rows.
      results: Name of the file without its ending.
      quantity: Quantity that is compared, or the rows of which all are.
      n_rows: Number of rows that were compared.
      n_met: Number of them that agree.
      worst: Largest relative difference; of counts, how many rows differ; else as `note` says.
      first: Line of the first row that does not agree; 0 where unknown.
      note: What is compared, and further numbers.
      is_required: False if a row that does not agree is no problem.
    """

    group: str
    results: str
    quantity: str
    n_rows: int
    n_met: int
    worst: float = 0.0
    first: int = 0
    note: str = ""
    is_required: bool = True

    @property
    def is_met(self) -> bool:
        """True where every row agrees."""
        return self.n_met == self.n_rows

    @property
    def cells(self) -> Cells:
        """Cells by `COLUMNS`."""
        met = "yes" if self.is_met else "no" if self.is_required else "no, known"
        return (
            self.results, self.quantity, self.n_rows, self.n_met, self.worst, met, self.note,
        )  # fmt: skip

    @property
    def problem(self) -> str:
        """Disagreement in words."""
        where = f", first in line {self.first}" if self.first else ""
        return (
            f"{self.results}: {self.quantity} must agree in all {self.n_rows} rows; it agrees in "
            f"{self.n_met}, and differs by {self.worst:.3g} at worst{where}. {self.note}".rstrip()
        )


def validation_of(lines: Sequence[Agreement], groups: tuple[Group, ...]) -> Validation[Agreement]:
    """Return the validation with these agreements."""
    missed = tuple(line.problem for line in lines if line.is_required and not line.is_met)
    return Validation(tuple(lines), COLUMNS, groups, missed)


@final
class Differences:
    """Largest differences of one file, by quantity."""

    def __init__(self, group: str, name: str, tolerance: float) -> None:
        """Set up an empty record.

        Args:
          group: Group of the rows.
          name: Name of the file.
          tolerance: Largest relative difference that still agrees.
        """
        self._group, self._name = group, name
        self._tolerance = tolerance
        self._found: dict[str, list[float]] = {}

    def number(self, line: int, quantity: str, came: float, wanted: float) -> None:
        """Compare one number."""
        self.numbers(line, quantity, {"": came}, {"": wanted})

    def numbers(
        self, line: int, quantity: str, came: Mapping[Any, float], wanted: Mapping[Any, float]
    ) -> None:
        """Compare numbers of the same names; a difference from 0 counts in full."""
        if came.keys() != wanted.keys():
            raise InvalidArgumentError(
                f"`{quantity}` must have the entries {', '.join(map(str, came))}; got "
                f"{', '.join(map(str, wanted))}"
            )
        worst = 0.0
        for name, value in came.items():
            size = abs(wanted[name])
            difference = abs(value - wanted[name]) / (size if size > 0.0 else 1.0)
            worst = difference if not difference <= worst else worst
        entry = self._found.setdefault(quantity, [0, 0.0, 0, 0])
        entry[0] += 1
        entry[1] = max(entry[1], worst)
        if worst <= self._tolerance:
            entry[3] += 1
        else:
            entry[2] = entry[2] or line

    def equal(self, line: int, quantity: str, came: list[Any], wanted: list[Any]) -> None:
        """Compare whole numbers, which must be equal; the difference is the number of rows."""
        entry = self._found.setdefault(quantity, [0, 0.0, 0, 0])
        entry[0] += 1
        if came == wanted:
            entry[3] += 1
        else:
            entry[1] += 1.0
            entry[2] = entry[2] or line

    @property
    def lines(self) -> list[Agreement]:
        """One agreement for each quantity."""
        return [
            Agreement(self._group, self._name, quantity, int(n), int(n_met), worst, int(first))
            for quantity, (n, worst, first, n_met) in self._found.items()
        ]
