"""Importance of parameters and pairs for the reward, with intervals.

Functional analysis of variance of a random forest that is fitted on the evaluations: unlike
permutation it also splits effects of single parameters from those of pairs, and it covers the whole
space evenly, not only where a search spent its evaluations. A tree is a sum of boxes, so that its
shares are exact. Optuna has the same of single parameters alone and walks trees in Python.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any, final

import numpy as np

from archgym.analysis.statistics import Interval
from archgym.report.evidence import TaskEvidence
from archgym.report.quantities import Table
from archgym.runtime.reductions import report_reduction

# chosen: fewer leave a forest of such leaves too few to split.
_LEAST_DESIGNS = 50
# chosen: all tasks of a report together; the forest then takes seconds however many there are.
_MOST = 20_000
_LEAST = 4_000
_TREES = 64
# chosen: so few designs to a leaf follow an exact simulator and still smooth over single ones.
_LEAF = 3
# chosen: parameters with more values are judged in so many equal parts of their range.
_MAX_VALUES = 32
# chosen: pairs among more parameters would take longer than the forest.
_MAX_KNOBS = 24
# chosen: below it, most of what rewards vary by is not in the forest.
_POOR_FIT = 0.5
# chosen: the best quarter is what a user chooses among.
_GOOD = 0.75
# chosen: the table and the figure fit a screen.
_SHOWN_PAIRS = 10


@final
@dataclass(frozen=True)
class Importance:
    """Shares of the variance of the reward, larger ones first, 1 for all of it."""

    alone: tuple[tuple[str, Interval], ...]
    pairs: tuple[tuple[str, str, Interval], ...]
    fit: float
    """R² on designs that a tree was not fitted on."""
    n_designs: int

    @property
    def is_poor(self) -> bool:
        """True if the forest says too little of the rewards to be believed."""
        return self.fit < _POOR_FIT

    def total(self) -> dict[str, float]:
        """Return the share of each parameter, alone and in all pairs with others."""
        found = {name: share.value for name, share in self.alone}
        for a, b, share in self.pairs:
            found[a] += share.value
            found[b] += share.value
        return found

    @property
    def note(self) -> str:
        """Reliability of the shares, in words."""
        poor = "A poor fit, a hint at most: " if self.is_poor else ""
        return (
            f"{poor}R² {self.fit:.2f} on designs that trees were not fitted on, of "
            f"{self.n_designs:,} designs."
        )


def importance(
    task: TaskEvidence, *, n_tasks: int, level: float, seed: int, is_among_good: bool = False
) -> Importance | None:
    """Share by parameter and by pair of parameters; None if there is too little to fit.

    Args:
      task: Its designs that were built, each counted once.
      n_tasks: Tasks that share the time of a report.
      level: Share of trees between the ends of an interval. Each tree has its own bootstrap
        sample of the designs.
      seed: Random seed of the forest and of the evaluations that it is fitted on.
      is_among_good: True to count differences above the best quarter's least reward alone, as
        Hutter and others do; below it all designs are alike.

    Source:
      Hutter, Hoos & Leyton-Brown, *An Efficient Approach for Assessing Hyperparameter
      Importance*, ICML 2014; here in closed form over a tree's boxes.
    """
    reward = task.stacked("reward")
    built = np.flatnonzero(np.isfinite(reward))
    most = max(_LEAST, _MOST // n_tasks)
    chosen = built[np.linspace(0, len(built) - 1, min(most, len(built))).astype(np.int64)]
    report_reduction(
        f"evaluations of {task.label} for importances", len(chosen), len(built),
        "they are spread evenly over the runs",
    )  # fmt: skip
    indices, first = np.unique(task.stacked("indices")[chosen], axis=0, return_index=True)
    reward = reward[chosen][first]
    if is_among_good:
        reward = np.maximum(reward, np.quantile(reward, _GOOD))
    if len(reward) < _LEAST_DESIGNS or np.ptp(reward) == 0:
        return None
    parameters = [place for place, size in enumerate(task.space.sizes) if size > 1]
    sizes = np.array([min(int(task.space.sizes[place]), _MAX_VALUES) for place in parameters])
    columns = [
        indices[:, place].astype(np.int64) * size // int(task.space.sizes[place])
        for place, size in zip(parameters, sizes.tolist(), strict=True)
    ]
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=_LEAF, oob_score=True, random_state=seed
    ).fit(np.stack(columns, axis=1), reward)
    boxes = [_boxes(estimator.tree_, sizes) for estimator in forest.estimators_]
    alone = np.array([_alone(*each, sizes) for each in boxes])
    strongest = np.sort(np.argsort(-alone.mean(axis=0), kind="stable")[:_MAX_KNOBS])
    pairs = list(combinations(strongest.tolist(), 2))
    joint = np.array([_joint(*each, sizes, pairs) for each in boxes])
    together = joint - np.array([alone[:, a] + alone[:, b] for a, b in pairs]).T if pairs else joint
    names = [task.space.names[place] for place in parameters]
    single = [(name, _interval(alone[:, k], level)) for k, name in enumerate(names)]
    double = [
        (names[a], names[b], _interval(np.maximum(together[:, p], 0.0), level))
        for p, (a, b) in enumerate(pairs)
    ]
    return Importance(
        tuple(sorted(single, key=lambda entry: -entry[1].value)),
        tuple(sorted(double, key=lambda entry: -entry[2].value)),
        float(forest.oob_score_),
        len(reward),
    )


def _interval(shares: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(shares.mean()), float(low), float(high))


def _boxes(tree: Any, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a tree's leaves: predictions, and the range of each parameter as low and high."""
    low = np.zeros((tree.node_count, len(sizes)), dtype=np.int64)
    high = np.tile(sizes, (tree.node_count, 1))
    nodes = np.array([0])
    while len(nodes := nodes[tree.children_left[nodes] >= 0]):
        left, right = tree.children_left[nodes], tree.children_right[nodes]
        parameter = tree.feature[nodes]
        cut = np.floor(tree.threshold[nodes]).astype(np.int64) + 1
        for child in (left, right):
            low[child], high[child] = low[nodes], high[nodes]
        high[left, parameter] = cut
        low[right, parameter] = cut
        nodes = np.concatenate([left, right])
    is_leaf = tree.children_left < 0
    return tree.value[is_leaf, 0, 0], low[is_leaf], high[is_leaf]


