"""Metrics as models learn them: logarithms where right, of mean 0 and deviation 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np

__all__ = ["Scaling", "alike"]

# chosen: a metric above 0 that spans a factor of 1.5 or more is learned as a logarithm, since
# designs then act on it by factors.
_LEAST_RANGE = 1.5
# Metrics that are the same but for their unit differ by rounding alone.
_ALIKE = 1 - 1e-8
# chosen: rounding of sums of doubles makes that much of a constant.
_CONSTANT = 1e-12
# Logarithms beyond it have no finite inverse.
_MOST_LOG = 700.0


@final
@dataclass(frozen=True)
class Scaling:
    """How each of m metrics is scaled; all arrays are (m,).

    A scaled metric is ``(x - shift) / factor`` of the metric or its logarithm. `factor` is 0 for a
    metric that never changed: its value is `shift`. `low` and `high` are the least and largest
    value learned from.
    """

    is_log: np.ndarray
    shift: np.ndarray
    factor: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """The scaling for values, (n, m)."""
        low, high = values.min(axis=0), values.max(axis=0)
        size = np.maximum(np.abs(low), np.abs(high))
        changes = high - low > _CONSTANT * size
        is_log = changes & (low > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            is_log &= high / low >= _LEAST_RANGE
        plain = np.where(is_log, np.log(np.where(is_log, values, 1.0)), values)
        shift = np.where(changes, plain.mean(axis=0), low)
        factor = np.where(changes, plain.std(axis=0), 0.0)
        return cls(is_log, shift, factor, low, high)

    @property
    def changing(self) -> np.ndarray:
        """Places of the metrics that ever changed."""
        return np.flatnonzero(self.factor > 0)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Scaled metrics, (n, m), of values in their units; 0 for what never changed."""
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = np.where(self.is_log, np.log(values), values)
            return np.where(self.factor > 0, (plain - self.shift) / self.factor, 0.0)

    def unscaled(self, scaled: np.ndarray) -> np.ndarray:
        """Values in their units, (n, m), of scaled metrics."""
        plain = self.shift + self.factor * scaled
        logged = np.exp(np.clip(plain, -_MOST_LOG, _MOST_LOG))
        return np.asarray(np.where(self.is_log, logged, plain))

    def ends(self, scaled: np.ndarray) -> np.ndarray:
        """As `unscaled`, of ends of intervals: infinite or 0 where no finite number is meant."""
        # 0 times infinity is that of a metric that never changed.
        with np.errstate(over="ignore", invalid="ignore"):
            plain = self.shift + self.factor * scaled
            return np.asarray(np.where(self.is_log, np.exp(plain), plain))

    def to_json(self) -> dict[str, list[Any]]:
        """The scaling as JSON."""
        return {
            name: getattr(self, name).tolist()
            for name in ("is_log", "shift", "factor", "low", "high")
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], n_metrics: int) -> Self:
        """Scaling from what `to_json` gave.

        Raises:
          ValueError: `data` is no such object.
        """
        arrays = []
        for name in ("is_log", "shift", "factor", "low", "high"):
            kind = bool if name == "is_log" else float
            entries = data[name]
            if not isinstance(entries, list) or len(entries) != n_metrics:
                raise ValueError(f"`{name}` of a scaling must list {n_metrics} metrics")
            if not all(type(entry) is kind for entry in entries):
                raise ValueError(f"`{name}` of a scaling must hold {kind.__name__}s")
            arrays.append(np.array(entries))
        scaling = cls(*arrays)
        numbers = np.array(arrays[1:], dtype=np.float64)
        is_sound = np.isfinite(numbers).all() and (scaling.factor >= 0).all()
        if not is_sound or (np.abs(scaling.shift[scaling.is_log]) > _MOST_LOG).any():
            raise ValueError("a scaling must have finite numbers")
        return scaling


def alike(scaled: np.ndarray, changing: np.ndarray) -> list[list[int]]:
    """Metrics that are the same but for their unit and sign, in groups; most are alone.

    Trees that learn several unlike metrics at once cut by the loudest, and answer for the others
    from designs that are unlike in what those depend on: measured on DRAM with equal outcomes kept
    apart, an error of 12 % of the mean total time instead of 0.7 %.
    """
    groups: list[list[int]] = []
    for place in changing.tolist():
        for group in groups:
            covariance = float((scaled[:, place] * scaled[:, group[0]]).mean())
            if abs(covariance) >= _ALIKE:
                group.append(place)
                break
        else:
            groups.append([place])
    return groups
