"""Cache of the mapper's results by layer, architecture and settings of the search."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from archgym.simulators.accelerator.kernel.architecture import Architecture, allowed_dimensions
from archgym.simulators.accelerator.kernel.problem import Problem
from archgym.simulators.accelerator.mapping.mapper import Found, anneal_mapping, map_space

# chosen: about 20 MB; a network of 20 layers on 5,000 accelerators.
_MAX_KEPT: Final = 100_000

_kept: "OrderedDict[bytes, tuple[float, float, float]]" = OrderedDict()
_lock = threading.Lock()


class Search(NamedTuple):
    """Settings of the search for each layer's mapping.

    Attributes:
      objective: Quantity that the mapper minimises.
      tries: Mappings that it evaluates.
      seed: Seed of the search.
      counts: `timeloop` or `ideal`.
      fixed_orders: Fixed orders of loops, by level.
    """

    objective: str
    tries: int
    seed: int
    counts: str
    fixed_orders: Mapping[str, tuple[str, ...]] | None = None


def cached_cost(
    problem: Problem, architecture: Architecture, search: Search
) -> tuple[float, float, float]:
    """Return the cost of the best mapping found; equal arguments are searched once.

    Returns:
      Energy [pJ], cycles and DRAM's energy [pJ]; infinite if no mapping was found.
    """
    key = _key(problem, architecture, search)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = find_mapping(problem, architecture, search)
    cost = (found.energy_pj, found.cycles, found.outermost_energy_pj)
    with _lock:
        _kept[key] = cost
        if len(_kept) > _MAX_KEPT:
            _kept.popitem(last=False)
    return cost


def find_mapping(problem: Problem, architecture: Architecture, search: Search) -> Found:
    """Return the mapping whose cost `cached_cost` keeps; it is always searched."""
    space = map_space(problem, architecture, fixed_orders=search.fixed_orders)
    return anneal_mapping(
        space, search.objective, tries=search.tries, seed=search.seed, counts=search.counts
    )


def _key(problem: Problem, architecture: Architecture, search: Search) -> bytes:
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
    digest.update(repr((names, problem.shape, search)).encode())
    return digest.digest()
