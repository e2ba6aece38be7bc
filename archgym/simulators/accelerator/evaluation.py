"""The cost model for Python: one mapping with all its statistics, or many at once."""

import threading
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.errors import unknown_name
from archgym.simulators.accelerator.architecture import Architecture
from archgym.simulators.accelerator.buffers import Work, machine, shape, work
from archgym.simulators.accelerator.mapping import Mapping, MappingArrays
from archgym.simulators.accelerator.problem import TENSORS, Problem

__all__ = [
    "COUNT_MODES",
    "Access",
    "Evaluation",
    "ManyEvaluations",
    "evaluate_mapping",
    "evaluate_mappings",
    "mode_number",
    "reason",
]

COUNT_MODES: Final = ("timeloop", "ideal")
"""`timeloop` keeps its shortcuts; `ideal` counts every iteration as it is."""

_REASONS: Final = (
    "",
    "tiles of {level} hold {came} words; there are {limit}",
    "{came} instances of {level} are used along X; there are {limit}",
    "{came} instances of {level} are used along Y; there are {limit}",
    "{came} instances of {level} are used; there are {limit}",
    "a tensor is stored at no level",
)


@final
@dataclass(frozen=True)
class Access:
    """What one instance of a level does for a tensor.

    Attributes:
      reads, fills, updates: Words read, brought from outside, and written from inside.
      tile: Words stored at a time.
      instances: How many instances are used.
      energy_pj: Of all instances together [pJ].
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
    """What a mapping costs, or why it cannot run.

    Attributes:
      infeasible: The reason, or None.
      energy_pj: In all [pJ].
      cycles: In all, limits of bandwidth included.
      compute_cycles: Without them.
      utilisation: Operations over what all units could do in that time.
      accesses: By level and tensor, of what is stored.
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
    """What mappings cost.

    Attributes:
      status: (n,) int64, 0 where the mapping runs; `reason` says what others mean.
      totals: (n, 4): energy [pJ], cycles, utilisation, cycles without limits of bandwidth.
      counts: (n, n_levels, 3, 6) as `Work.counts`, or (0, …).
      energies: (n, n_levels, 3) [pJ], or (0, …).
    """

    status: np.ndarray
    totals: np.ndarray
    counts: np.ndarray
    energies: np.ndarray


def mode_number(counts: str) -> int:
    """Return the kernel's number of a count mode.

    Raises:
      UnknownNameError: There is no such mode.
    """
    if counts not in COUNT_MODES:
        raise unknown_name("count mode", counts, COUNT_MODES)
    return COUNT_MODES.index(counts)


_local = threading.local()


def work_for(architecture: Architecture, problem: Problem) -> Work:
    """Return this thread's scratch for a problem on an architecture."""
    key = (architecture.n_levels, len(problem.dimensions), architecture.mac.instances)
    kept = getattr(_local, "work", None)
    if kept is None or kept[0] != key:
        _local.work = (key, work(*key))
    found: Work = _local.work[1]
    return found


def evaluate_mappings(
    problem: Problem,
    architecture: Architecture,
    mappings: MappingArrays,
    counts: str = "timeloop",
    *,
    details: bool = True,
) -> ManyEvaluations:
    """What many mappings cost.

    Args:
      problem: The layer.
      architecture: The accelerator.
      mappings: Whose bounds multiply to the problem's.
      counts: One of `COUNT_MODES`.
      details: Whether counts by level and tensor are wanted.

    Raises:
      UnknownNameError: There is no such mode.
    """
    from archgym.simulators.accelerator.kernel import evaluate_many

    n, n_levels = len(mappings), architecture.n_levels
    n_detailed = n if details else 0
    found = ManyEvaluations(
        np.empty(n, dtype=np.int64),
        np.empty((n, 4)),
        np.zeros((n_detailed, n_levels, len(TENSORS), 6)),
        np.zeros((n_detailed, n_levels, len(TENSORS))),
    )
    evaluate_many(
        shape(problem.arrays),
        machine(architecture.arrays),
        np.ascontiguousarray(mappings.factors),
        np.ascontiguousarray(mappings.orders),
        np.ascontiguousarray(mappings.keeps),
        mode_number(counts),
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
    """What one mapping costs, with all statistics.

    Args:
      problem: The layer.
      architecture: The accelerator.
      mapping: On it.
      counts: One of `COUNT_MODES`.

    Raises:
      InvalidArgumentError: The mapping is none of this problem on this architecture.
      UnknownNameError: There is no such mode.
    """
    arrays = mapping.arrays(problem, architecture)
    many = evaluate_mappings(problem, architecture, arrays, counts)
    if many.status[0]:
        return Evaluation(reason(problem, architecture, arrays, 0, int(many.status[0])))
    energy, cycles, utilisation, compute = (float(x) for x in many.totals[0])
    used = _used(arrays)
    accesses = {
        (level.name, tensor): Access(
            reads=int(many.counts[0, i, t, 0]),
            fills=int(many.counts[0, i, t, 1]),
            updates=int(many.counts[0, i, t, 2]),
            tile=int(many.counts[0, i, t, 3]),
            instances=used[i],
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
    """Why a mapping cannot run, in words: which level, and which limit."""
    level, number = divmod(status, 16)
    factors = mappings.factors[row]
    outside = factors[level + 1 :] if level < architecture.n_levels else factors
    along_x, along_y = (int(outside[:, kind].prod()) for kind in (1, 2))
    part = architecture.mac if level == architecture.n_levels else architecture.levels[level]
    held = 0
    if number == 1:
        extents = factors[: level + 1].prod(axis=(0, 1))
        held = sum(
            _tile(problem, tensor, extents)
            for tensor in range(len(TENSORS))
            if mappings.keeps[row, level, tensor]
        )
    came = (0, held, along_x, along_y, along_x * along_y, 0)[number]
    capacity = getattr(part, "capacity", None)
    limit = (0, capacity, part.mesh_x, part.mesh_y, part.instances, 0)[number]
    return _REASONS[number].format(level=part.name, came=came, limit=limit)


def _tile(problem: Problem, tensor: int, extents: np.ndarray) -> int:
    words = 1
    for axis in problem.projections[tensor]:
        words *= 1 + sum(c * (int(extents[problem.dimensions.index(d)]) - 1) for d, c in axis)
    return words


def _used(mappings: MappingArrays) -> list[int]:
    """Return instances used of each level."""
    spatial = mappings.factors[0][:, 1:].prod(axis=(1, 2))
    return [int(spatial[level + 1 :].prod()) for level in range(len(spatial))]
