"""Searches of a composition by parts and as a whole, at equal cost.

`separate` searches each part while the others keep their defaults, and joins the winners.
`a, then b` searches `a` first, and `b` with the winner. `joint` searches all parameters at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Final, final

from archgym.checks import check_whole
from archgym.composition.composition import Composition
from archgym.errors import InvalidArgumentError
from archgym.evaluation.restriction import RestrictedSimulator, held_values, unrestricted
from archgym.evaluation.simulator import FEASIBLE
from archgym.searching import search
from archgym.spaces.design import Design
from archgym.tasks.task import Task

SEPARATE: Final = "separate"
JOINT: Final = "joint"
_THEN: Final = ", then "
# chosen: all orders of three parts; of more only the first ones would be looked at.
_MOST_ORDERS: Final = 6


@final
@dataclass(frozen=True)
class Outcome:
    """Design that a strategy found, judged as a whole.

    Attributes:
      strategy: Its name, one of `strategies_of`.
      seed: Random seed of its searches.
      design: The joint design.
      reward: Reward of the task.
      metrics: Mean of each metric over the workloads; empty where it cannot be built.
      missed: Limits that it misses, in words.
      evaluations: Evaluations that its searches took.
    """

    strategy: str
    seed: int
    design: Design
    reward: float
    metrics: Mapping[str, float]
    missed: tuple[str, ...]
    evaluations: int


def composition_of(task: Task) -> Composition:
    """Return the composition of a task.

    Raises:
      InvalidArgumentError: The task's simulator has no parts.
    """
    whole = unrestricted(task.simulator)
    if not isinstance(whole, Composition):
        raise InvalidArgumentError(
            f"The simulator must have several parts, such as cpu+dram; got {task.simulator.name!r}."
        )
    return whole


def strategies_of(task: Task) -> tuple[str, ...]:
    """Return the strategies for the parts of a task, the joint one last."""
    parts = composition_of(task).parts
    orders = (_THEN.join(order) for order in permutations(parts))
    return (SEPARATE, *list(orders)[:_MOST_ORDERS], JOINT)


def compare_strategies(
    task: Task,
    folder: str | Path,
    *,
    budget: int,
    seeds: Iterable[int] = (0,),
    agent: str = "auto",
) -> Iterator[Outcome]:
    """Yield what each strategy finds for each seed, all at the same number of evaluations.

    Args:
      task: Task of a composition.
      folder: Folder of the studies; a comparison that was stopped continues.
      budget: Evaluations of a strategy, shared by its searches.
      seeds: Random seeds.
      agent: Agent of every search.

    Raises:
      InvalidArgumentError: The task has no parts, or the budget is below one evaluation a part.
    """
    parts = tuple(composition_of(task).parts)
    check_whole("budget", budget, len(parts), 10**9)
    for seed in seeds:
        for number, name in enumerate(strategies_of(task)):
            run = _Run(task, Path(folder) / f"{number}-{seed}", budget, seed, agent)
            yield run.outcome(name, parts)


@final
class _Run:
    """Searches of one strategy with one seed."""

    def __init__(self, task: Task, folder: Path, budget: int, seed: int, agent: str) -> None:
        self._task, self._folder, self._budget, self._seed = task, folder, budget, seed
        self._agent, self._spent = agent, 0

    def outcome(self, strategy: str, parts: Sequence[str]) -> Outcome:
        """Return the design that a strategy finds."""
        space = self._task.space
        default = dict(space.design_at(space.default_indices))
        each = self._budget // len(parts)
        if strategy == JOINT:
            found = self._searched("all", parts, default, self._budget)
        elif strategy == SEPARATE:
            found = dict(default)
            for part in parts:
                found |= self._of_part(self._searched(part, (part,), default, each), part)
        else:
            found = default
            for part in strategy.split(_THEN):
                found = self._searched(part, (part,), found, each)
        indices = space.canonical(space.indices_of(found)[None, :])
        result = self._task.evaluate(indices)
        is_built = bool((result.reason[0] == FEASIBLE).all())
        mean = self._task.average(result.values)[0].tolist()
        names = [spec.name for spec in self._task.metrics]
        return Outcome(
            strategy,
            self._seed,
            space.design_at(indices[0]),
            float(result.reward[0]),
            dict(zip(names, mean, strict=True)) if is_built else {},
            tuple(self._task.missed(result.values[0])) if is_built else ("it cannot be built",),
            self._spent,
        )

    def _of_part(self, design: Mapping[str, Any], part: str) -> dict[str, Any]:
        names = set(self._task.simulator.spec.groups[part])
        return {name: value for name, value in design.items() if name in names}

    def _searched(
        self, name: str, free: Sequence[str], design: Mapping[str, Any], budget: int
    ) -> dict[str, Any]:
        """Return the best design whose other parts are those of a design."""
        task = self._task
        whole = unrestricted(task.simulator)
        known = set(task.space.names)
        kept = [n for p, names in whole.spec.groups.items() if p not in free for n in names]
        held = {**held_values(task.simulator), **{n: (design[n],) for n in kept}}
        if held:
            ordered = {n: held[n] for n in whole.space.names if n in held and n in known}
            simulator = RestrictedSimulator(whole, ordered)
            weights = {w.source: w.weight for w in task.workloads}
            task = Task.make(simulator, weights, task.objective)
        result = search(
            task,
            agent=self._agent,
            budget=budget,
            seed=self._seed,
            folder=self._folder / name,
        )
        self._spent += result.evaluations
        return dict(design) | dict(result.best.design if result.best else {})
