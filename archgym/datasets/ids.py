"""Ids: numbers of designs and outcomes that are equal in every build, and sets of ids."""

import hashlib
import json
from typing import Any, final

import numpy as np

from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace

# chosen: values of a larger parameter are numbered in order of appearance.
_MAX_TABLE = 2**16

# Source: Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, 2014: the
# finaliser of SplitMix64 as its reference program has it.
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_STEP = np.uint64(0x9E3779B97F4A7C15)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Return hashes, uint64, one to one: each output bit depends on all input bits."""
    with np.errstate(over="ignore"):
        x = numbers + _STEP
        x = (x ^ (x >> _SHIFTS[0])) * _MULTIPLIERS[0]
        x = (x ^ (x >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return np.asarray(x ^ (x >> _SHIFTS[2]))


def fold(ids: np.ndarray, further: np.ndarray | np.uint64) -> np.ndarray:
    """Return ids, (n,) uint64, combined with further numbers."""
    with np.errstate(over="ignore"):
        return mixed(ids * _STEP ^ further)


def scope_id(*parts: Any) -> np.uint64:
    """Return one id for several plain values."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return np.uint64(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def shares(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each id, (n,), uniform and dependent on the seed."""
    # The upper 53 bits are a float's without rounding, which could reach 1.
    return (fold(ids, scope_id("split", seed)) >> np.uint64(11)) * 2.0**-53


@final
class DesignIds:
    """Numbering of a space's designs by their values.

    A design's id is a 64-bit hash of the simulator's name and of the names and values of all its
    parameters, so it does not depend on the dataset, on the order of values, or on documentation.
    Among a million designs, two share an id with a probability of 3e-8.
    """

    def __init__(self, simulator: str, space: DesignSpace) -> None:
        self._start = scope_id(simulator, sorted(space.names))
        self._parameters = space.parameters
        self._tables = {
            place: np.array([scope_id(p.name, p.value(i)) for i in range(p.size)], np.uint64)
            for place, p in enumerate(space.parameters)
            if p.size <= _MAX_TABLE
        }

    def of(self, canonical: np.ndarray) -> np.ndarray:
        """Return ids, (n,) uint64, of canonical designs, (n, n_parameters) indices."""
        # Sums of independent random numbers are as random as each of them, and quick.
        total = np.full(len(canonical), self._start, np.uint64)
        with np.errstate(over="ignore"):
            for place, parameter in enumerate(self._parameters):
                indices = canonical[:, place]
                table = self._tables.get(place)
                total += _numbered(parameter, indices) if table is None else table[indices]
        return mixed(total)


def _numbered(parameter: Parameter, indices: np.ndarray) -> np.ndarray:
    distinct, places = np.unique(indices, return_inverse=True)
    ids = [scope_id(parameter.name, parameter.value(int(index))) for index in distinct]
    return np.asarray(np.array(ids, np.uint64)[places])


@final
class IdSet:
    """A set of ids that takes 8 bytes for each, 16 while it grows."""

    def __init__(self) -> None:
        self.levels: list[np.ndarray] = []
        """Sorted arrays without common members, each at most half as long as the one before."""

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    def contains(self, ids: np.ndarray) -> np.ndarray:
        """Return True if each id is in the set, (n,) bool."""
        found = np.zeros(len(ids), dtype=bool)
        for level in self.levels:
            place = np.minimum(np.searchsorted(level, ids), len(level) - 1)
            found |= level[place] == ids
        return found

    def add(self, ids: np.ndarray) -> np.ndarray:
        """Add ids; return True for those already in the set or repeated, (n,) bool."""
        distinct, first = np.unique(ids, return_index=True)
        is_new = ~self.contains(distinct)
        repeated = np.ones(len(ids), dtype=bool)
        repeated[first[is_new]] = False
        self._insert(distinct[is_new])
        return repeated

    def common(self, other: "IdSet") -> int:
        """Return the number of ids in both sets."""
        return sum(int(other.contains(level).sum()) for level in self.levels)

    def _insert(self, level: np.ndarray) -> None:
        if not len(level):
            return
        while self.levels and len(self.levels[-1]) < 2 * len(level):
            level = np.concatenate([self.levels.pop(), level])
            level.sort()
        self.levels.append(level)
