"""Agreement of computed numbers with recorded ones, by file and quantity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

from archgym.errors import InvalidArgumentError


@final
@dataclass(frozen=True)
class Agreement:
    """Agreement of one quantity with one file.

    Attributes:
      results: Name of the file without its ending.
      quantity: Quantity that is compared.
      rows: Number of rows that were compared.
      worst: Largest relative difference; of counts, how many rows differ.
      first: Line of the first row that does not agree; 0 where all do.
    """

    results: str
    quantity: str
    rows: int
    worst: float
    first: int

    @property
    def is_met(self) -> bool:
        """True where every row agrees."""
        return self.first == 0


@final
@dataclass(frozen=True)
class AgreementTable:
    """Agreements, and the disagreements in words: what `archgym validate` shows."""

    lines: tuple[Agreement, ...]
    problems: tuple[str, ...]

    columns: ClassVar[tuple[str, ...]] = ("results", "quantity", "rows", "worst_error", "met")

    @classmethod
    def of(cls, lines: list[Agreement], tolerance: float) -> Self:
        """Return the table of agreements within a tolerance."""
        problems = (
            f"{line.results}: {line.quantity} must agree within {tolerance:g}; it differs by "
            f"{line.worst:.3g} at worst, first in line {line.first}."
            for line in lines
            if not line.is_met
        )
        return cls(tuple(lines), tuple(problems))

    @property
    def rows(self) -> tuple[tuple[str | int | float, ...], ...]:
        """Cells of the table by `columns`."""
        return tuple(
            (line.results, line.quantity, line.rows, line.worst, "yes" if line.is_met else "no")
            for line in self.lines
        )


@final
class Differences:
    """Largest differences of one file, by quantity."""

    def __init__(self, name: str, tolerance: float) -> None:
        """Set up an empty record.

        Args:
          name: Name of the file.
          tolerance: Largest relative difference that still agrees.
        """
        self._name = name
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
        entry = self._found.setdefault(quantity, [0, 0.0, 0])
        entry[0] += 1
        entry[1] = max(entry[1], worst)
        if not worst <= self._tolerance and not entry[2]:
            entry[2] = line

    def equal(self, line: int, quantity: str, came: list[Any], wanted: list[Any]) -> None:
        """Compare whole numbers, which must be equal; the difference is the number of rows."""
        entry = self._found.setdefault(quantity, [0, 0.0, 0])
        entry[0] += 1
        if came != wanted:
            entry[1] += 1.0
            entry[2] = entry[2] or line

    @property
    def lines(self) -> list[Agreement]:
        """One agreement for each quantity."""
        return [
            Agreement(self._name, quantity, int(n), worst, int(first))
            for quantity, (n, worst, first) in self._found.items()
        ]
