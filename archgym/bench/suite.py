"""Tasks of ArchBench and the suites they belong to, read from data."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import unknown_name
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.spec import SimulatorSpec
from archgym.files.json_types import tuples
from archgym.files.yaml_document import read_document
from archgym.spaces.parameter import Categorical, Factorisation, Parameter, Permutation
from archgym.spaces.space import DesignSpace
from archgym.sweep.plan import TaskPlan
from archgym.tasks.task import Task

SUITES = ("core", "full", "few", "regret", "transfer", "fidelity", "front")
"""Names of suites; every task belongs to `full`."""
SPLITS = ("development", "verdict")
"""Tasks for tuning agents, and tasks for judging them."""

Split = Literal["development", "verdict"]


@final
@dataclass(frozen=True)
class Hardness:
    """Mean evaluations that random search needs to come within 1 % of the best known."""

    evaluations: float
    is_at_least: bool
    """True where too few designs of the sample came so close, so that it is a lower limit."""
    interval: tuple[float, float] | None
    """Limits with 95 % confidence of a number that designs of a sample were counted for."""
    extrapolated: tuple[float, float] | None
    """Low and high number by two extrapolations of the sample, where nothing could be counted."""
    origin: str
    """Table, or the sample and the search that the estimate comes from."""
    seconds: float
    """Processor time of an evaluation in a large batch [s], on the machine of the measurement."""

    def __str__(self) -> str:
        return f"{'> ' if self.is_at_least else ''}{_rounded(self.evaluations)}"

    @property
    def extrapolation(self) -> str:
        """The extrapolated numbers; empty if there are none."""
        return "" if self.extrapolated is None else " to ".join(map(_rounded, self.extrapolated))


def _rounded(value: float) -> str:
    """Return a number of evaluations with three digits."""
    return f"{value:,.0f}" if value < 1e6 else f"{value:.1e}"


@final
@dataclass(frozen=True)
class BestKnown:
    """Best design that is known for a task."""

    reward: float
    indices: tuple[int, ...]
    is_proven: bool
    """True where all designs were simulated, so that none is better."""
    origin: str
    """Table; or agent, seed and evaluations of the search, which replays to the same journal."""

    def __str__(self) -> str:
        return f"{self.reward:.4f}{' (proven)' if self.is_proven else ''}"


@final
@dataclass(frozen=True)
class Cheaper:
    """Cheaper fidelity of a task, at which a search may ask and for which it is charged."""

    plan: TaskPlan
    relative_cost: float
    """Processor time of an evaluation over that of one of the task, measured."""


@final
@dataclass(frozen=True)
class BenchTask:
    """A task of the benchmark.

    Example:
      >>> task = bench_task("soc-small-edp")
      >>> task.plan.simulator, task.split
      ('soc', 'development')
    """

    plan: TaskPlan
    suites: tuple[str, ...]
    split: Split
    budgets: tuple[int, ...]
    """Evaluations that the task is judged at."""
    why: str
    """Worth of the task to an architect."""
    hardness: Hardness | None = None
    """None if it is not measured."""
    best: BestKnown | None = None
    """None if none is recorded."""
    cheaper: Cheaper | None = None
    """None if the task has one fidelity."""

    @property
    def label(self) -> str:
        """Name of the task."""
        return self.plan.label

    @property
    def sought(self) -> str:
        """Objective, or metrics to minimise."""
        plan = self.plan
        return plan.objective or f"minimise {plan.minimise}"

    def to_json(self) -> dict[str, Any]:
        """Return the task as data."""
        hardness, best = self.hardness, self.best
        return {
            "task": self.label,
            **self.plan.to_json(),
            "suites": list(self.suites),
            "split": self.split,
            "budgets": list(self.budgets),
            "why": self.why,
            "hardness": None
            if hardness is None
            else {
                "evaluations": hardness.evaluations,
                "is_at_least": hardness.is_at_least,
                "interval": hardness.interval,
                "extrapolated": hardness.extrapolated,
                "origin": hardness.origin,
                "seconds": hardness.seconds,
            },
            "best_known": None
            if best is None
            else {
                "reward": best.reward,
                "indices": list(best.indices),
                "is_proven": best.is_proven,
                "origin": best.origin,
            },
            "cheaper": None
            if self.cheaper is None
            else {
                "fidelity": self.cheaper.plan.fidelity,
                "workload": dict(self.cheaper.plan.workloads or {}),
                "options": dict(self.cheaper.plan.options),
                "relative_cost": self.cheaper.relative_cost,
            },
        }


def bench_tasks(suite: str = "full", split: str | None = None) -> tuple[BenchTask, ...]:
    """Return the tasks of a suite.

    Args:
      suite: One of `SUITES`.
      split: One of `SPLITS`; None for both.

    Raises:
      UnknownNameError: There is no such suite or split.
    """
    if suite not in SUITES:
        raise unknown_name("suite", suite, SUITES)
    if split is not None and split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    return tuple(
        task for task in _all_tasks() if suite in task.suites and split in (None, task.split)
    )


def bench_task(label: str) -> BenchTask:
    """Return the task with this name.

    Raises:
      UnknownNameError: No task has this name.
    """
    known = {task.label: task for task in _all_tasks()}
    if label not in known:
        raise unknown_name("task of the benchmark", label, known)
    return known[label]


@cache
def _all_tasks() -> tuple[BenchTask, ...]:
    folder = Path(str(files("archgym.bench"))) / "data"
    tasks: Mapping[str, Any] = read_document(folder / "tasks.yaml").root.plain()
    best = {label: BestKnown(**found) for label, found in _lines(folder / "best.jsonl")}
    hardness = {label: Hardness(**found) for label, found in _lines(folder / "hardness.jsonl")}
    return tuple(
        _task(label, members, hardness.get(label), best.get(label))
        for label, members in tasks.items()
    )


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the task and the other members of each line; lists become tuples."""
    for line in path.read_text("utf-8").splitlines():
        found = json.loads(line)
        label = found.pop("task")
        yield label, tuples(found)


