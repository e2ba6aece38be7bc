"""Designs and workloads as the numbers that models learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.specification import WorkloadFacts
from archgym.spaces.features import Coordinates, parameter_features
from archgym.spaces.space import DesignSpace

EncodingKind = Literal["ordinal", "one-hot"]

# chosen: a parameter with more values is encoded design by design, not by a table of its values.
_MOST_LISTED = 4096


@final
@dataclass(frozen=True)
class Facts:
    """Numbers that characterise workloads, scaled to 0 to 1 over those that were learned from.

    A fact counts where it is a number on all of them and differs between some.
    """

    names: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def row(self, facts: Mapping[str, tuple[float | str, str]]) -> np.ndarray:
        """Return the scaled numbers of a workload, (n_facts,).

        Raises:
          InvalidArgumentError: The workload lacks one.
        """
        values = []
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            value = facts.get(name, ("", ""))[0]
            if isinstance(value, str):
                raise InvalidArgumentError(
                    f"A workload must be characterised by a number `{name}` for this proxy to "
                    f"predict on it; it has {value!r}. Use the simulator itself."
                )
            values.append((float(value) - low) / (high - low))
        return np.array(values, dtype=np.float64)

    def lie_within(self, row: np.ndarray) -> bool:
        """Return True if a workload lies between those that were learned from in every number."""
        return bool(((row >= 0.0) & (row <= 1.0)).all())

    def to_json(self) -> list[list[Any]]:
        """Return name, least and largest number of each."""
        return [list(fact) for fact in zip(self.names, self.low, self.high, strict=True)]


def gather_facts(workloads: Sequence[WorkloadFacts]) -> Facts:
    """Return the facts that tell these workloads apart."""
    found = []
    for name in workloads[0].facts if workloads else ():
        values = [workload.facts.get(name, ("", ""))[0] for workload in workloads]
        numbers = [float(value) for value in values if not isinstance(value, str)]
        if len(numbers) == len(values) and min(numbers) < max(numbers):
            found.append((name, min(numbers), max(numbers)))
    return Facts(*(tuple(column) for column in zip(*found, strict=True))) if found else Facts()


@final
class Encoding:
    """Features of canonical designs, and of their workload where a model knows several.

    Ordered parameters are numbers from 0 to 1 by their place on the scale. A choice without order
    is such a number too under "ordinal", which trees cut as they like, and a column for each value
    under "one-hot". Inactive parameters have their default, as in all canonical
    designs.
    """

    def __init__(self, space: DesignSpace, kind: EncodingKind, facts: Facts | None = None) -> None:
        """Take a space; with `facts`, those of the workload follow the design's."""
        self.space = space
        self.kind = kind
        self.facts = facts or Facts()
        self._coordinates = Coordinates(space)

    @property
    def _splits(self) -> bool:
        return self.kind == "one-hot"

    @cached_property
    def n_features(self) -> int:
        """Number of features."""
        row = self.space.default_indices[None, :]
        return int(self._coordinates.features(row, self._splits).shape[1]) + len(self.facts.names)

    def features(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """Return features, (n, n_features) float64.

        Args:
          indices: (n, n_parameters), canonical.
          facts: (n, n_facts) or (n_facts,), scaled.
        """
        known = np.broadcast_to(facts, (len(indices), len(self.facts.names)))
        return np.concatenate([self._coordinates.features(indices, self._splits), known], axis=1)

    @cached_property
    def tables(self) -> list[tuple[int, np.ndarray | None]]:
        """For each feature of a design its parameter, and its number by the parameter's index.

        None if the parameter has too many values to list.
        """
        found: list[tuple[int, np.ndarray | None]] = []
        for place, parameter in enumerate(self.space.parameters):
            if parameter.size == 1:
                continue
            is_listed = parameter.size <= _MOST_LISTED
            listed = np.arange(parameter.size if is_listed else 1)
            for column in parameter_features(parameter, listed, self._splits).T:
                found.append((place, column if is_listed else None))
        return found


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
    """Scaling of each of m metrics; all arrays are (m,).

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
        """Return the scaling for values, (n, m)."""
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
        """Indices of the metrics that vary in the training data."""
        return np.flatnonzero(self.factor > 0)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Return scaled metrics, (n, m), of values in their units; 0 for what never changed."""
        with np.errstate(divide="ignore", invalid="ignore"):
            plain = np.where(self.is_log, np.log(values), values)
            return np.where(self.factor > 0, (plain - self.shift) / self.factor, 0.0)

    def unscaled(self, scaled: np.ndarray) -> np.ndarray:
        """Return values in their units, (n, m), of scaled metrics."""
        plain = self.shift + self.factor * scaled
        logged = np.exp(np.clip(plain, -_MOST_LOG, _MOST_LOG))
        return np.asarray(np.where(self.is_log, logged, plain))

    def ends(self, scaled: np.ndarray) -> np.ndarray:
        """Return `unscaled` for ends of intervals: infinite or 0 if no finite number is meant."""
        # 0 times infinity is that of a metric that never changed.
        with np.errstate(over="ignore", invalid="ignore"):
            plain = self.shift + self.factor * scaled
            return np.asarray(np.where(self.is_log, np.exp(plain), plain))

    def to_json(self) -> dict[str, list[Any]]:
        """Return the scaling as JSON."""
        return {
            name: getattr(self, name).tolist()
            for name in ("is_log", "shift", "factor", "low", "high")
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], n_metrics: int) -> Self:
        """Return scaling from what `to_json` gave.

        Raises:
          ValueError: `data` is not such an object.
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
    """Return metrics that are the same but for their unit and sign, in groups; most are alone.

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
