"""Searches at two fidelities, which are charged for both."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, final, runtime_checkable

import numpy as np

from archgym.agent.agent import agent_class
from archgym.checks import check_number, check_whole
from archgym.errors import InvalidArgumentError
from archgym.evaluation.trials import Trials
from archgym.files.storage import make_folder, open_member, storage_errors, write_atomic
from archgym.studies.snapshot import Known, StudyLog, read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task

_SCREENING = "screening"
_SEARCH = "search"
_COSTS = "costs.json"
_CHOICES = "choices.json"
# chosen: a hundred times the choices.
_MAX_CHOICES = 2**16
# chosen: a joint search spends an eighth of the cheaper fidelity's cost before its first evaluation
# of the task, so that it compares the fidelities from early on. Of an agent that cannot model both,
# half of the evaluations of the task are designs that the screening proposes.
_FIRST_SHARE = 0.125
_PROPOSED_SHARE = 0.5
# chosen: more than any agent searches well; it catches costs in another unit.
_MOST_SCREENED = 100_000


@runtime_checkable
class TwoFidelityAgent(Protocol):
    """Agent that is asked for designs at a cheaper fidelity and at the task's own.

    The caller decides which of the two comes next. `begin` comes first; each ask is followed by
    the results of its design.
    """

    def begin(self, task: "Task") -> None:
        """Take the task, whose results at its own fidelity count."""

    def ask_cheaper(self) -> np.ndarray:
        """Return a design for the cheaper fidelity, (1, n_parameters); none if all are known."""

    def tell_cheaper(self, trials: Trials) -> None:
        """Take the results of the last `ask_cheaper`, scaled to the task's metrics."""

    def promote(self) -> np.ndarray:
        """Return a design for the task's own fidelity, (1, n_parameters); none if all are known."""

    def take(self, trials: Trials) -> None:
        """Take results of the task, such as those of the last `promote`."""


@final
@dataclass(frozen=True)
class ScreenedSearch:
    """Two studies of one space: one at a cheaper fidelity and one at the task's own."""

    screening: StudyLog
    search: StudyLog
    relative_cost: float
    """Cost of an evaluation at the cheaper fidelity; one at the task's own costs 1."""
    costs: np.ndarray
    """(n,), cost of all evaluations up to and with each evaluation of the task."""

    @property
    def cost(self) -> float:
        """Cost of all evaluations, in evaluations of the task."""
        return self.screening.evaluations * self.relative_cost + self.search.evaluations

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the cost after each evaluation of the task, and the best reward so far."""
        return self.costs, self.search.curve()


def screened_search(
    folder: str | Path,
    task: Task,
    cheaper: Task,
    *,
    relative_cost: float,
    cost: float,
    agent: str = "auto",
    seed: int = 0,
    screening_share: float = 0.5,
) -> ScreenedSearch:
    """Search a task with the help of a cheaper fidelity.

    Half of the cost pays for the cheaper fidelity, or another share where it is known to be
    faithful. An agent searches it first; its best designs are then evaluated, and the agent
    continues from their results. So a cheaper fidelity that misleads costs its share and no more.
    `few` models both fidelities together instead: it asks at the cheaper one where the task's own
    promises an improvement, and evaluates the most promising of these designs in between. Both
    parts are studies; the same call writes the same ones, and continues them where it was stopped.

    Args:
      folder: New folder, for both studies, or one in which the same search was stopped.
      task: Task whose rewards count.
      cheaper: Same space and objective at a cheaper fidelity, with shorter traces or with fewer
        workloads. Its metrics count relative to its default design's.
      relative_cost: Cost of an evaluation of `cheaper` over that of `task`, above 0 and below 1.
      cost: Cost of the whole search, in evaluations of the task; 4 or more.
      agent: Agent of both parts.
      seed: Random seed of both parts.
      screening_share: Share of the cost that pays for the cheaper fidelity, above 0 and below 1.
        Three quarters were better than half on a task whose fidelities rank good designs alike.

    Raises:
      InvalidArgumentError: The tasks differ in their spaces, or a number does not fit.
      StorageError: The folder cannot be written.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.tasks.task import Task
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
    check_number("screening_share", screening_share, 0.0, 1.0)
    if not 0.0 < screening_share < 1.0:
        raise InvalidArgumentError(
            f"`screening_share` must lie between 0 and 1; got {screening_share:g}. The rest of the "
            "cost pays for evaluations of the task."
        )
    if cost < 4:
        raise InvalidArgumentError(f"`cost` must be 4 evaluations or more; got {cost:g}.")
    check_whole("seed", seed, 0)
    if task.space.digest != cheaper.space.digest:
        raise InvalidArgumentError(
            f"Both tasks must have the same parameters and values; {task.id} and {cheaper.id} do "
            "not. Make both from one space with the same options of its parameters."
        )
    if task.objective != cheaper.objective:
        raise InvalidArgumentError(
            f"Both tasks must have the same objective; got {task.objective.name!r} and "
            f"{cheaper.objective.name!r}. Make `cheaper` with the objective of `task`."
        )
    if screening_share * cost / relative_cost > _MOST_SCREENED:
        raise InvalidArgumentError(
            f"`relative_cost` must leave at most {_MOST_SCREENED:,} evaluations at the cheaper "
            f"fidelity; got {relative_cost:g} for a cost of {cost:g}. State it in evaluations of "
            "the task."
        )
    n_screened = int(screening_share * cost / relative_cost)
    n_searched = int(cost - n_screened * relative_cost + 1e-9)
    if not n_screened or not n_searched:
        raise InvalidArgumentError(
            f"`screening_share` must leave an evaluation to either fidelity; {screening_share:g} "
            f"of a cost of {cost:g} leaves {n_screened} at the cheaper one and {n_searched} of the "
            "task."
        )
    place = Path(folder)
    _begin(
        place,
        {
            "format": 1,
            "task": task.digest,
            "cheaper": cheaper.digest,
            "relative_cost": relative_cost,
            "cost": cost,
            "agent": agent,
            "seed": seed,
            "screening_share": screening_share,
        },
    )
    kind = agent_class(agent)
    made = kind(task.space, seed=seed)
    if isinstance(made, TwoFidelityAgent):
        made.begin(task)
        costs = _search_jointly(place, task, cheaper, made, n_screened, n_searched, relative_cost)
    else:
        _screen(place, task, cheaper, agent, seed, n_screened, n_searched)
        costs = n_screened * relative_cost + np.arange(1.0, n_searched + 1.0)
    screening, search = read_study(place / _SCREENING), read_study(place / _SEARCH)
    found = ScreenedSearch(screening, search, relative_cost, costs[: search.evaluations])
    stated = {"format": 1, "relative_cost": relative_cost, "cost": found.cost}
    write_atomic(place / _COSTS, json.dumps(stated).encode() + b"\n")
    return found


