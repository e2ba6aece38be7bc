"""Tasks of control: a design, settings that may change, and episodes to learn and to test on."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from itertools import islice
from itertools import product as combinations
from pathlib import Path
from typing import Annotated, Any, Final, final
from weakref import WeakKeyDictionary

import numpy as np

from archgym.control.declaration import controls
from archgym.control.runs import Floats, Part, Run, Scale
from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import objective_of
from archgym.evaluation.options import DeclaredOption, Option, options_of
from archgym.runtime.branches import branch_of
from archgym.spaces.parameter import Value

HISTORY: Final = 2
"""Epochs that an observation shows; chosen: the trial of PPO used two."""
SPLITS: Final = ("train", "held-out", "programs")
# chosen: as many training episodes choose the reference; more change it in no task.
_N_REFERENCE: Final = 4

Settings = Mapping[str, Value]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ControlTask:
    """Choice of settings after each epoch of a run, so that its work costs least.

    Attributes:
      name: Name, with options that differ from the defaults, which `task_of` takes.
      doc: Description in one sentence.
      begin: Function of an episode's name that returns a run before its first epoch; its design is
        the same in each.
      actions: Settings to choose from.
      default: Place of the default design's settings.
      epoch: Progress of an epoch.
      cost: Name and unit of cost over work, which is minimised.
      splits: Episodes by split: `train`, `held-out` (other seeds) and `programs` (other programs).
      by_counters: Functions of the last epoch's counters, by name, and the last action, that return
        an action: `hand`, what an engineer writes in an hour, and `feedback`, a published one.
      agents: Names of the agents.
      alone: Function of an episode's name that returns the action of each agent that is best for
        it while the others do not run; None where that is not known.
      is_shared: True if an agent's settings change what others cost.
      costs: Description of what may be minimised, by name; the first is the default cost.
      price: Weights of `costs` that are minimised instead, by name; empty for the default cost.
      horizons: Work that look-ahead sees by default, shortest first; empty for 1, 2 and 4 epochs.
    """

    name: str
    doc: str
    begin: Callable[[str], Run] = field(repr=False)
    actions: tuple[Settings, ...]
    default: int = 0
    epoch: int
    cost: str
    splits: Mapping[str, tuple[str, ...]] = field(repr=False)
    by_counters: Mapping[str, Callable[[Mapping[str, float], int], int]] = field(repr=False)
    agents: tuple[str, ...] = ("controller",)
    alone: Callable[[str], tuple[int, ...]] | None = field(default=None, repr=False)
    is_shared: bool = True
    costs: Mapping[str, str] = field(default_factory=dict, repr=False)
    price: Mapping[str, float] = field(default_factory=dict, repr=False)
    horizons: tuple[int, ...] = ()

    def episodes(self, split: str) -> tuple[str, ...]:
        """Return the episodes of a split.

        Raises:
          UnknownNameError: There is no such split.
        """
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        return self.splits[split]

    def check_episode(self, name: str) -> str:
        """Return the name of an episode of any split.

        Raises:
          UnknownNameError: There is no such episode.
        """
        known = [each for names in self.splits.values() for each in names]
        if name not in known:
            raise unknown_name("episode", name, known)
        return name

    def labels(self) -> tuple[str, ...]:
        """Return the values of each action as one text."""
        return tuple("/".join(str(v) for v in action.values()) for action in self.actions)


def episodes_of(n_train: int, n_test: int) -> dict[str, tuple[str, ...]]:
    """Return numbered episodes by split."""
    sizes = (n_train, n_test, n_test)
    return {s: tuple(f"{s}-{i}" for i in range(n)) for s, n in zip(SPLITS, sizes, strict=True)}


def seed_of(episode: str) -> tuple[str, int, int]:
    """Return an episode's split, the first random seed of that split, and its number.

    >>> seed_of("held-out-3")
    ('held-out', 10000, 3)
    """
    split, _, number = episode.rpartition("-")
    if split not in SPLITS or not number.isdecimal():
        raise unknown_name("episode", episode, [f"{each}-0" for each in SPLITS])
    return split, 10_000 * SPLITS.index(split), int(number)


def turns(rng: np.random.Generator, n_kinds: int, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield kinds and lengths of phases without end; neighbours differ if there are several kinds.

    Args:
      rng: Generator, from which phases may be drawn in between.
      n_kinds: Number of kinds.
      low, high: Least length, and one above the largest.
    """
    kind = int(rng.integers(n_kinds))
    while True:
        yield kind, int(rng.integers(low, high))
        kind = (kind + 1 + int(rng.integers(max(1, n_kinds - 1)))) % n_kinds


