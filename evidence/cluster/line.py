"""A line of the validation table."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Line:
    """A number that was published or recorded, and the simulator's.

    Attributes:
      id: Group of lines: A ASTRA-sim, P published, C Calculon, F leaf-spine fabric.
      what: Subject of the comparison.
      published: The number of others.
      ours: The simulator's.
      unit: Unit of both.
      error: Distance of the two, in the tolerance's measure.
      tolerance: Largest error that is accepted.
      measure: Measure of both.
      note: Details, such as the first rows that differ.
      known: True if the line is known to be missed, and `note` says why.
    """

    id: str
    what: str
    published: float
    ours: float
    unit: str
    error: float
    tolerance: float
    measure: str
    note: str = ""
    known: bool = False

    @property
    def is_met(self) -> bool:
        """True if the error is within the tolerance."""
        return bool(self.error <= self.tolerance)