def _weights(workload: str | Sequence[str] | None) -> dict[str, float] | None:
    """Return equal weights of workloads; None leaves them to the simulator."""
    if workload is None:
        return None
    return dict.fromkeys([workload] if isinstance(workload, str) else workload, 1.0)


def _task(
    label: str, members: Mapping[str, Any], hardness: Hardness | None, best: BestKnown | None
) -> BenchTask:
    """Return a task from its members; the file is ours, so that a mistake in it is a bug."""
    rest = dict(members)
    workloads = _weights(rest.pop("workload", None))
    suites = dict.fromkeys([*rest.pop("suites"), "full"])
    split: Split = rest.pop("split")
    budgets, why = tuple(rest.pop("budgets")), rest.pop("why")
    cheaper = rest.pop("cheaper", None)
    plan = TaskPlan(label, workloads=workloads, **rest)
    if cheaper is not None:
        relative_cost = cheaper.pop("relative_cost")
        if "workload" in cheaper:
            cheaper["workloads"] = _weights(cheaper.pop("workload"))
        cheaper = Cheaper(replace(plan, **cheaper), relative_cost)
    return BenchTask(
        plan,
        tuple(name for name in SUITES if name in suites),
        split,
        budgets,
        why,
        hardness,
        best,
        cheaper,
    )


