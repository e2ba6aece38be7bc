"""Accelerators: a tree of storage levels below DRAM with multiply-accumulate units as leaves.

Every instance of a level feeds the same number of instances of the level below it. The number and
the mesh of each level's instances therefore define the tree.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NamedTuple, final

import numpy as np

from archgym.simulators.accelerator.problem import TENSORS
from archgym.simulators.kit import InvalidArgumentError, unknown_name

MAX_LEVELS: Final = 8  # chosen: the deepest published architecture here has 6
# chosen: the size of a TPU; hash tables of neighbours have twice that size.
MAX_INSTANCES: Final = 2**16
UNLIMITED: Final = 2**62


@final
@dataclass(frozen=True)
class Level:
    """A storage level.

    Attributes:
      name: Name in mappings and messages.
      capacity: Words per instance; None for no limit.
      instances: Number of instances in the accelerator.
      mesh_x: Instances along X; the rest are rows along Y.
      block: Words that one access moves.
      word_bits: Bits per word.
      read_energy_pj: Energy of one read access [pJ].
      write_energy_pj: Energy of one access that fills from above or writes from below [pJ].
      read_bandwidth, write_bandwidth: Words per cycle and instance; None for no limit.
      shared_bandwidth: Limit of reads and writes together.
      area_um2: Area of an instance [um2].
      keeps: Tensors that it stores unless a mapping says otherwise.
      spatial_x, spatial_y: Dimensions that may be spread over instances below; None for any.
      temporal: Dimensions that it may loop over in time; None for any.
      order: Fixed order of its loops in time, innermost first; None for any.
      is_estimated: True if energies or area are not in a table.
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
    is_estimated: bool = False

    @property
    def mesh_y(self) -> int:
        """Rows of instances."""
        return self.instances // self.mesh_x


@final
@dataclass(frozen=True)
class MacArray:
    """Multiply-accumulate units.

    Attributes:
      instances: Number of units.
      mesh_x: Units along X.
      energy_pj: Energy of one operation [pJ].
      area_um2: Area of one unit [um2].
      name: Name in messages.
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


class Machine(NamedTuple):
    """Arrays of an architecture, as kernels take them; levels innermost first.

    Attributes:
      sizes: (n_levels + 1, 6) int64: capacity, instances, mesh x, mesh y, fan-out x, fan-out y;
        the last row is for the multiply-accumulate units.
      costs: (n_levels + 1, 8) float64: words per access, energy of reading, filling and updating,
        bandwidths of reading, writing and both, 1 if one is limited. Column 1 of the last row is
        the energy of an operation.
    """

    sizes: np.ndarray
    costs: np.ndarray


@final
@dataclass(frozen=True)
class Architecture:
    """An accelerator.

    Attributes:
      name: Name in messages.
      levels: Storage levels, innermost first; the last one holds all data (DRAM).
      mac: Units below level 0.
    """

    name: str
    levels: tuple[Level, ...]
    mac: MacArray

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n_estimated(self) -> int:
        """Number of levels whose costs are not in a table."""
        return sum(level.is_estimated for level in self.levels)

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
        """Area of all levels and units [um2], without DRAM."""
        storage = math.fsum(level.area_um2 * level.instances for level in self.levels)
        return storage + self.mac.area_um2 * self.mac.instances

    def level_index(self, name: str) -> int:
        """Return the index of the level with this name.

        Raises:
          UnknownNameError: No level has this name.
        """
        if name not in self.level_names:
            raise unknown_name(f"level of {self.name}", name, self.level_names)
        return self.level_names.index(name)

    @cached_property
    def keeps(self) -> np.ndarray:
        """(n_levels, 3) int64, 1 where a level stores a tensor unless a mapping says otherwise."""
        kept = [[int(tensor in level.keeps) for tensor in TENSORS] for level in self.levels]
        return np.array(kept, dtype=np.int64)

    @cached_property
    def arrays(self) -> Machine:
        """Arrays for kernels."""
        n = self.n_levels
        sizes = np.ones((n + 1, 6), dtype=np.int64)
        costs = np.full((n + 1, 8), np.inf)
        for place, level in enumerate(self.levels):
            capacity = UNLIMITED if level.capacity is None else level.capacity
            sizes[place, :4] = capacity, level.instances, level.mesh_x, level.mesh_y
            sizes[place, 4:] = self.fan_out(place)
            costs[place, 0] = level.block
            costs[place, 1] = level.read_energy_pj
            costs[place, 2:4] = level.write_energy_pj
            bandwidths = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
            costs[place, 4:7] = [np.inf if b is None else b for b in bandwidths]
            costs[place, 7] = float(any(b is not None for b in bandwidths))
        mac = self.mac
        sizes[n, :4] = 0, mac.instances, mac.mesh_x, mac.mesh_y
        costs[n, 1] = mac.energy_pj
        sizes.flags.writeable = costs.flags.writeable = False
        return Machine(sizes, costs)

    def fan_out(self, level: int) -> tuple[int, int]:
        """Return the instances below one instance of `level`, along X and Y."""
        outer = self.levels[level]
        inner = self.mac if level == 0 else self.levels[level - 1]
        return max(1, inner.mesh_x // outer.mesh_x), max(1, inner.mesh_y // outer.mesh_y)


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
        fine = 1 <= part.instances <= MAX_INSTANCES and 1 <= part.mesh_x <= part.instances
        if not fine or part.instances % part.mesh_x:
            raise InvalidArgumentError(
                f"{what} needs 1 to {MAX_INSTANCES} instances of {part.name!r} in whole rows of "
                f"`mesh_x`; got {part.instances} instances and {part.mesh_x}."
            )
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
    """Return which loops each level may have.

    Returns:
      (n_levels, 3, n_dimensions) int64, 1 if allowed in time, along X and along Y. Spatial loops
      need several instances below the level.
    """
    allowed = np.zeros((architecture.n_levels, 3, len(dimensions)), dtype=np.int64)
    for place, level in enumerate(architecture.levels):
        fan = (0, *architecture.fan_out(place))
        for kind, names in enumerate((level.temporal, level.spatial_x, level.spatial_y)):
            if fan[kind] != 1:
                allowed[place, kind] = [int(names is None or d in names) for d in dimensions]
    return allowed
