"""Accelerators: a tree of storage levels below DRAM, and multiply-accumulate units at its leaves.

Every instance of a level feeds the same number of instances of the level below it, so that the tree
is told by the number and mesh of each level's instances.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, final

import numpy as np

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.simulators.accelerator.problem import TENSORS

__all__ = ["Architecture", "ArchitectureArrays", "Level", "MacArray"]

MAX_LEVELS: Final = 8  # chosen: the deepest published one here has 6
# chosen: some TPU; neighbours are found in tables of twice that size.
MAX_INSTANCES: Final = 2**16
UNLIMITED: Final = 2**62


@final
@dataclass(frozen=True)
class Level:
    """A storage level.

    Attributes:
      name: For mappings and messages.
      capacity: Words of an instance; None without limit.
      instances: How many there are in the accelerator.
      mesh_x: How many of them lie side by side; the rest lie in rows.
      block: Words that one access moves.
      word_bits: Bits of a word.
      read_energy_pj: Of one access [pJ]; so are the others.
      write_energy_pj: Of filling a word from above, or writing one from below.
      read_bandwidth: Words a cycle and instance; None without limit.
      write_bandwidth: Likewise.
      shared_bandwidth: Of reads and writes together.
      area_um2: Of an instance [um2].
      keeps: Tensors that it stores unless a mapping says otherwise.
      spatial_x: Dimensions that may be spread over instances below it along X; None: any.
      spatial_y: Likewise along Y.
      temporal: Dimensions that it may loop over in time; None: any.
      order: Order of its loops in time, innermost first, all that it may have; None: any.
    """

    name: str
    capacity: int | None = None
    instances: int = 1
    mesh_x: int = 1
    block: int = 1
    word_bits: int = 16
    read_energy_pj: float = 0.0
    write_energy_pj: float = 0.0
    read_bandwidth: float | None = None
    write_bandwidth: float | None = None
    shared_bandwidth: float | None = None
    area_um2: float = 0.0
    keeps: frozenset[str] = frozenset(TENSORS)
    spatial_x: tuple[str, ...] | None = None
    spatial_y: tuple[str, ...] | None = None
    temporal: tuple[str, ...] | None = None
    order: tuple[str, ...] | None = None

    @property
    def mesh_y(self) -> int:
        """Rows of instances."""
        return self.instances // self.mesh_x


@final
@dataclass(frozen=True)
class MacArray:
    """Multiply-accumulate units.

    Attributes:
      instances: How many there are.
      mesh_x: How many of them lie side by side.
      energy_pj: Of one operation [pJ].
      area_um2: Of one unit [um2].
      name: For messages.
    """

    instances: int
    mesh_x: int
    energy_pj: float
    area_um2: float
    name: str = "mac"

    @property
    def mesh_y(self) -> int:
        """Rows of units."""
        return self.instances // self.mesh_x


@final
@dataclass(frozen=True)
class ArchitectureArrays:
    """An architecture as kernels read it; levels innermost first.

    Attributes:
      sizes: (n_levels + 1, 6) int64: capacity, instances, mesh x, mesh y, fan-out x, fan-out y;
        the last row is the multiply-accumulate units'.
      costs: (n_levels + 1, 8) float64: words of an access, energy of reading, filling and
        updating, bandwidths of reading, writing and both, 1 where one is limited; in the last row
        the energy of an operation stands in column 1.
    """

    sizes: np.ndarray
    costs: np.ndarray


@final
@dataclass(frozen=True)
class Architecture:
    """An accelerator.

    Attributes:
      name: For messages.
      levels: Innermost first; the last one holds all data (DRAM).
      mac: The units below level 0.
    """

    name: str
    levels: tuple[Level, ...]
    mac: MacArray

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n_levels(self) -> int:
        """Number of storage levels."""
        return len(self.levels)

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names, innermost first."""
        return tuple(level.name for level in self.levels)

    @property
    def area_um2(self) -> float:
        """Area of all levels and units [um2]; DRAM lies outside and has none."""
        storage = math.fsum(level.area_um2 * level.instances for level in self.levels)
        return storage + self.mac.area_um2 * self.mac.instances

    def level_index(self, name: str) -> int:
        """Return place of the level with this name.

        Raises:
          UnknownNameError: There is none.
        """
        if name not in self.level_names:
            raise unknown_name(f"level of {self.name}", name, self.level_names)
        return self.level_names.index(name)

    @cached_property
    def keeps(self) -> np.ndarray:
        """(n_levels, 3) int64, which tensors each level stores unless a mapping says otherwise."""
        kept = [[int(tensor in level.keeps) for tensor in TENSORS] for level in self.levels]
        return np.array(kept, dtype=np.int64)

    @cached_property
    def arrays(self) -> ArchitectureArrays:
        """The architecture as kernels read it."""
        return _arrays(self)

    def fan_out(self, level: int) -> tuple[int, int]:
        """Instances of the next level in that one instance of `level` feeds, along X and Y."""
        outer = self.levels[level]
        inner = self.mac if level == 0 else self.levels[level - 1]
        return max(1, inner.mesh_x // outer.mesh_x), max(1, inner.mesh_y // outer.mesh_y)


def _arrays(architecture: Architecture) -> ArchitectureArrays:
    n = architecture.n_levels
    sizes = np.ones((n + 1, 6), dtype=np.int64)
    costs = np.full((n + 1, 8), np.inf)
    for place, level in enumerate(architecture.levels):
        capacity = UNLIMITED if level.capacity is None else level.capacity
        sizes[place, :4] = capacity, level.instances, level.mesh_x, level.mesh_y
        sizes[place, 4:] = architecture.fan_out(place)
        costs[place, 0] = level.block
        costs[place, 1] = level.read_energy_pj
        costs[place, 2:4] = level.write_energy_pj
        bandwidths = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
        costs[place, 4:7] = [np.inf if b is None else b for b in bandwidths]
        costs[place, 7] = float(any(b is not None for b in bandwidths))
    mac = architecture.mac
    sizes[n, :4] = 0, mac.instances, mac.mesh_x, mac.mesh_y
    costs[n, 1] = mac.energy_pj
    sizes.flags.writeable = costs.flags.writeable = False
    return ArchitectureArrays(sizes, costs)


def _check(architecture: Architecture) -> None:
    levels = architecture.levels
    what = f"Architecture {architecture.name!r}"
    names = architecture.level_names
    if not 1 <= len(levels) <= MAX_LEVELS or len({*names, architecture.mac.name}) <= len(names):
        raise InvalidArgumentError(
            f"{what} needs 1 to {MAX_LEVELS} storage levels with names that differ; got {names!r}."
        )
    parts: tuple[Level | MacArray, ...] = (*levels, architecture.mac)
    for part in parts:
        _check_mesh(what, part)
    for level in levels:
        _check_level(what, level)
    chain = [architecture.mac.instances, *(level.instances for level in levels)]
    for place, (inner, outer) in enumerate(pairwise(chain)):
        if inner % outer:
            raise InvalidArgumentError(
                f"{what} must have a whole number of instances below each one; level "
                f"{names[place]!r} has {outer} above {inner}."
            )
    if levels[-1].keeps != frozenset(TENSORS) or levels[-1].capacity is not None:
        raise InvalidArgumentError(
            f"{what} must end in a level without limit that keeps {', '.join(TENSORS)}; "
            f"{names[-1]!r} does not."
        )


def _check_mesh(what: str, part: Level | MacArray) -> None:
    fine = 1 <= part.instances <= MAX_INSTANCES and 1 <= part.mesh_x <= part.instances
    if not fine or part.instances % part.mesh_x:
        raise InvalidArgumentError(
            f"{what} needs 1 to {MAX_INSTANCES} instances of {part.name!r} in whole rows of "
            f"`mesh_x`; got {part.instances} instances and {part.mesh_x}."
        )


def _check_level(what: str, level: Level) -> None:
    energies = (level.read_energy_pj, level.write_energy_pj, level.area_um2)
    bandwidths = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
    fine = (
        (level.capacity is None or 1 <= level.capacity < UNLIMITED)
        and level.block >= 1
        and level.word_bits >= 1
        and all(0 <= e < math.inf for e in energies)
        and all(b is None or 0 < b < math.inf for b in bandwidths)
        and level.keeps <= frozenset(TENSORS)
    )
    if not fine:
        raise InvalidArgumentError(
            f"{what}: level {level.name!r} needs a capacity, block and word of 1 or more, energies "
            f"and area of 0 or more, bandwidths above 0, and to keep some of {', '.join(TENSORS)}; "
            f"got {level!r}."
        )


def allowed_dimensions(architecture: Architecture, dimensions: tuple[str, ...]) -> np.ndarray:
    """Where loops over each dimension may stand.

    Returns:
      (n_levels, 3, n_dimensions) int64: in time, along X and along Y; spatial loops only where a
      level feeds several instances.
    """
    allowed = np.zeros((architecture.n_levels, 3, len(dimensions)), dtype=np.int64)
    for place, level in enumerate(architecture.levels):
        fan = (0, *architecture.fan_out(place))
        limits: Mapping[int, tuple[str, ...] | None] = {
            0: level.temporal,
            1: level.spatial_x,
            2: level.spatial_y,
        }
        for kind, names in limits.items():
            if kind and fan[kind] == 1:
                continue
            allowed[place, kind] = [int(names is None or d in names) for d in dimensions]
    return allowed
