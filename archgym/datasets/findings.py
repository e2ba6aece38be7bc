"""What a check of a dataset found: differences by kind."""

from typing import final

import numpy as np

__all__ = ["Findings"]


@final
class Findings:
    """Differences by kind: how many, and the first."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, first: str, n: int = 1) -> None:
        """Takes differences of one kind, of which the first is where or what `first` says."""
        if n:
            count, example = self._kinds.get(kind, (0, first))
            self._kinds[kind] = count + n, example.removesuffix(".")

    def report(self, kind: str, wrong: np.ndarray, where: str, first: int | None = None) -> None:
        """Takes the rows that are wrong; with the number of the first row, says which one is."""
        if wrong.any():
            row = "" if first is None else f"row {first + int(np.argmax(wrong))} "
            self.add(kind, f"{row}in {where}", int(wrong.sum()))

    def sentences(self) -> tuple[str, ...]:
        """One for each kind."""
        return tuple(
            f"{kind}: {n}, the first one {example}." for kind, (n, example) in self._kinds.items()
        )