@cache
def _makers() -> dict[str, Callable[..., ControlTask]]:
    """Return the functions that make tasks of all simulators, by name."""
    return {n: make for each in controls().values() for n, make in each.tasks.items()}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(_makers())


def _priced(
    made: ControlTask,
    *,
    cost: Annotated[str, Option("Cost to minimise, such as 2*energy_pj+time_ns.")] = "",
) -> ControlTask:
    """Return a task with the options that every task has."""
    if cost in ("", made.cost):
        return made
    known = [MetricSpec(n, "1", "minimise", 1.0, doc) for n, doc in made.costs.items()]
    price = {t.metric: t.weight for t in objective_of(cost.split("+"), [], known).terms}
    made.begin(made.episodes("train")[0]).count(tuple(price))
    return replace(made, cost=cost, price=price, alone=None)


def task_options(name: str) -> Mapping[str, DeclaredOption]:
    """Return the options of the task with this name."""
    return {**options_of(_makers()[name]), **options_of(_priced)}


def task_of(task: str | ControlTask) -> ControlTask:
    """Return the task with this name, such as `NAME:epoch=500`, or the task.

    Raises:
      UnknownNameError: There is no such task or option.
      InvalidArgumentError: The value of an option does not fit.
    """
    if isinstance(task, ControlTask):
        return task
    name, _, text = map(str.strip, task.partition(":"))
    if name not in _makers():
        raise unknown_name("control task", name, _makers())
    known = task_options(name)
    changed: dict[str, Any] = {}
    # A comma that neither an option nor a = follows is one of a path.
    for part in filter(None, re.split(rf",(?=[^,=]*=|\s*(?:{'|'.join(known)})?\s*(?:,|$))", text)):
        option, _, value = map(str.strip, part.partition("="))
        if option not in known:
            raise unknown_name(f"option of task {name!r}", option, known)
        if not value:
            raise InvalidArgumentError(f"Option `{option}` of task {name!r} must have a value.")
        if option in changed:
            raise InvalidArgumentError(f"Option `{option}` of task {name!r} must be given once.")
        changed[option] = known[option].parsed(value)
    own = tuple((n, v) for n, v in changed.items() if v != known[n].default)
    files = [Path(p) for _, value in own for p in joined_names(str(value)) if _is_file(p)]
    return _made(name, own, tuple(p.stat().st_mtime_ns for p in files))


# chosen: twice the cores of any control task; each joint of names is looked for as a file.
_MOST_NAMES = 64


def joined_names(text: str) -> tuple[str, ...]:
    """Return names that + joins; the name of a file that exists may have a + in it."""
    parts, found = text.split("+"), []
    if len(parts) > _MOST_NAMES:
        problem = f"must join at most {_MOST_NAMES} names by +; got {len(parts):,}: {text:.40}…"
        raise InvalidArgumentError(f"An option {problem}")
    while parts:
        sizes = range(len(parts), 1, -1)
        n = next((n for n in sizes if _is_file("+".join(parts[:n]))), 1)
        found.append("+".join(parts[:n]))
        del parts[:n]
    return tuple(found)


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:
        return False  # joined names may be too long for one


@cache
def _made(name: str, options: tuple[tuple[str, Any], ...], changes: tuple[int, ...]) -> ControlTask:
    """Return one task for each name with options and times that files changed at; it is kept."""
    given = dict(options)
    shared = {each: given.pop(each) for each in options_of(_priced) if each in given}
    made = _priced(_makers()[name](**given), **shared)
    text = ",".join(f"{option}={value}" for option, value in options)
    doc = f"{made.doc.removesuffix('.')}, but with {text}."
    return replace(made, name=f"{name}:{text}", doc=doc) if text else made


_listeners: list[Callable[[], object]] = []


