"""Models of one workload, or of several that a proxy learned together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, final

import numpy as np

from archgym.files.json_types import typed
from archgym.proxy.compiled_trees import CompiledTrees
from archgym.proxy.extrapolation import TIERS, Familiarity
from archgym.proxy.features import Encoding, Facts, Scaling
from archgym.proxy.measures import LEVELS
from archgym.proxy.model import ModelKind, Predictor
from archgym.proxy.trees import TreeEnsemble
from archgym.spaces.space import DesignSpace

# A scaled value comes back from its unit with some 1e-16 of difference.
_ROUNDING = 1e-9
# Widths beyond it overflow.
_MOST = 1e300


@final
@dataclass(frozen=True)
class Part:
    """Fitted models for all metrics, with the width of their intervals.

    `groups` are metrics' places with the predictor that answers for them. `doubt` expects the error
    of each group; None if all models say how sure they are. `floor` is (n_metrics,);
    `quantiles` (n_levels, n_metrics), by `LEVELS`, infinite where too few designs were left to
    calibrate on. `beyond`, (n_tiers, n_levels, n_metrics), by `TIERS`, is the least half-width of
    scaled metrics for designs or workloads that have what `familiarity` never saw. `buildable` says
    which share of its trees expects that a design can be built; None if all could.
    """

    workloads: tuple[str, ...]
    """Digests of those it learned from."""
    encoding: Encoding
    scaling: Scaling
    groups: tuple[tuple[tuple[int, ...], Predictor], ...]
    doubt: TreeEnsemble | None
    floor: np.ndarray
    quantiles: np.ndarray
    buildable: TreeEnsemble | None
    familiarity: Familiarity
    beyond: np.ndarray

    def predict(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """Return metrics in their units, (n, n_metrics), of canonical designs.

        Args:
          indices: (n, n_parameters) int64.
          facts: (n_facts,) of their workload, scaled.
        """
        if self.compiled is not None:
            return np.asarray(self.compiled.predict(indices, facts))
        features = self.encoding.features(indices, facts)
        scaled = np.zeros((len(indices), len(self.floor)))
        for metrics, predictor in self.groups:
            scaled[:, metrics] = predictor.predict(features)
        return self.scaling.unscaled(scaled)

    def spread(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """Return uncertainty of scaled metrics, (n, n_metrics), 0 or more."""
        features = self.encoding.features(indices, facts)
        spread = np.zeros((len(indices), len(self.floor)))
        learned = None if self.doubt is None else np.maximum(self.doubt.predict(features), 0.0)
        for number, (metrics, predictor) in enumerate(self.groups):
            own = predictor.spread(features)
            if own is None:
                own = np.ones((1, 1)) if learned is None else learned[:, number, None]
            spread[:, metrics] = own
        return np.asarray(spread + self.floor)

    def interval(
        self, indices: np.ndarray, facts: np.ndarray, level: float, *, is_new: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends, (n, n_metrics) each, of the interval that holds a share `level`.

        Args:
          indices: (n, n_parameters), canonical designs.
          facts: (n_facts,) of their workload, scaled.
          level: The share.
          is_new: True if the workload is not one that it learned from.
        """
        place = LEVELS.index(level)
        width = self.quantiles[place] * self.spread(indices, facts) + _ROUNDING
        least = np.concatenate([np.zeros((1, width.shape[1])), self.beyond[:2, place]])
        width = np.maximum(width, least[self.familiarity.novelty(indices)])
        if is_new:
            width = np.maximum(width, self.beyond[2, place])
        middle = self.scaling.scaled(self.predict(indices, facts))
        ends = [self.scaling.ends(middle + sign * width) for sign in (-1, 1)]
        # What was never below 0 has no interval there: counts, energies, times.
        ends[0] = np.where(self.scaling.low >= 0, np.maximum(ends[0], 0.0), ends[0])
        constant = self.scaling.factor == 0
        low, high = (np.where(constant, self.scaling.shift, end) for end in ends)
        return low, high

    def builds(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """Return True if designs are expected to be built, (n,) bool."""
        if self._compiled_buildable is None:
            return np.ones(len(indices), dtype=bool)
        share = self._compiled_buildable.predict(indices, facts)[:, 0]
        return np.asarray(share >= 0.5)

    @cached_property
    def compiled(self) -> CompiledTrees | None:
        """The models in one structure, where all are trees of not too many thresholds."""
        ensembles = [(m, p) for m, p in self.groups if isinstance(p, TreeEnsemble)]
        if len(ensembles) < len(self.groups) or not ensembles:
            return None
        try:
            return CompiledTrees(self.encoding, self.scaling, ensembles)
        except ValueError:
            # Too many thresholds of what has no table: NumPy knows no such limit.
            return None

    @cached_property
    def _compiled_buildable(self) -> CompiledTrees | None:
        if self.buildable is None:
            return None
        plain = Scaling(np.zeros(1, dtype=bool), np.zeros(1), np.ones(1), np.zeros(1), np.ones(1))
        return CompiledTrees(self.encoding, plain, [((0,), self.buildable)])

    # ---- as data

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as JSON."""
        return {
            "workloads": list(self.workloads),
            "encoding": self.encoding.kind,
            "facts": self.encoding.facts.to_json(),
            "scaling": self.scaling.to_json(),
            "groups": [list(metrics) for metrics, _ in self.groups],
            "floor": self.floor.tolist(),
            "quantiles": _with_nulls(self.quantiles),
            "beyond": [_with_nulls(tier) for tier in self.beyond],
        }

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield all arrays, by names that `from_data` knows."""
        first: dict[str, np.ndarray] = {}
        for number, (_, predictor) in enumerate(self.groups):
            found = predictor.arrays()
            first = first or found
            for name, array in found.items():
                # What all models know alike, such as neighbours' features, is kept once.
                if number == 0 or not _is_same(array, first.get(name)):
                    yield f"group{number}.{name}", array
        yield from self.familiarity.arrays().items()
        for what, ensemble in (("doubt", self.doubt), ("buildable", self.buildable)):
            if ensemble is not None:
                for name, array in ensemble.arrays().items():
                    yield f"{what}.{name}", array

    @classmethod
    def from_data(
        cls,
        data: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        space: DesignSpace,
        n_metrics: int,
        kind: ModelKind,
    ) -> Self:
        """Return part from what `to_json` and `arrays` gave, of whatever origin.

        Raises:
          ValueError: It is not such a part.
        """
        if data["encoding"] not in ("ordinal", "one-hot"):
            raise ValueError(f"encoding {data['encoding']!r} does not exist")
        encoding = Encoding(space, data["encoding"], _facts(data["facts"]))
        scaling = Scaling.from_json(data["scaling"], n_metrics)
        groups = []
        for number, metrics in enumerate(data["groups"]):
            predictor = kind.predictor(  # type: ignore[call-arg]  # as Predictor promises
                {**named(arrays, "group0."), **named(arrays, f"group{number}.")},
                encoding.n_features,
                len(metrics),
            )
            groups.append((tuple(metrics), predictor))
        if sorted(m for metrics, _ in groups for m in metrics) != scaling.changing.tolist():
            raise ValueError("its groups must hold each metric that changes once")
        beyond = _numbers(data["beyond"], (len(TIERS), len(LEVELS), n_metrics))
        if (beyond < 0).any():
            raise ValueError("`beyond` must hold no number below 0")
        doubt, buildable = named(arrays, "doubt."), named(arrays, "buildable.")
        part = cls(
            tuple(str(digest) for digest in data["workloads"]),
            encoding,
            scaling,
            tuple(groups),
            TreeEnsemble(doubt, encoding.n_features, len(groups)) if doubt else None,
            _numbers(data["floor"], (n_metrics,)),
            _numbers(data["quantiles"], (len(LEVELS), n_metrics)),
            TreeEnsemble(buildable, encoding.n_features, 1) if buildable else None,
            Familiarity.read(space, arrays),
            beyond,
        )
        # What cannot be compiled is refused now, not at the first design.
        _ = part.compiled, part._compiled_buildable
        return part


def _is_same(array: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and array.dtype == other.dtype and np.array_equal(array, other)


def _with_nulls(rows: np.ndarray) -> list[list[float | None]]:
    """Return rows of numbers as JSON can hold them: null stands for infinity."""
    return [[value if np.isfinite(value) else None for value in row] for row in rows.tolist()]


def _facts(data: Any) -> Facts:
    facts = typed(data, list[tuple[str, float, float]], "facts")
    if not all(low < high for _, low, high in facts):
        raise ValueError("facts must have names and two ends")
    return Facts(*(tuple(column) for column in zip(*facts, strict=True))) if facts else Facts()


def _numbers(data: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers in a shape; null stands for infinity."""
    kind: Any = float | None
    for _ in shape:
        kind = list[kind]
    array = np.array(typed(data, kind), dtype=np.float64)
    if array.shape != shape or (np.abs(array) >= _MOST).any():
        raise ValueError(f"{shape} numbers were expected")
    return np.where(np.isnan(array), np.inf, array)


def named(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names have a prefix, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
