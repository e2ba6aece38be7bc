"""Parameters that rules speak of, and those whose values are free where they mean something.

A space with many conditional parameters has far more combinations than designs: where a choice
rules a dozen parameters out, all their values but the default are no designs. But what is allowed
depends only on the few parameters that conditions and constraints name, the core. For each
combination of those, every other parameter has all its values or just its default.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import final

import numpy as np

__all__ = ["Core", "Rules"]

_CHUNK = 2**16


@final
@dataclass(frozen=True)
class Rules:
    """What conditions and constraints say of a group's combinations.

    `resolve` takes combinations, (n, k) indices, and returns their canonical forms, (n, k), which
    parameters mean something, (n, k) bool, and whether each is feasible, (n,) bool.
    """

    resolve: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
    default: tuple[int, ...]
    loose: tuple[int, ...]
    """Places of parameters that no condition or constraint names; they may have conditions."""


@final
class Core:
    """All combinations of the core of a group, and how many designs each stands for."""

    def __init__(self, sizes: tuple[int, ...], rules: Rules) -> None:
        """Takes a group whose core has few enough combinations to be looked at one by one."""
        self._sizes = np.array(sizes, dtype=np.int64)
        self._rules = rules
        self._loose = list(rules.loose)
        self.places = tuple(place for place in range(len(sizes)) if place not in rules.loose)
        """Places of the core's parameters in the group."""
        self.sizes = tuple(sizes[place] for place in self.places)

    @staticmethod
    def size(sizes: tuple[int, ...], rules: Rules) -> int:
        """Combinations of the core."""
        return prod(size for place, size in enumerate(sizes) if place not in rules.loose)

    def count(self) -> int:
        """Number of designs, exact."""
        sizes = [int(size) for size in self._sizes[self._loose]]
        return sum(
            n * prod(size for size, is_active in zip(sizes, pattern, strict=True) if is_active)
            for pattern, n in self._tabulated[1].items()
        )

    @property
    def feasible(self) -> np.ndarray:
        """Whether each combination of the core keeps the constraints, in the shape of its sizes."""
        flags: np.ndarray = self._tabulated[0].reshape(self.sizes)
        return flags

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray | None:
        """Combinations of the group, uniform over its designs; None where there are none."""
        numbers, shares = self._tabulated[2:]
        if not len(numbers):
            return None
        ends = np.cumsum(shares)
        chosen = np.searchsorted(ends, rng.random(n) * ends[-1], side="right")
        combinations = self._of_core(numbers[np.minimum(chosen, len(numbers) - 1)])
        _, active, _ = self._rules.resolve(combinations)
        sizes = self._sizes[self._loose]
        drawn = rng.integers(sizes, size=(n, len(sizes)), dtype=np.int64)
        combinations[:, self._loose] = np.where(
            active[:, self._loose], drawn, combinations[:, self._loose]
        )
        return combinations

    def _of_core(self, numbers: np.ndarray) -> np.ndarray:
        """Combinations of the group whose core has these numbers; the rest has its defaults."""
        combinations = np.tile(np.array(self._rules.default, dtype=np.int64), (len(numbers), 1))
        if self.places:
            columns = np.unravel_index(numbers, self.sizes)
            combinations[:, list(self.places)] = np.stack(columns, axis=1)
        return combinations

    def _chunks(self) -> Iterator[np.ndarray]:
        size = prod(self.sizes)
        for start in range(0, size, _CHUNK):
            yield np.arange(start, min(start + _CHUNK, size))

    @cached_property
    def _tabulated(self) -> tuple[np.ndarray, Counter[tuple[bool, ...]], np.ndarray, np.ndarray]:
        """Feasible; designs by which loose parameters are active; numbers and shares of designs."""
        feasible: list[np.ndarray] = []
        patterns: Counter[tuple[bool, ...]] = Counter()
        numbers: list[np.ndarray] = [np.empty(0, dtype=np.int64)]
        logs: list[np.ndarray] = [np.empty(0)]
        sizes = np.log(self._sizes[self._loose])
        for chunk in self._chunks():
            combinations = self._of_core(chunk)
            canonical, active, fits = self._rules.resolve(combinations)
            feasible.append(fits)
            kept = fits & (canonical == combinations).all(axis=1)
            loose = active[kept][:, self._loose]
            found, counts = np.unique(loose, axis=0, return_counts=True)
            patterns.update(dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True)))
            numbers.append(chunk[kept])
            logs.append(loose @ sizes)
        log = np.concatenate(logs)
        # Relative to the largest, since numbers of designs may be beyond what a float holds.
        shares = np.exp(log - log.max()) if len(log) else log
        return np.concatenate(feasible), patterns, np.concatenate(numbers), shares
