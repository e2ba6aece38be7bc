"""Designs as the model of the error sees them: facts of hardware, workload and design."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, final

import numpy as np

from archgym.evaluation.capabilities import facts_about
from archgym.evaluation.simulator import Simulator, Workload
from archgym.spaces.features import Coordinates
from archgym.spaces.space import DesignSpace

SPACE: Final = "space"
WORKLOAD: Final = "workload"
"""Facts of every point, next to options, characteristics of the workload and parameters."""
# chosen: two random values of a scale from 0 to 1 lie 1 / sqrt(6) apart in the root mean square.
_RANDOM_SQUARES: Final = 6.0


@final
@dataclass(frozen=True, eq=False)
class Points:
    """Points at which a simulator was evaluated: designs on a workload, with options.

    Attributes:
      texts: (n,) texts of each fact, by name; empty where a point lacks it.
      numbers: (n,) values of facts that are positive numbers, by name; NaN where a point lacks it.
      position: (n, n_features), each design in its space, scaled so that random designs lie about
        1 apart.
    """

    texts: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    def rows(self, rows: np.ndarray) -> "Points":
        """Return some of the points."""
        return Points(
            {name: column[rows] for name, column in self.texts.items()},
            {name: column[rows] for name, column in self.numbers.items()},
            self.position[rows],
        )

    def text(self, name: str) -> np.ndarray:
        """Return the texts of a fact, (n,), empty where it is not known."""
        return self.texts.get(name, np.full(len(self), "", dtype=object))

    def number(self, name: str) -> np.ndarray:
        """Return the numbers of a fact, (n,), NaN where it is not known."""
        return self.numbers.get(name, np.full(len(self), np.nan))


class Sides(NamedTuple):
    """Errors in a covariance's order: their points, row and number of the quantity of each."""

    points: Points
    row: np.ndarray
    quantity: np.ndarray

    @classmethod
    def of(cls, points: Points, quantities: np.ndarray) -> "Sides":
        """Return quantities of points, those of a point side by side."""
        row = np.repeat(np.arange(len(points)), len(quantities))
        return cls(points, row, np.tile(quantities, len(points)))


def joined(parts: Sequence[Points]) -> Points:
    """Return the points of several parts, one after the other."""
    width = max(part.position.shape[1] for part in parts)
    texts = sorted({name for part in parts for name in part.texts})
    numbers = sorted({name for part in parts for name in part.numbers})
    positions = [
        np.pad(part.position, ((0, 0), (0, width - part.position.shape[1]))) for part in parts
    ]
    return Points(
        {name: np.concatenate([part.text(name) for part in parts]) for name in texts},
        {name: np.concatenate([part.number(name) for part in parts]) for name in numbers},
        np.concatenate(positions),
    )


def facts_of(simulator: Simulator, workload: Workload) -> dict[str, str | float]:
    """Return facts that all designs of a simulator on a workload share."""
    space = simulator.space.name.partition("{")[0]
    described = _described(simulator, workload)
    return {**described, **simulator.options, SPACE: space, WORKLOAD: workload.digest}


@lru_cache(maxsize=8)
def _described(simulator: Simulator, workload: Workload) -> Mapping[str, str | float]:
    """Return characteristics of a workload; they take as long as some designs."""
    found = facts_about(simulator, workload)
    return {name: value for name, (value, _) in found.items()}


def points_of(
    space: DesignSpace,
    indices: np.ndarray,
    facts: Mapping[str, Any],
    simulated: Mapping[str, np.ndarray] | None = None,
) -> Points:
    """Return designs as points.

    Args:
      space: Space of the designs, not restricted.
      indices: (n, n_parameters), designs of the space.
      facts: Facts that they share, as from `facts_of`.
      simulated: (n,) each, the simulator's own metrics by name, which are numbers of the points.
    """
    canonical = space.canonical(np.asarray(indices, dtype=np.int64))
    n = len(canonical)
    texts = {name: np.full(n, str(value), dtype=object) for name, value in facts.items()}
    numbers = {name: np.full(n, _number(value)) for name, value in facts.items()}
    for place, parameter in enumerate(space.parameters):
        found, inverse = np.unique(canonical[:, place], return_inverse=True)
        values = [parameter.value(index) for index in found.tolist()]
        texts[parameter.name] = np.array([str(v) for v in values], dtype=object)[inverse]
        numbers[parameter.name] = np.array([_number(value) for value in values])[inverse]
    for name, of_metric in (simulated or {}).items():
        numbers[name] = np.where(of_metric > 0, of_metric, np.nan)
    features = Coordinates(space).features(canonical)
    scale = np.sqrt(_RANDOM_SQUARES / max(space.n_parameters, 1))
    return Points(texts, numbers, np.asarray(scale * features, dtype=np.float64))


def _number(value: object) -> float:
    """Return a positive number, also of a text; NaN for anything else."""
    try:
        number = float(str(value))
    except ValueError:
        return float("nan")
    return number if 0 < number < float("inf") else float("nan")
