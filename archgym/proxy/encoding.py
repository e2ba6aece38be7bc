"""Designs and workloads as the numbers that models learn from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import numpy as np

from archgym.coordinates import Coordinates, parameter_features
from archgym.declaration import WorkloadFacts
from archgym.errors import InvalidArgumentError
from archgym.space import DesignSpace

__all__ = ["Encoding", "EncodingKind", "Facts", "gather_facts"]

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
        """The scaled numbers of a workload, (n_facts,).

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
        """Whether a workload lies between those that were learned from in every number."""
        return bool(((row >= 0.0) & (row <= 1.0)).all())

    def to_json(self) -> list[list[Any]]:
        """Name, least and largest number of each."""
        return [list(fact) for fact in zip(self.names, self.low, self.high, strict=True)]


def gather_facts(workloads: Sequence[WorkloadFacts]) -> Facts:
    """The facts that tell these workloads apart."""
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
    under "one-hot". Parameters that mean nothing stand at their default, as in all canonical
    designs.
    """

    def __init__(self, space: DesignSpace, kind: EncodingKind, facts: Facts | None = None) -> None:
        """Takes a space; with `facts`, those of the workload follow the design's."""
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
        """Features, (n, n_features) float64.

        Args:
          indices: (n, n_parameters), canonical.
          facts: (n, n_facts) or (n_facts,), scaled.
        """
        known = np.broadcast_to(facts, (len(indices), len(self.facts.names)))
        return np.concatenate([self._coordinates.features(indices, self._splits), known], axis=1)

    @cached_property
    def tables(self) -> list[tuple[int, np.ndarray | None]]:
        """For each feature of a design its parameter, and its number by the parameter's index.

        None where the parameter has too many values to list.
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
