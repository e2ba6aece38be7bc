"""Shuffled variants of tasks: names hidden, parameters and values permuted by a seed."""

from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from archgym.checks import check_whole
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.evaluation.task import Task
from archgym.spaces.parameter import Categorical, Factorisation, Parameter, Permutation
from archgym.spaces.space import DesignSpace


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

    name = "shuffled"

    def __init__(self, inner: Simulator, seed: int) -> None:
        """Take a simulator and the seed of the permutations."""
        check_whole("seed", seed, 0, 2**32 - 1)
        self.inner = inner
        self.seed = seed
        self.version = inner.version
        self.metrics = inner.metrics
        self.model_reasons = inner.reasons[1:]
        self.objectives = inner.objectives
        self.default_objective = inner.default_objective
        self.default_workload = inner.default_workload
        self.fidelity = inner.fidelity
        self.options = {**inner.options, "of": inner.name, "seed": str(seed)}
        rng = np.random.default_rng(seed)
        self._order = rng.permutation(inner.space.n_parameters)
        """(n_parameters,), for each parameter here its place in the inner space."""
        old = [inner.space.parameters[place] for place in self._order.tolist()]
        self._values = [_permuted(parameter, rng) for parameter in old]
        parameters = [
            _hidden(f"p{i}", parameter, values)
            for i, (parameter, values) in enumerate(zip(old, self._values, strict=True))
        ]
        self.space = DesignSpace(f"shuffled-{inner.space.name}", parameters)

    def __reduce__(self) -> tuple[type["ShuffledSimulator"], tuple[Simulator, int]]:
        return type(self), (self.inner, self.seed)

    @property
    def default_fidelity(self) -> str:
        """Default fidelity of the inner simulator."""
        return self.inner.default_fidelity

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