@contextmanager
def on_epoch(listener: Callable[[], object]) -> Iterator[None]:
    """Call a function after each epoch in this block, those of branches included."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


_choices: WeakKeyDictionary[ControlTask, tuple[Any, ...]] = WeakKeyDictionary()
"""Actions of each task as its runs take them; making them takes a tenth of a short episode."""


@final
class Episode:
    """A run in epochs, with what a policy sees of it.

    Life cycle: made before the first epoch; `step` runs an epoch under an action for each agent;
    `copy` branches; `is_over` after the last.

    Example:
      >>> episode = Episode(task, "train-0")  # doctest: +SKIP
      >>> while not episode.is_over:
      ...     part = episode.step((0,))

    Attributes:
      task: The task.
      run: The run.
      number: Epochs so far.
      last: Part of the last epoch; None before the first.
      previous: Actions of the last epoch.
    """

    def __init__(self, task: ControlTask, name: str) -> None:
        """Begin an episode of a task."""
        self.task = task
        self.run = task.begin(name)
        self.number = 0
        self.last: Part | None = None
        self.previous: tuple[int, ...] = ()
        self.run.count(tuple(task.price))
        if task not in _choices:
            _choices[task] = tuple(self.run.choice(action) for action in task.actions)
        self._choices = _choices[task]
        self._scale = Scale(self.run.counters)
        self._one_hot = np.eye(len(task.actions), dtype=np.float32)
        self._n = len(self.run.counters)
        size = observation_size(task, self.run)
        self._shown = np.zeros((self.run.n_agents, size), dtype=np.float32)

    @property
    def is_over(self) -> bool:
        """True after the last epoch."""
        return self.run.is_over

    @property
    def observation(self) -> np.ndarray:
        """(n_agents, n) float32 from 0 to 1: scaled counters, newest first; then the last action.

        Zeros before the first epoch.
        """
        return self._shown.copy()

    def step(self, actions: tuple[int, ...]) -> Part:
        """Run an epoch; the last one ends with the run."""
        choices = tuple(self._choices[action] for action in actions)
        self.number += 1
        part = self.run.advance(choices, self.number * self.task.epoch)
        if price := self.task.price:
            cost = np.sum([weight * part.amounts[n] for n, weight in price.items()], axis=0)
            part = replace(part, cost=cost)
        self.last = part
        self.previous = actions
        n, shown = self._n, self._shown
        shown[:, n : HISTORY * n] = shown[:, : (HISTORY - 1) * n]
        shown[:, :n] = self._scale(self.last.values)
        shown[:, HISTORY * n :] = self._one_hot[list(actions)]
        for listener in _listeners:
            listener()
        return self.last

    def copy(self, into: "Episode | None" = None) -> "Episode":
        """Return a branch; `into` is an earlier one that is not needed any more."""
        return branch_of(self, into, ("run", "_shown"))


def observation_size(task: ControlTask, run: Run) -> int:
    """Return the length of an agent's observation."""
    return HISTORY * len(run.counters) + len(task.actions)


@final
@dataclass(frozen=True)
class Rollout:
    """An episode under a policy.

    Attributes:
      cost, work: (n_epochs, n_agents), as of `Part`.
      actions: (n_epochs, n_agents).
    """

    cost: Floats
    work: Floats
    actions: np.ndarray

    @property
    def score(self) -> float:
        """Cost over work of the episode, its mean over agents."""
        return float((self.cost.sum(axis=0) / self.work.sum(axis=0)).mean())


def roll(
    task: ControlTask,
    name: str,
    act: Callable[[Episode], tuple[int, ...]],
    episode: Episode | None = None,
) -> Rollout:
    """Return an episode, or the rest of one, in which a function chooses each epoch's actions."""
    episode = Episode(task, name) if episode is None else episode
    cost, work, actions = [], [], []
    while not episode.is_over:
        chosen = act(episode)
        if not all(0 <= action < len(task.actions) for action in chosen):
            raise InvalidArgumentError(
                f"An action must be from 0 to {len(task.actions) - 1}; got {chosen!r}."
            )
        part = episode.step(chosen)
        cost.append(part.cost)
        work.append(part.work)
        actions.append(chosen)
    return Rollout(np.array(cost), np.array(work), np.array(actions))


@lru_cache(maxsize=4096)
def static(task: ControlTask, name: str, action: int) -> Rollout:
    """Return an episode under one action throughout; the latest are kept."""
    return roll(task, name, lambda episode: (action,) * episode.run.n_agents)


# chosen: all joint settings of two agents with nine each, which take 13 s of an episode.
_MOST_JOINT: Final = 100


