"""Searches that are screened by a cheaper fidelity and charged for it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from archgym.checks import check_number, check_whole
from archgym.errors import InvalidArgumentError
from archgym.evaluation.task import Task
from archgym.files.storage import write_atomic
from archgym.studies.snapshot import StudyLog
from archgym.studies.study import Study

__all__ = ["ScreenedSearch", "screened_search"]

_SCREENING = "screening"
_SEARCH = "search"
_COSTS = "costs.json"
# chosen: half of the cost goes into screening, and half of the rest into designs that it proposes.
_SCREENING_SHARE = 0.5
_PROPOSED_SHARE = 0.5


@final
@dataclass(frozen=True)
class ScreenedSearch:
    """Two studies of the same designs: one at a cheaper fidelity, then one at the task's own."""

    screening: StudyLog
    search: StudyLog
    relative_cost: float
    """Cost of an evaluation at the cheaper fidelity; one at the task's own costs 1."""

    @property
    def cost(self) -> float:
        """Cost of all evaluations, in evaluations of the task."""
        return self.screening.evaluations * self.relative_cost + self.search.evaluations

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the cost after each evaluation of the task, and the best reward so far."""
        rewards = self.search.curve()
        spent = self.screening.evaluations * self.relative_cost
        return spent + np.arange(1, len(rewards) + 1), rewards


def screened_search(
    folder: str | Path,
    task: Task,
    cheaper: Task,
    *,
    relative_cost: float,
    cost: float,
    agent: str = "auto",
    seed: int = 0,
) -> ScreenedSearch:
    """Search a task after a search of it at a cheaper fidelity.

    Half of the cost pays for the screening. Its best designs are then evaluated at the task's own
    fidelity, and the agent continues from their results. So a cheaper fidelity that misleads costs
    its share and no more. Both parts are studies: they replay to the same journals.

    Args:
      folder: New folder, for both studies.
      task: Task whose rewards count.
      cheaper: Same space and objective at a cheaper fidelity, or with shorter traces.
      relative_cost: Cost of an evaluation of `cheaper` over that of `task`, above 0 and below 1.
      cost: Cost of the whole search, in evaluations of the task; 4 or more.
      agent: Agent of both parts.
      seed: Random seed of both parts.

    Raises:
      InvalidArgumentError: The tasks differ in their spaces, or a number does not fit.
      StorageError: The folder cannot be written.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.evaluation.task import Task
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny", has_failures=False), "near")
      >>> with TemporaryDirectory() as folder:
      ...     found = screened_search(
      ...         f"{folder}/s", task, task, relative_cost=0.5, cost=6, agent="random"
      ...     )
      >>> found.screening.evaluations, found.search.evaluations, found.cost
      (6, 3, 6.0)
    """
    check_number("relative_cost", relative_cost, 0.0)
    check_number("cost", cost, 0.0)
    if not 0.0 < relative_cost < 1.0:
        raise InvalidArgumentError(
            f"`relative_cost` must lie between 0 and 1; got {relative_cost:g}. A fidelity that is "
            "not cheaper screens nothing."
        )
    if cost < 4:
        raise InvalidArgumentError(f"`cost` must be 4 evaluations or more; got {cost:g}.")
    check_whole("seed", seed, 0)
    if task.space.names != cheaper.space.names:
        raise InvalidArgumentError(
            "Both tasks must have the same parameters; "
            f"got {', '.join(task.space.names)} and {', '.join(cheaper.space.names)}."
        )
    n_screened = int(_SCREENING_SHARE * cost / relative_cost)
    n_searched = int(cost - n_screened * relative_cost + 1e-9)
    place = Path(folder)
    screening = (
        Study.create(place / _SCREENING, cheaper, agent, seed=seed, budget=n_screened).run().log
    )
    proposed = screening.top_rows(max(1, int(_PROPOSED_SHARE * n_searched)))
    start = [screening.outcome(int(row)).design for row in proposed]
    search = (
        Study.create(
            place / _SEARCH,
            task,
            agent,
            seed=seed,
            budget=n_searched,
            start=start,
        )
        .run()
        .log
    )
    found = ScreenedSearch(screening, search, relative_cost)
    stated = {"format": 1, "relative_cost": relative_cost, "cost": found.cost}
    write_atomic(place / _COSTS, json.dumps(stated).encode() + b"\n")
    return found