@final
class ShuffledSimulator(Simulator):
    """A simulator whose space is another one's with names hidden and values permuted.

    Constraints become reasons of the model, and conditions become unknown: designs that differ in
    inactive parameters alone are different designs here, with equal results.

    Example:
      >>> from archgym.testing import ProvingSimulator
      >>> hidden = ShuffledSimulator(ProvingSimulator("tiny"), seed=1)
      >>> sorted(hidden.space.names)
      ['p0', 'p1']
    """

    def __init__(self, inner: Simulator, seed: int) -> None:
        """Take a simulator and the seed of the permutations."""
        check_whole("seed", seed, 0, 2**32 - 1)
        self.inner = inner
        self.seed = seed
        rng = np.random.default_rng(seed)
        self._order = rng.permutation(inner.space.n_parameters)
        """(n_parameters,), for each parameter here its place in the inner space."""
        old = [inner.space.parameters[place] for place in self._order.tolist()]
        self._values = [_permuted(parameter, rng) for parameter in old]
        parameters = [
            _hidden(f"p{i}", parameter, values)
            for i, (parameter, values) in enumerate(zip(old, self._values, strict=True))
        ]
        self.spec = SimulatorSpec(
            name="shuffled",
            version=inner.version,
            space=DesignSpace(f"shuffled-{inner.space.name}", parameters),
            metrics=inner.metrics,
            model_reasons=inner.spec.reasons[1:],
            objectives=inner.spec.objectives,
            default_objective=inner.spec.default_objective,
            default_workload=inner.spec.default_workload,
            fidelity=inner.fidelity,
            fidelity_names=inner.spec.fidelity_names,
            options={**inner.options, "of": inner.name, "seed": str(seed)},
        )

    def __reduce__(self) -> tuple[type["ShuffledSimulator"], tuple[Simulator, int]]:
        return type(self), (self.inner, self.seed)

    def workload_names(self) -> tuple[str, ...]:
        """Return the inner simulator's workloads."""
        return self.inner.workload_names()

    def workload(self, name: str | Path) -> Workload:
        """Return a workload of the inner simulator."""
        return self.inner.workload(name)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return the inner simulator's results of the designs that these stand for."""
        found = self.inner.evaluate_batch(self.inner_indices(indices), workload)
        return BatchResult(found.values[:, self._simulated_columns], found.reason, found.failures)

    @cached_property
    def _simulated_columns(self) -> list[int]:
        return [i for i, spec in enumerate(self.metrics) if spec.formula is None]

    def inner_indices(self, indices: np.ndarray) -> np.ndarray:
        """Return the designs of the inner space that designs stand for.

        Args:
          indices: (n, n_parameters) of this space.

        Returns:
          (n, n_parameters) of the inner space.
        """
        inner = np.empty_like(indices)
        for column, (place, values) in enumerate(zip(self._order, self._values, strict=True)):
            numbers = indices[:, column]
            if isinstance(values, np.ndarray):
                inner[:, place] = values[numbers]
            else:
                old, new = self.inner.space.parameters[place], self.space.parameters[column]
                inner[:, place] = [_inner_number(old, new, values, int(i)) for i in numbers]
        return inner


def shuffled_task(task: Task, seed: int) -> Task:
    """Return the shuffled variant of a task, which has the same rewards and the same optimum.

    Args:
      task: Task to hide.
      seed: Seed of the permutations.
    """
    simulator = ShuffledSimulator(task.simulator, seed)
    workloads = {weighted.source: weighted.weight for weighted in task.workloads}
    return Task.make(simulator, workloads, task.objective)


Values = np.ndarray | tuple[int, ...]
"""For a listed parameter the inner number of each number; else a permutation of parts or items."""


def _permuted(parameter: Parameter, rng: np.random.Generator) -> Values:
    if isinstance(parameter, Permutation) and not parameter.kept:
        return tuple(rng.permutation(len(parameter.items)).tolist())
    if isinstance(parameter, Factorisation) and not parameter.kept:
        return tuple(rng.permutation(parameter.parts).tolist())
    return rng.permutation(parameter.size)


def _hidden(name: str, old: Parameter, values: Values) -> Parameter:
    default = old.value(old.default_index)
    if isinstance(old, Permutation) and not old.kept:
        items = tuple(f"i{i}" for i in range(len(old.items)))
        # Item i here stands for item values[i] there.
        stands = {old.items[place]: item for item, place in zip(items, values, strict=True)}
        assert isinstance(default, tuple)
        order = tuple(stands[str(item)] for item in default)
        return Permutation(name=name, items=items, default=order, doc="Hidden.")
    if isinstance(old, Factorisation) and not old.kept:
        assert isinstance(default, tuple)
        parts = tuple(int(default[place]) for place in values)
        return Factorisation(
            name=name, total=old.total, parts=old.parts, default=parts, doc="Hidden."
        )
    first = int(np.flatnonzero(np.asarray(values) == old.default_index)[0])
    choices = tuple(f"v{i}" for i in range(old.size))
    return Categorical(name=name, choices=choices, default=choices[first], doc="Hidden.")


def _inner_number(old: Parameter, new: Parameter, values: Values, number: int) -> int:
    shown = new.value(number)
    assert isinstance(shown, tuple)
    if isinstance(old, Permutation):
        assert isinstance(new, Permutation)
        return old.index(tuple(old.items[values[new.items.index(str(item))]] for item in shown))
    parts = [0] * len(shown)
    for part, place in zip(shown, values, strict=True):
        parts[place] = int(part)
    return old.index(tuple(parts))
