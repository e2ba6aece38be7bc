"""The proven joint optimum of a composition, from bounds on what no design can beat.

A composition may bound its metrics by a few parameters (`bounded_by`, `bounds`). All combinations
of these are bounded; those that may hold the optimum are simulated with every value of the other
parameters, best bound first, until no bound is above the best reward. Without bounds every design
is simulated.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.codesign.strategies import composition_of
from archgym.errors import InvalidArgumentError
from archgym.evaluation.limits import LIMITED_REWARD, violations
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.task import Task
from archgym.spaces.design import Design

MAX_COMBINATIONS: Final = 10**9
# chosen: bounds of so many combinations take about a hundred megabytes.
_MAX_BOUNDED: Final = 5_000_000
_BATCH: Final = 4096


@final
@dataclass(frozen=True)
class Proof:
    """The best design of a space, and the work that proves it.

    Attributes:
      design: The best design, the first of equal ones.
      reward: Its reward.
      metrics: Its metrics by name, means over the workloads.
      n_combinations: Combinations of values in the space.
      n_bounded: Combinations whose bound was computed.
      n_simulated: Designs that were simulated.
      n_pruned: Combinations of `n_bounded` that no simulation was needed for.
      seconds: Time that it took [s].
      digest: SHA-256 of task, best design, reward and counts.
    """

    design: Design
    reward: float
    metrics: dict[str, float]
    n_combinations: int
    n_bounded: int
    n_simulated: int
    n_pruned: int
    seconds: float
    digest: str


def prove(
    task: Task, most: int = 20_000, progress: Callable[[int, float, float], None] | None = None
) -> Proof:
    """Return the proven optimum of a task's space.

    Args:
      task: Task of a composition; hold values so that few combinations are left.
      most: Designs that are simulated at most.
      progress: Function of simulated designs, best reward, and best bound that is left.

    Raises:
      InvalidArgumentError: The space is too large, or bounds leave too many designs.
    """
    began = time.monotonic()
    space = task.space
    whole = composition_of(task)
    n_combinations = int(space.size)
    bounded = [name for name in whole.bounded_by if name in space.names]
    places = [space.names.index(name) for name in bounded]
    others = [place for place in range(space.n_parameters) if place not in places]
    n_bounded = int(np.prod([int(space.sizes[p]) for p in places], initial=1.0))
    if n_combinations > MAX_COMBINATIONS or n_bounded > _MAX_BOUNDED:
        raise InvalidArgumentError(
            f"The space must have at most {MAX_COMBINATIONS:,} combinations, and "
            f"{_MAX_BOUNDED:,} of the parameters that bounds depend on; got {n_combinations:,} and "
            f"{n_bounded:,}. Hold values with --set and --values."
        )
    designs = _grid(space.default_indices, places, space.sizes)
    designs = designs[space.feasible(designs)] if not others else designs
    bounds = _bounds(task, whole.bounds if bounded else None, designs)
    order = np.argsort(-bounds, kind="stable")
    best, best_design, best_values, n_simulated = -np.inf, space.default_indices, None, 0
    n_visited = 0
    for row in order:
        if bounds[row] <= best:
            break
        n_visited += 1
        for batch in _batches(_grid(designs[row], others, space.sizes)):
            batch = np.unique(space.canonical(batch[space.feasible(batch)]), axis=0)
            n_simulated += len(batch)
            if n_simulated > most:
                raise InvalidArgumentError(
                    f"`most` must be above {most:,}: bounds leave more designs to simulate (best "
                    f"reward {best:.4f}, bound {bounds[row]:.4f}). Hold more values, or raise it."
                )
            result = task.evaluate(batch)
            place = int(result.reward.argmax()) if len(batch) else -1
            if place >= 0 and result.reward[place] > best:
                best, best_design = float(result.reward[place]), batch[place]
                best_values = (
                    result.values[place] if (result.reason[place] == FEASIBLE).all() else None
                )
        if progress is not None:
            progress(n_simulated, best, float(bounds[row]))
    if best_values is None:
        raise InvalidArgumentError(
            "The space must hold a design that can be built; none was found."
        )
    names = [spec.name for spec in task.metrics]
    counts = [n_combinations, len(designs), n_simulated]
    text = json.dumps([task.digest, best_design.tolist(), best.hex(), counts])
    return Proof(
        space.design_at(best_design),
        best,
        dict(zip(names, task.average(best_values[None])[0].tolist(), strict=True)),
        n_combinations,
        len(designs),
        n_simulated,
        len(order) - n_visited,
        time.monotonic() - began,
        hashlib.sha256(text.encode()).hexdigest(),
    )


def _grid(start: np.ndarray, places: Sequence[int], sizes: np.ndarray) -> np.ndarray:
    """Return a design with every combination of values of some parameters, (n, n_parameters)."""
    shape = [int(sizes[place]) for place in places]
    columns = np.indices(shape).reshape(len(places), -1).T if places else np.zeros((1, 0), int)
    found = np.tile(start, (len(columns), 1))
    found[:, list(places)] = columns
    return found


def _batches(designs: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(designs), _BATCH):
        yield designs[start : start + _BATCH]


def _bounds(
    task: Task, bounds: Callable[..., np.ndarray] | None, designs: np.ndarray
) -> np.ndarray:
    """Return rewards that no design with these values of the bounded parameters exceeds, (n,)."""
    if bounds is None or task.objective.is_published_form:
        return np.full(len(designs), np.inf)
    whole = getattr(task.simulator, "in_whole", lambda indices: indices)(designs)
    values = np.stack([bounds(whole, w.workload) for w in task.workloads], axis=1)
    place = {spec.name: column for column, spec in enumerate(task.metrics)}
    terms = [place[term.metric] for term in task.objective.terms]
    limits = [n for n in task.limits if np.isfinite(values[:, :, place[n.metric]]).all()]
    known = np.where(np.isfinite(values), values, 0.0)
    rewards = task.objective.rewards(
        known, np.zeros(values.shape[:2], np.int16), task.reference, task.metrics, task.weights
    )
    missed = violations(limits, known, task.metrics) > 0.0
    is_known = np.isfinite(values[:, :, terms]).all(axis=(1, 2)) & (len(limits) == len(task.limits))
    return np.where(is_known, rewards, np.where(missed, LIMITED_REWARD, np.inf))
