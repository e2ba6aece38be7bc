"""Protocol of the scores of runs; two reports with equal protocols are comparable."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np

from archgym.analysis.statistics import Interval, Scores, stratified_bootstrap

# Raised when the meaning of a score or of an aggregate changes.
_VERSION = 2


DEFAULT_ZERO = "the default design"
"""Source of score 0 where no random design was evaluated."""


@final
@dataclass(frozen=True)
class Protocol:
    """Everything that decides a score except the runs themselves."""

    budget: int
    """Evaluations after which runs are scored."""
    tasks: Mapping[str, Mapping[str, Any]]
    """By the task's digest, the rewards that score 0 and 1, and where they are from."""
    within_percent: tuple[float, ...] = (10.0, 5.0, 1.0, 0.0)
    level: float = 0.95
    resamples: int = 2000
    tuning_draws: int = 8
    """Settings that tuning in place compares within a run's budget."""
    seed: int = 0
    version: int = _VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the protocol as data, its hash with it."""
        return {**asdict(self), "digest": self.digest}

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def bootstrap(
        self, statistic: str, ours: Scores, theirs: Scores | None = None, level: float | None = None
    ) -> Interval:
        """Return a statistic of scores with its interval, see `stratified_bootstrap`.

        Args:
          statistic: Its name.
          ours: An agent's scores, one array a task.
          theirs: Another one's on the same tasks, where the statistic compares.
          level: Share of resamples between the ends; the protocol's if None.
        """
        return stratified_bootstrap(
            statistic,
            ours,
            theirs,
            level=self.level if level is None else level,
            resamples=self.resamples,
            seed=self.seed,
        )


def is_random_zero(scale: Mapping[str, Any]) -> bool:
    """Return True if score 0 of a task is an average random design, not the default design."""
    return not str(scale["average_from"]).startswith(DEFAULT_ZERO)


def shared_tasks(
    found: Mapping[str, tuple[np.ndarray, ...]], a: str, b: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Score of two agents on the tasks on which both have some."""
    pairs = [(x, y) for x, y in zip(found[a], found[b], strict=True) if len(x) and len(y)]
    return [x for x, _ in pairs], [y for _, y in pairs]