def _begin(place: Path, choices: Mapping[str, Any]) -> None:
    """Record the choices of a search in a new folder; accept one in which it was stopped.

    Raises:
      InvalidArgumentError: The folder holds another search, or one that is finished.
    """
    path = place / _CHOICES
    recorded = None
    if path.is_file() and not (place / _COSTS).exists():
        with (
            storage_errors(path, "read"),
            open_member(path) as handle,
            suppress(ValueError, RecursionError),
        ):
            recorded = json.loads(handle.read(_MAX_CHOICES))
    if recorded == choices:
        return
    if any((place / name).exists() for name in (_SCREENING, _SEARCH, _COSTS, _CHOICES)):
        raise InvalidArgumentError(
            f"`folder` must be a new one; {place} holds a search at two fidelities. Choose "
            "another, or read its studies with `read_study`."
        )
    write_atomic(make_folder(place) / _CHOICES, json.dumps(choices).encode() + b"\n")


class _Replayed:
    """Log that answers from its records what an earlier process evaluated."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._known = Known(study.task, study.read())
        self._asked: set[bytes] = set()

    @property
    def evaluations(self) -> int:
        """Designs that this process asked for."""
        return len(self._asked)

    def evaluate(self, designs: np.ndarray) -> Trials:
        """Return results; those that are not known yet are evaluated and recorded."""
        canonical = self._study.task.space.canonical(np.asarray(designs, dtype=np.int64))
        self._asked |= {row.tobytes() for row in np.ascontiguousarray(canonical)}
        if len(self._known.missing(designs)):
            return self._study.evaluate(designs)
        return self._known.trials(designs)


def _search_jointly(
    place: Path,
    task: Task,
    cheaper: Task,
    agent: TwoFidelityAgent,
    n_cheaper: int,
    n_own: int,
    relative_cost: float,
) -> np.ndarray:
    """Log both parts of a joint search; return what had been spent after each batch of `task`."""
    costs = []
    with (
        Study.log(place / _SCREENING, cheaper) as cheaper_log,
        Study.log(place / _SEARCH, task) as own_log,
    ):
        screening, search = _Replayed(cheaper_log), _Replayed(own_log)
        first = _FIRST_SHARE * n_cheaper
        for number in range(n_own):
            due = int(first + (n_cheaper - first) * (number + 1) / n_own)
            due = int(first) if number == 0 and n_own > 1 else due
            while screening.evaluations < due and len(designs := agent.ask_cheaper()):
                agent.tell_cheaper(_scaled(screening.evaluate(designs), task, cheaper))
            designs = agent.promote()
            if not len(designs):
                break
            agent.take(search.evaluate(designs))
            costs.append(screening.evaluations * relative_cost + search.evaluations)
    return np.array(costs)


def _scaled(trials: Trials, task: Task, cheaper: Task) -> Trials:
    """Return results of a cheaper fidelity, scaled so that the default design's are the task's.

    Rewards without limits are relative to the default design already.
    """
    own, other = (one.average(one.reference[None])[0] for one in (task, cheaper))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = own / other
    values = trials.values * np.where(np.isfinite(ratio) & (ratio > 0.0), ratio, 1.0)
    if not task.limits:
        return replace(trials, values=values)
    given = (values[:, None], trials.reason[:, None], own[None], task.metrics, np.ones(1))
    objective = task.objective
    return replace(
        trials,
        values=values,
        reward=objective.rewards(*given),
        terms=objective.weighted_terms(*given),
    )


def _screen(
    place: Path,
    task: Task,
    cheaper: Task,
    agent: str,
    seed: int,
    n_screened: int,
    n_searched: int,
) -> None:
    """Search the cheaper fidelity, then the task from its best designs, as studies of an agent."""
    resume: Final = "resume"
    screening = (
        Study.create(
            place / _SCREENING, cheaper, agent, seed=seed, budget=n_screened, exists=resume
        )
        .run()
        .log
    )
    proposed = screening.top_rows(max(1, int(_PROPOSED_SHARE * n_searched)))
    start = [screening.outcome(int(row)).design for row in proposed]
    Study.create(
        place / _SEARCH, task, agent, seed=seed, budget=n_searched, start=start, exists=resume
    ).run()
