"""Mappings that were found before, kept for the next design with the same layer."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.accelerator.architecture import Architecture, allowed_dimensions
from archgym.simulators.accelerator.mapper import Found, anneal_mapping, map_space
from archgym.simulators.accelerator.problem import Problem

__all__ = ["mapped", "remembered_cost"]

# chosen: some 20 MB; a network of 20 layers on 5,000 accelerators.
_MAX_KEPT: Final = 100_000

_kept: "OrderedDict[bytes, tuple[float, float, float]]" = OrderedDict()
_lock = threading.Lock()


def remembered_cost(
    problem: Problem,
    architecture: Architecture,
    objective: str,
    tries: int,
    seed: int,
    counts: str,
    fixed_orders: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[float, float, float]:
    """What the best mapping found costs; the same for the same arguments, searched once.

    Args:
      problem: The layer.
      architecture: The accelerator.
      objective: What the mapper minimises.
      tries: Mappings that it looks at.
      seed: Its seed.
      counts: `timeloop` or `ideal`.
      fixed_orders: Orders of loops that are given, by level.

    Returns:
      Energy [pJ], cycles and DRAM's energy [pJ]; infinite where no mapping was found.
    """
    key = _key(problem, architecture, objective, tries, seed, counts, fixed_orders)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = mapped(problem, architecture, objective, tries, seed, counts, fixed_orders)
    cost = (found.energy_pj, found.cycles, found.outermost_energy_pj)
    with _lock:
        _kept[key] = cost
        if len(_kept) > _MAX_KEPT:
            _kept.popitem(last=False)
    return cost


def mapped(
    problem: Problem,
    architecture: Architecture,
    objective: str,
    tries: int,
    seed: int,
    counts: str,
    fixed_orders: Mapping[str, tuple[str, ...]] | None = None,
) -> Found:
    """Return best mapping found, of which `remembered_cost` keeps what it costs; always searched.

    Args:
      problem: As for `remembered_cost`, as are the others.
      architecture: The accelerator.
      objective: What the mapper minimises.
      tries: Mappings that it looks at.
      seed: Its seed.
      counts: `timeloop` or `ideal`.
      fixed_orders: Orders of loops that are given, by level.
    """
    space = map_space(problem, architecture, fixed_orders=fixed_orders)
    return anneal_mapping(space, objective, tries=tries, seed=seed, counts=counts)


def _key(problem: Problem, architecture: Architecture, *rest: Any) -> bytes:
    digest = hashlib.sha256()
    for array in (
        architecture.arrays.sizes,
        architecture.arrays.costs,
        architecture.keeps,
        allowed_dimensions(architecture, problem.dimensions),
    ):
        digest.update(repr(array.shape).encode())
        digest.update(array.tobytes())
    names = [(level.name, level.order) for level in architecture.levels]
    digest.update(repr((names, problem.shape, rest)).encode())
    return digest.digest()
