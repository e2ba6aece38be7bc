"""Spaces whose designs are mappings of one layer, with factors and orders as parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.simulators.accelerator.kernel.evaluation import evaluate_mappings
from archgym.simulators.accelerator.machine.architecture import (
    Architecture,
    Level,
    MacArray,
    allowed_dimensions,
)
from archgym.simulators.accelerator.machine.energy import (
    ADDRESS_GENERATORS,
    buffer_registers,
    multiply_accumulate,
    sram,
)
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.mapping.bounds import lower_bound
from archgym.simulators.accelerator.mapping.mapper import map_space
from archgym.simulators.accelerator.problem import Problem
from archgym.simulators.kit import (
    Categorical,
    DesignSpace,
    Factorisation,
    InvalidArgumentError,
    Ordinal,
    Parameter,
    Permutation,
)


@final
@dataclass(frozen=True)
class MappingSpace:
    """A design space whose designs are mappings.

    Attributes:
      space: The parameters.
      problem, architecture: The layer and the accelerator.
      arrays: Function from index vectors, (n, n_parameters), to mappings.
      limit: Function from index vectors to the units that a design may use, (n,); None for all.
    """

    space: DesignSpace
    problem: Problem
    architecture: Architecture
    arrays: Callable[[np.ndarray], MappingArrays]
    limit: Callable[[np.ndarray], np.ndarray] | None = None


def mapping_space(problem: Problem, architecture: Architecture) -> MappingSpace:
    """Return all mappings of a layer: the slots of its bounds' factors, and each level's order.

    Orders are innermost first; the innermost level has none, since nothing is counted within its
    tile. The default design has all loops at DRAM.

    Raises:
      InvalidArgumentError: All bounds are 1.
    """
    names = [d for d in problem.dimensions if problem.bounds[d] > 1]
    if not names:
        raise InvalidArgumentError(
            f"A layer whose mappings are searched must have a bound above 1; all bounds of "
            f"{problem.name} are 1."
        )
    every = slots_of(problem, architecture)
    slots = {name: every[name] for name in names}
    parameters = _splits(problem, architecture, slots)
    ordered = [
        place
        for place in range(1, architecture.n_levels)
        if any((place, 0) in slots[name] for name in names)
        and architecture.levels[place].order is None
    ]
    parameters += [
        Permutation(
            name=f"order_{architecture.level_names[place].lower()}",
            items=tuple(names),
            doc="Loops in time at this level, innermost first.",
        )
        for place in ordered
    ]
    space = DesignSpace(
        "mapping", parameters, doc=f"Mappings of {problem.name} on {architecture.name}."
    )

    given = map_space(problem, architecture).orders[:, 0]

    def arrays(indices: np.ndarray) -> MappingArrays:
        found = _empty(problem, architecture, len(indices))
        found.orders[:, :, 0] = given
        _set_factors(found, problem, space, slots, indices)
        for number, place in enumerate(ordered):
            column = len(names) + number
            orders = _orders(problem, space.parameters[column], indices[:, column])
            found.orders[:, place, 0] = orders
        return found

    return MappingSpace(space, problem, architecture, arrays)


def mapping_table_space(problem: Problem, architecture: Architecture) -> MappingSpace:
    """Return a subset of a layer's mappings for tables: 100,352 for the default layer.

    Filters are spread along X and channels along Y, or are in the loops of the buffer or DRAM. Rows
    and columns of the output are split between those two levels; the loops over the kernel are the
    buffer's. The two orders are weight-stationary and output-stationary.

    Args:
      problem: A convolution.
      architecture: An accelerator of three levels: registers, a buffer, DRAM.
    """
    buffer, dram = 1, 2
    slots = {
        "C": [(buffer, 2), (buffer, 0), (dram, 0)],
        "M": [(buffer, 1), (buffer, 0), (dram, 0)],
        "P": [(buffer, 0), (dram, 0)],
        "Q": [(buffer, 0), (dram, 0)],
    }
    orders = {
        "weights": ("P", "Q", "N", "R", "S", "C", "M"),
        "outputs": ("R", "S", "C", "P", "Q", "N", "M"),
    }
    parameters = _splits(problem, architecture, slots)
    parameters.append(
        Categorical(
            "stationary",
            tuple(orders),
            default="weights",
            doc="Tensor that the inner loops leave in place.",
        )
    )
    space = DesignSpace(
        "mapping-table", parameters, doc=f"Some mappings of {problem.name} on {architecture.name}."
    )
    numbers = {kind: [problem.dimensions.index(n) for n in order] for kind, order in orders.items()}

    def arrays(indices: np.ndarray) -> MappingArrays:
        found = _empty(problem, architecture, len(indices))
        for d, name in enumerate(problem.dimensions):
            if name not in slots:
                found.factors[:, buffer, 0, d] = problem.bounds[name]
        _set_factors(found, problem, space, slots, indices)
        table = np.array([numbers[kind] for kind in orders])
        found.orders[:, :, 0] = table[indices[:, -1]][:, None]
        return found

    return MappingSpace(space, problem, architecture, arrays)


# MaestroGym's parallel dimensions and loops, K C X Y S R, in this model's names; X and Y are the
# output's. The published space has tiles that do not divide, and random outer tiles; here tiles
# divide, and a design defines all of them.
_GAMMA: Final = {"K": "M", "C": "C", "X": "P", "Y": "Q", "S": "S", "R": "R"}
_PARALLEL: Final = ("K", "C", "X", "Y")
_MOST_ELEMENTS: Final = 1024
# MaestroGym: area of an element, of 32 KiB of L2 and of 64 B of L1 [um2].
_ELEMENT_UM2, _L2_UM2, _L1_UM2 = 4470.0, 4161.536, 4505.1889
_L2_BYTES, _L1_BYTES = 32768, 64


def gamma_space(problem: Problem) -> MappingSpace:
    """Return MaestroGym's and GAMMA's space: two levels of tiles, orders and parallel dimensions.

    Args:
      problem: A convolution with channels, filters and both output axes.
    """
    names = [d for d in _GAMMA.values() if d in problem.bounds and problem.bounds[d] > 1]
    letters = {d: letter for letter, d in _GAMMA.items()}
    parallel = tuple(p for p in _PARALLEL if _GAMMA[p] in names)
    parameters: list[Parameter] = [
        Ordinal(
            "num_pes",
            (2, 4, 8, 16, 32, 64, 128, 168, 256, 512, 1024),
            default=256,
            doc="Processing elements that may be used.",
        ),
        *(
            Categorical(f"parallel_{where}", parallel, doc=doc)
            for where, doc in (
                ("inner", "Dimension that a cluster spreads over its elements."),
                ("outer", "Dimension that is spread over clusters."),
            )
        ),
        *(
            Permutation(
                f"order_{where}",
                tuple(letters[d] for d in names),
                doc="Loops of this level, innermost first.",
            )
            for where in ("inner", "outer")
        ),
        *(
            Factorisation(
                name=f"tiles_{letters[d].lower()}",
                total=problem.bounds[d],
                parts=3,
                default=(1, 1, problem.bounds[d]) if letters[d] not in parallel[:1] else None,
                doc="Bounds in an element, within a cluster and over clusters.",
            )
            for d in names
        ),
    ]
    space = DesignSpace(
        "maestro-2023", parameters, doc=f"Two-level mappings of {problem.name} as GAMMA has them."
    )

    def arrays(indices: np.ndarray) -> MappingArrays:
        found = _empty(problem, _gamma_architecture(), len(indices))
        inner, outer = (
            np.array([problem.dimensions.index(_GAMMA[p]) for p in parallel])[indices[:, column]]
            for column in (1, 2)
        )
        for column, name in enumerate(names, 5):
            d = problem.dimensions.index(name)
            values = _values(space.parameters[column], indices[:, column])
            found.factors[:, 0, 0, d] = values[:, 0]
            for place, spread, part in ((1, inner, 1), (2, outer, 2)):
                found.factors[:, place, 1, d] = np.where(spread == d, values[:, part], 1)
                found.factors[:, place, 0, d] = np.where(spread == d, 1, values[:, part])
        for place, column in ((1, 3), (2, 4)):
            orders = _orders(problem, space.parameters[column], indices[:, column], _GAMMA)
            found.orders[:, place, 0] = orders
        return found

    elements = np.asarray(parameters[0].array(np.arange(parameters[0].size)))

    def limit(indices: np.ndarray) -> np.ndarray:
        return np.asarray(elements[indices[:, 0]])

    return MappingSpace(space, problem, _gamma_architecture(), arrays, limit)


def gamma_area_mm2(
    l1_words: np.ndarray, l2_words: np.ndarray, n_elements: np.ndarray
) -> np.ndarray:
    """Return MaestroGym's area of n designs [mm2], with two bytes per word.

    Args:
      l1_words, l2_words: (n,), words that the buffers of an element and the shared one need.
      n_elements: (n,), number of elements.
    """
    l1 = np.ceil(2 * l1_words / _L1_BYTES) * _L1_UM2 * n_elements
    l2 = np.ceil(2 * l2_words / _L2_BYTES) * _L2_UM2
    return np.asarray((n_elements * _ELEMENT_UM2 + l1 + l2) / 1e6)


def _gamma_architecture() -> Architecture:
    unit = multiply_accumulate(16)
    # chosen: MAESTRO's buffers have no limit; a word costs as in 64 registers and in 128 KiB.
    l1 = buffer_registers(64, 16)
    l2 = sram(16384, 64)
    assert l2 is not None, "the table has it"
    l2 = l2.plus(ADDRESS_GENERATORS)
    n = _MOST_ELEMENTS
    return Architecture(
        "maestro-2023",
        (
            Level("l1", None, n, n, read_energy_pj=l1.read_pj, write_energy_pj=l1.write_pj),
            Level("cluster", None, n, n, keeps=frozenset()),
            Level("l2", block=4, read_energy_pj=l2.read_pj, write_energy_pj=l2.write_pj),
            # MAESTRO's energy leaves DRAM out.
            Level("dram"),
        ),
        MacArray(n, n, unit.read_pj, unit.area_um2),
    )


def slots_of(problem: Problem, architecture: Architecture) -> dict[str, list[tuple[int, int]]]:
    """Return level and kind of each slot of a dimension's loops, DRAM's last."""
    allowed = allowed_dimensions(architecture, problem.dimensions)
    return {
        name: [
            (place, kind)
            for place in range(architecture.n_levels)
            for kind in (1, 2, 0)
            if allowed[place, kind, d]
        ]
        for d, name in enumerate(problem.dimensions)
    }


def _splits(
    problem: Problem, architecture: Architecture, slots: Mapping[str, Sequence[tuple[int, int]]]
) -> list[Parameter]:
    """Return a parameter per dimension that splits its bound over its slots."""
    kinds = ("", " along X", " along Y")
    return [
        Factorisation(
            name=f"split_{name.lower()}",
            total=problem.bounds[name],
            parts=len(listed),
            default=(*(1 for _ in listed[1:]), problem.bounds[name]),
            doc=f"Bounds of the loops over {name}: "
            + ", ".join(architecture.level_names[place] + kinds[kind] for place, kind in listed)
            + ".",
        )
        for name, listed in slots.items()
    ]


def _set_factors(
    found: MappingArrays,
    problem: Problem,
    space: DesignSpace,
    slots: Mapping[str, Sequence[tuple[int, int]]],
    indices: np.ndarray,
) -> None:
    """Set the factors of the first parameters, which `_splits` made."""
    for column, (name, listed) in enumerate(slots.items()):
        values = _values(space.parameters[column], indices[:, column])
        for part, (place, kind) in enumerate(listed):
            found.factors[:, place, kind, problem.dimensions.index(name)] = values[:, part]


def _empty(problem: Problem, architecture: Architecture, n: int) -> MappingArrays:
    n_levels, n_dimensions = architecture.n_levels, len(problem.dimensions)
    return MappingArrays(
        np.ones((n, n_levels, 3, n_dimensions), dtype=np.int64),
        np.tile(np.arange(n_dimensions, dtype=np.int64), (n, n_levels, 2, 1)),
        np.tile(architecture.keeps, (n, 1, 1)),
    )


def _values(parameter: Parameter, indices: np.ndarray) -> np.ndarray:
    """Return (n, parts) int64, factors of n designs; each distinct number is decoded once."""
    numbers, places = np.unique(indices, return_inverse=True)
    table = np.array([parameter.value(int(n)) for n in numbers], dtype=np.int64)
    return np.asarray(table[places])


def _orders(
    problem: Problem,
    parameter: Parameter,
    indices: np.ndarray,
    names: dict[str, str] | None = None,
) -> np.ndarray:
    """Return (n, n_dimensions) int64: the ordered dimensions, then those of bound 1."""
    numbers, places = np.unique(indices, return_inverse=True)
    table = []
    for number in numbers:
        value = parameter.value(int(number))
        assert isinstance(value, tuple), "a permutation's values are tuples"
        listed = [names[item] if names else item for item in value]
        order = list(dict.fromkeys([*listed, *problem.dimensions]))
        table.append([problem.dimensions.index(d) for d in order])
    return np.array(table, dtype=np.int64)[places]


def mapping_bounds(mappings: MappingSpace, partial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return energy [pJ] and cycles that no completion of partial mappings falls below, (n,) each.

    Tiles and units of the splits that are chosen are counted as if all other loops were DRAM's: if
    they do not fit then, no completion does, and both bounds are infinite. With all splits chosen,
    counts are those of the best order of loops at each level for each tensor by itself.

    Args:
      mappings: Space of a layer's mappings whose splits have DRAM's loops last.
      partial: (n, n_parameters), indices; -1 where a parameter is free.
    """
    space, problem, built = mappings.space, mappings.problem, mappings.architecture
    filled = np.where(partial < 0, _all_at_dram(space), partial)
    arrays = mappings.arrays(filled)
    found = evaluate_mappings(problem, built, arrays, "least", details=False)
    splits = [i for i, p in enumerate(space.parameters) if isinstance(p, Factorisation)]
    n_units = arrays.factors[:, :, 1:].prod(axis=(1, 2, 3)).astype(np.float64)
    for place in splits:
        parameter = space.parameters[place]
        assert isinstance(parameter, Factorisation)
        n_units = np.where(partial[:, place] < 0, n_units * parameter.total, n_units)
    layer = lower_bound(problem, built)
    n_units = np.minimum(n_units, built.mac.instances)
    cycles = np.maximum(layer.cycles, np.ceil(problem.n_operations / n_units * (1 - 1e-12)))
    energy = np.full(len(partial), layer.energy_pj)
    is_split = (partial[:, splits] >= 0).all(axis=1) & (found.status == 0)
    energy[is_split] = np.maximum(energy, found.totals[:, 0] * (1 - 1e-12))[is_split]
    cycles[is_split] = np.maximum(cycles, found.totals[:, 1] - 1)[is_split]
    does_not_fit = found.status != 0
    energy[does_not_fit] = cycles[does_not_fit] = np.inf
    return energy, cycles


def _all_at_dram(space: DesignSpace) -> np.ndarray:
    """Return the design with all loops at DRAM, (n_parameters,)."""
    design = dict(space.design_at(space.default_indices))
    for parameter in space.parameters:
        if isinstance(parameter, Factorisation):
            design[parameter.name] = (*(1 for _ in range(parameter.parts - 1)), parameter.total)
    return space.indices_of(design)
