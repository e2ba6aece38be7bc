"""Results of runs: what a study has found, and why the run ended."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from archgym.studies.replay import Ending
from archgym.studies.snapshot import Outcome, StudyLog

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True)
class StudyResult:
    """Reason why a run ended, and the study at that time."""

    log: StudyLog
    ended: Ending
    """Limit that was reached: the budget, the limit of asks, or the end of the agent's search."""

    @property
    def evaluations(self) -> int:
        """Designs evaluated, in all runs."""
        return self.log.evaluations

    @property
    def asks(self) -> int:
        """Designs asked for, repeats included."""
        return self.log.asks

    @property
    def best(self) -> Outcome | None:
        """The best feasible evaluation."""
        return self.log.best()

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row for each evaluation; see `StudyLog.to_dataframe`."""
        return self.log.to_dataframe()

    def __repr__(self) -> str:
        return f"StudyResult({self.log!r}, ended={self.ended!r})"

    def _repr_html_(self) -> str:
        return self.log._repr_html_()
