"""Results that an agent has before it searches: start designs and records of earlier studies."""

from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.analysis.pareto import front
from archgym.evaluation.trials import Trials

# chosen: the best eighth of a study is good enough to begin with, and differs enough.
_BEST_SHARE = 8


@final
@dataclass(frozen=True)
class Prior:
    """Start designs with their results, and records of earlier studies, best first.

    Records may come from other workloads and objectives, so they say which designs are promising
    and not what these are worth. `scores` are normal scores by rank within each earlier study.
    """

    start: Trials | None
    """Results of the start designs, which were evaluated in this study."""
    indices: np.ndarray
    """(n, n_parameters) canonical indices, each design once, by falling score."""
    scores: np.ndarray
    """(n,), larger is better."""
    terms: np.ndarray
    """(n, n_terms), rewards for each term of the objective, each relative to its study."""

    def __len__(self) -> int:
        return len(self.scores)

    def best(self, n: int) -> np.ndarray:
        """Return `n` of the designs with the highest scores, (at most n, n_parameters).

        Ranks are spaced geometrically over the best eighth, since the very best of a study are
        often alike, and another workload may need a different one.
        """
        n = min(n, len(self))
        if n == 0:
            return self.indices[:0]
        last = max(n, len(self) // _BEST_SHARE)
        ranks = np.unique(np.geomspace(1, last, n).astype(np.int64)) - 1
        # Where the first ranks are too close to be spaced, the next best fill the gaps.
        others = np.setdiff1d(np.arange(last), ranks)[: n - len(ranks)]
        return self.indices[np.sort(np.append(ranks, others))]

    def best_fronts(self, n: int) -> np.ndarray:
        """Return `n` designs, front after front of their terms, (at most n, n_parameters)."""
        chosen: list[int] = []
        left = np.arange(len(self))
        while len(chosen) < n and len(left):
            is_best = front(self.terms[left])
            chosen += left[is_best].tolist()
            left = left[~is_best]
        return self.indices[chosen[:n]]