def _weights(
    said: np.ndarray, low: np.ndarray, high: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return parameters' shares of boxes, boxes' parts of the mean, and the variance."""
    shares = (high - low) / sizes
    volume = shares.prod(axis=1)
    said = said - said @ volume
    return shares, said * volume, float((said**2) @ volume)


def _alone(said: np.ndarray, low: np.ndarray, high: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return share of a tree's variance that each parameter decides alone, (n_parameters,)."""
    shares, parts, total = _weights(said, low, high, sizes)
    found = np.zeros(len(sizes))
    for parameter, size in enumerate(sizes.tolist()):
        part = parts / shares[:, parameter]
        steps = np.bincount(low[:, parameter], part, size + 1)
        steps -= np.bincount(high[:, parameter], part, size + 1)
        found[parameter] = np.mean(np.cumsum(steps[:-1]) ** 2)
    return found / total if total > 0 else found


def _joint(
    said: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    sizes: np.ndarray,
    pairs: list[tuple[int, int]],
) -> np.ndarray:
    """Return the share of a tree's variance that pairs of parameters decide, (n_pairs,)."""
    shares, parts, total = _weights(said, low, high, sizes)
    found = np.zeros(len(pairs))
    for number, (a, b) in enumerate(pairs):
        part, width = parts / (shares[:, a] * shares[:, b]), int(sizes[b]) + 1
        corners = np.concatenate(
            [x * width + y for x in (low[:, a], high[:, a]) for y in (low[:, b], high[:, b])]
        )
        signed = np.concatenate([part, -part, -part, part])
        steps = np.bincount(corners, signed, (int(sizes[a]) + 1) * width).reshape(-1, width)
        found[number] = np.mean(steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] ** 2)
    return found / total if total > 0 else found


def good_table(label: str, found: Importance) -> Table:
    """Return the shares of parameters among good designs."""
    note = (
        "As above, but of the reward above the best quarter's least: what decides between good "
        f"designs, where others decide over the whole space. {found.note}"
    )
    rows = tuple(
        (name, 100 * share.value, 100 * share.low, 100 * share.high) for name, share in found.alone
    )
    columns = ("parameter", "share of variance [%]", "low", "high")
    return Table(f"good {label}", "Importance among good designs", columns, rows, note, 2)


def importance_tables(label: str, found: Importance, level: float) -> list[Table]:
    """Return the shares of parameters, and those of the pairs that act together most."""

    def percent(share: Interval) -> tuple[float, float, float]:
        return 100 * share.value, 100 * share.low, 100 * share.high

    columns = ("share of variance [%]", "low", "high")
    note = (
        "Functional analysis of variance of the reward over the whole space, as if every "
        f"combination could be built, by {_TREES} trees; low and high hold {100 * level:g} % of "
        f"them. {found.note}"
    )
    shares = [share for _, share in found.alone] + [share for _, _, share in found.pairs]
    rest = 1 - sum(share.value for share in shares)
    pairs = (
        "Joint effect of two parameters, beyond each alone. All parameters alone and all pairs "
        f"leave {100 * max(0.0, rest):.1f} % to three or more together. {found.note}"
    )
    tables = [
        Table(
            f"importance {label}",
            "Importance of parameters",
            ("parameter", *columns),
            tuple((name, *percent(share)) for name, share in found.alone),
            note,
            2,
        ),
        Table(
            f"interactions {label}",
            "Parameters that act together",
            ("parameter", "and parameter", *columns),
            tuple((a, b, *percent(share)) for a, b, share in found.pairs[:_SHOWN_PAIRS]),
            pairs,
            2,
        ),
    ]
    return [table for table in tables if table.rows]
