"""Metrics of an objective that no parameter of a space changes, found by a few evaluations."""

import time
from typing import Final

import numpy as np

from archgym.evaluation.restriction import bare
from archgym.evaluation.simulator import FEASIBLE
from archgym.tasks.task import Task

# chosen: eight designs show nearly every metric to change; 168 make a wrong message unlikely.
# Half of them are drawn, half are single changes of the default design, which can be built more
# often.
_BATCHES: Final = (4, 16, 64)
# chosen: fewer designs that can be built show nothing.
_LEAST: Final = 8
# chosen: a search begins without the rest of the batches after this time [s].
_LIMIT_S: Final = 5.0


def unchanged_metrics(task: Task, seed: int = 0) -> tuple[list[str], int]:
    """Return metrics of the objective with one value on all tried designs, and how many these are.

    Programs, functions and plug-ins of a user are not run for it: their designs may be expensive,
    or break.

    Args:
      task: Task to search.
      seed: Random seed of the designs.
    """
    if not type(bare(task.simulator)).__module__.startswith("archgym.simulators."):
        return [], 0
    names = [spec.name for spec in task.metrics]
    sought = dict.fromkeys(term.metric for term in task.objective.terms)
    space, rng = task.space, np.random.default_rng(seed)
    started, n = time.monotonic(), 0
    for size in _BATCHES:
        changed = np.repeat(space.default_indices[None], size, axis=0)
        columns = rng.integers(space.n_parameters, size=size)
        changed[np.arange(size), columns] = rng.integers(np.array(space.sizes)[columns])
        drawn = np.concatenate([space.sample(size, rng), changed[space.feasible(changed)]])
        result = task.evaluate(drawn)
        is_built = (result.reason == FEASIBLE).all(axis=1)
        n += int(is_built.sum())
        for name in list(sought):
            column = names.index(name)
            found = result.values[is_built, :, column]
            if not np.allclose(found, task.reference[:, column], rtol=1e-12, atol=0.0):
                del sought[name]
        if not sought or time.monotonic() - started > _LIMIT_S:
            break
    return (list(sought), n) if n >= _LEAST else ([], n)
