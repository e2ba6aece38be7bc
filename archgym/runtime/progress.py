"""Progress callbacks for long work."""

from typing import Protocol


class StageProgress(Protocol):
    """Progress callback for work of several stages."""

    def __call__(self, what: str, done: float, total: float) -> None:
        """Receive the progress of a stage.

        Args:
          what: Things that are counted, in the plural.
          done: Units done so far in the current stage.
          total: At the stage's end.
        """
