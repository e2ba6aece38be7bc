"""How far long work is, told to whoever wants to know."""

from typing import Protocol

__all__ = ["StageProgress"]


class StageProgress(Protocol):
    """What is told how far work of several stages is."""

    def __call__(self, what: str, done: float, total: float) -> None:
        """Take how far a stage is.

        Args:
          what: What is counted in it, in the plural.
          done: So far; it begins anew with each stage.
          total: At the stage's end.
        """
