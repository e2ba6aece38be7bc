"""Cost model for Python: one mapping with all its statistics, or many at once."""

import math
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.simulators.accelerator.kernel.buffers import work_for
from archgym.simulators.accelerator.machine.architecture import Architecture
from archgym.simulators.accelerator.machine.mapping import Mapping, MappingArrays
from archgym.simulators.accelerator.problem import TENSORS, Problem
from archgym.simulators.kit import unknown_name

COUNT_MODES: Final = ("timeloop", "ideal")
"""`timeloop` has Timeloop's shortcuts; `ideal` counts every iteration exactly."""

_REASONS: Final = (
    "",
    "tiles of {level} hold {used} words; there are {limit}",
    "{used} instances of {level} are used along X; there are {limit}",
    "{used} instances of {level} are used along Y; there are {limit}",
    "{used} instances of {level} are used; there are {limit}",
    "a tensor is stored at no level",
)


@final
@dataclass(frozen=True)
class Access:
    """Accesses of a tensor in one instance of a level.

    Attributes:
      reads, fills, updates: Words read, brought from outside, and written from inside.
      tile: Words stored at a time.
      instances: Number of instances used.
      energy_pj: Energy of all instances together [pJ].
    """

    reads: int
    fills: int
    updates: int
    tile: int
    instances: int
    energy_pj: float


@final
@dataclass(frozen=True)
class Evaluation:
    """Cost of a mapping, or the reason why it cannot run.

    Attributes:
      infeasible: The reason, or None.
      energy_pj: Total energy [pJ].
      cycles: Total cycles, limits of bandwidth included.
      compute_cycles: Cycles without limits of bandwidth.
      utilisation: Operations over the number that all units could do in that time, 0 to 1.
      accesses: Accesses by level and stored tensor.
    """

    infeasible: str | None
    energy_pj: float = float("nan")
    cycles: int = 0
    compute_cycles: int = 0
    utilisation: float = float("nan")
    accesses: MappingOf[tuple[str, str], Access] | None = None


@final
@dataclass(frozen=True)
class ManyEvaluations:
    """Costs of n mappings.

    Attributes:
      status: (n,) int64, 0 where the mapping runs; `reason` explains the others.
      totals: (n, 4): energy [pJ], cycles, utilisation, cycles without limits of bandwidth.
      counts: (n, n_levels, 3, 6) as `Work.counts`; (0, …) without details.
      energies: (n, n_levels, 3) [pJ]; (0, …) without details.
    """

    status: np.ndarray
    totals: np.ndarray
    counts: np.ndarray
    energies: np.ndarray


def number_of(kind: str, name: str, known: Sequence[str]) -> int:
    """Return the number in the kernels of one of the known names.

    Raises:
      UnknownNameError: The name is not known.
    """
    if name not in known:
        raise unknown_name(kind, name, known)
    return known.index(name)


def evaluate_mappings(
    problem: Problem,
    architecture: Architecture,
    mappings: MappingArrays,
    counts: str = "timeloop",
    *,
    details: bool = True,
) -> ManyEvaluations:
    """Evaluate mappings of a layer on an accelerator.

    Args:
      problem, architecture: The layer and the accelerator.
      mappings: Mappings whose bounds multiply to the problem's.
      counts: One of `COUNT_MODES`, or ``least``: counts that no order of the loops falls below.
      details: Return counts and energies by level and tensor.

    Raises:
      UnknownNameError: `counts` is not one of `COUNT_MODES`.
    """
    from archgym.simulators.accelerator.kernel.counting import evaluate_many

    n, n_levels = len(mappings.factors), architecture.n_levels
    n_detailed = n if details else 0
    found = ManyEvaluations(
        np.empty(n, dtype=np.int64),
        np.empty((n, 4)),
        np.zeros((n_detailed, n_levels, len(TENSORS), 6)),
        np.zeros((n_detailed, n_levels, len(TENSORS))),
    )
    evaluate_many(
        problem.arrays,
        architecture.arrays,
        MappingArrays(*map(np.ascontiguousarray, mappings)),
        number_of("count mode", counts, (*COUNT_MODES, "least")),
        work_for(architecture, problem),
        found.status,
        found.totals,
        found.counts,
        found.energies,
    )
    return found


def evaluate_mapping(
    problem: Problem, architecture: Architecture, mapping: Mapping, counts: str = "timeloop"
) -> Evaluation:
    """Evaluate one mapping of a layer on an accelerator, with all statistics.

    Raises:
      InvalidArgumentError: The mapping does not match the problem and the architecture.
      UnknownNameError: `counts` is not one of `COUNT_MODES`.
    """
    arrays = mapping.arrays(problem, architecture)
    many = evaluate_mappings(problem, architecture, arrays, counts)
    if many.status[0]:
        return Evaluation(reason(problem, architecture, arrays, 0, int(many.status[0])))
    energy, cycles, utilisation, compute = (float(x) for x in many.totals[0])
    spatial = arrays.factors[0][:, 1:].prod(axis=(1, 2))
    accesses = {
        (level.name, tensor): Access(
            reads=int(many.counts[0, i, t, 0]),
            fills=int(many.counts[0, i, t, 1]),
            updates=int(many.counts[0, i, t, 2]),
            tile=int(many.counts[0, i, t, 3]),
            instances=int(spatial[i + 1 :].prod()),
            energy_pj=float(many.energies[0, i, t]),
        )
        for i, level in enumerate(architecture.levels)
        for t, tensor in enumerate(TENSORS)
        if arrays.keeps[0, i, t]
    }
    return Evaluation(None, energy, int(cycles), int(compute), utilisation, accesses)


def reason(
    problem: Problem, architecture: Architecture, mappings: MappingArrays, row: int, status: int
) -> str:
    """Return why a mapping cannot run: the level and the limit."""
    level, number = divmod(status, 16)
    factors = mappings.factors[row]
    outside = factors[level + 1 :] if level < architecture.n_levels else factors
    along_x, along_y = (int(outside[:, kind].prod()) for kind in (1, 2))
    part = architecture.mac if level == architecture.n_levels else architecture.levels[level]
    held = 0
    if number == 1:
        names = problem.dimensions
        extents = factors[: level + 1].prod(axis=(0, 1))
        kept = zip(problem.projections, mappings.keeps[row, level], strict=True)
        held = sum(
            math.prod(1 + sum(c * (int(extents[names.index(d)]) - 1) for d, c in a) for a in axes)
            for axes, is_kept in kept
            if is_kept
        )
    used = (0, held, along_x, along_y, along_x * along_y, 0)[number]
    capacity = getattr(part, "capacity", None)
    limit = (0, capacity, part.mesh_x, part.mesh_y, part.instances, 0)[number]
    return _REASONS[number].format(level=part.name, used=used, limit=limit)