def joint_actions(task: ControlTask) -> tuple[tuple[int, ...], ...]:
    """Return the joint actions among which `hindsight` finds the best, all of them if feasible.

    Where no agent changes what another costs, the best joint action follows from equal ones.
    """
    places, n_agents = range(len(task.actions)), len(task.agents)
    if task.is_shared and len(places) ** n_agents <= _MOST_JOINT:
        return tuple(combinations(places, repeat=n_agents))
    return tuple((place,) * n_agents for place in places)


def hindsight_name(task: ControlTask) -> str:
    """Return "hindsight", or what it is where not all joint actions are tried."""
    n, n_all = len(joint_actions(task)), len(task.actions) ** len(task.agents)
    return "hindsight" if n == n_all or not task.is_shared else f"best of {n} equal of {n_all}"


@lru_cache(maxsize=4096)
def hindsight(task: ControlTask, name: str) -> tuple[tuple[int, ...], float]:
    """Return the best static joint action of an episode, of `joint_actions`, and its score."""
    tried = joint_actions(task)
    start = Episode(task, name) if len(task.agents) > 1 else None
    branch: Episode | None = None
    scores, best = [], np.full(len(task.agents), np.inf)
    found = np.zeros(len(task.agents), dtype=int)
    for joint in tried:
        if len({*joint}) == 1:
            run = static(task, name, joint[0])
        else:
            assert start is not None
            branch = start.copy(branch)
            run = roll(task, name, lambda episode, joint=joint: joint, branch)  # type: ignore[misc]
        own = run.cost.sum(axis=0) / run.work.sum(axis=0)
        scores.append(float(own.mean()))
        found = np.where(own < best, joint, found)
        best = np.minimum(best, own)
    if not task.is_shared:
        return tuple(found.tolist()), float(best.mean())
    return tried[int(np.argmin(scores))], min(scores)


@cache
def costly(task: ControlTask) -> dict[str, float]:
    """Return the default's scores of the first training episodes that cost anything, by name.

    Raises:
      InvalidArgumentError: None does, so that nothing can be saved.
    """
    scores = ((name, static(task, name, task.default).score) for name in task.episodes("train"))
    found = dict(islice((each for each in scores if each[1] > 0.0), _N_REFERENCE))
    if not found:
        raise InvalidArgumentError(
            f"Task {task.name!r} must have something to save; under settings "
            f"{task.labels()[task.default]} no episode of training has {task.cost}. Make its load "
            "heavier."
        )
    return found


def unit(task: ControlTask, cost: Floats) -> Floats:
    """Return costs over work to count savings in; where one is 0, the default's in training."""
    is_free = cost <= 0.0
    return np.where(is_free, np.mean([*costly(task).values()]), cost) if is_free.any() else cost


def best_static(task: ControlTask, names: tuple[str, ...]) -> int:
    """Return the action with the least mean cost over episodes, each relative to the default's."""
    if not names:
        raise InvalidArgumentError("The best static action needs an episode; got none.")
    units = unit(task, np.array([static(task, n, task.default).score for n in names]))
    scores = [[static(task, n, a).score for n in names] for a in range(len(task.actions))]
    return int(np.argmin([np.mean(each / units) for each in scores]))


@cache
def reference(task: ControlTask) -> int:
    """Return the best static action of the first training episodes that cost anything."""
    return best_static(task, tuple(costly(task)))


@cache
def risks(task: ControlTask) -> Floats:
    """Return what an epoch under each action cost at most above the best static one in training.

    It is relative to that action's mean cost, (n_actions,), of the episodes of `costly`.
    """
    best = reference(task)
    found = []
    for name in costly(task):
        runs = [static(task, name, action) for action in range(len(task.actions))]
        n_epochs = min(len(run.cost) for run in runs)
        pairs = [(run.cost[:n_epochs], run.work[:n_epochs]) for run in runs]
        rates = np.array([cost / np.maximum(work, 1e-9) for cost, work in pairs])
        usual = unit(task, np.array([runs[best].score]))[0]
        found.append((rates - rates[best]).max(axis=(1, 2)) / usual)
    return np.asarray(np.max(found, axis=0))


def product(choices: Mapping[str, tuple[Value, ...]]) -> tuple[dict[str, Value], ...]:
    """Return all combinations of settings.

    >>> product({"a": (1, 2), "b": ("x",)})
    ({'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'})
    """
    each = combinations(*choices.values())
    return tuple(dict(zip(choices, values, strict=True)) for values in each)
