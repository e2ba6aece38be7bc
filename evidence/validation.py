"""Validation: lines that compare a simulator with recorded numbers, and the rule of entry.

A group is *searched* if each of its rows is a design of a space, at a fidelity, that a search
accepts, and its numbers come from `Task.evaluate` through `Simulator.evaluate_batch`. Only such
groups are evidence of a simulator's answers. All others are *component checks*: they compare a
kernel, a formula or a log, and each says why no design reaches its rows. A test walks the groups
and counts the designs that really went through `evaluate_batch`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, final

import numpy as np

from archgym.errors import unknown_name
from archgym.evaluation.simulator import Simulator, Workload
from archgym.tasks.choices import WeightedWorkload
from archgym.tasks.task import Evaluation, Task

Cells = tuple[str | int | float, ...]
Progress = Callable[[str], None]


@final
@dataclass(frozen=True)
class Group:
    """Recorded rows that are compared in one way.

    Attributes:
      name: Name that `archgym validate --group` takes.
      rows: Rows and where they are from.
      component: Reason why no searched design reaches the rows; empty for evidence.
    """

    name: str
    rows: str
    component: str = ""

    @property
    def is_searched(self) -> bool:
        """True if the rows run through `Task` and `Simulator.evaluate_batch`."""
        return not self.component


class Errors(NamedTuple):
    """Errors of one metric over a group of measured rows.

    Attributes:
      group: Group, such as a model, GPU and engine.
      metric: Metric that is compared.
      n_rows: Measured rows.
      median: Median of the errors [%].
      p90: 90th percentile [%].
      bias: Geometric mean of predicted over measured, minus 1 [%].
    """

    group: str
    metric: str
    n_rows: int
    median: float
    p90: float
    bias: float


@final
@dataclass(frozen=True)
class Row:
    """A number that was published or measured, and the simulator's.

    Attributes:
      id: Group of the row, such as V1.
      what: Quantity that is compared, and its condition.
      published: The number of others.
      ours: The simulator's.
      unit: Unit of both.
      error: Difference, 0 or more, in the measure of the tolerance.
      tolerance: Up to where the row is met.
      measure: Unit of `error` and `tolerance`, such as `points` or `percent`.
      constants: Constants that this row was allowed to set; empty for a prediction.
      note: Reason why a row is not met, or another remark.
      kind: "fitted" if the row set a constant, "recorded" for results of a tool whose every step is
        modelled, "predicted" else; "" to tell by `constants`.
      errors: Errors that the row sums up; None for a single number.
    """

    id: str
    what: str
    published: float
    ours: float
    unit: str
    error: float
    tolerance: float
    measure: str
    constants: tuple[str, ...] = ()
    note: str = ""
    kind: str = ""
    errors: Errors | None = None

    @property
    def origin(self) -> str:
        """Kind of the row in words."""
        if self.kind:
            return self.kind
        return "fitted" if self.constants else "predicted"

    @property
    def met(self) -> bool:
        """True if the error is within the tolerance."""
        return bool(self.error <= self.tolerance)

    @property
    def group(self) -> str:
        """Name of the row's group."""
        return self.id

    @property
    def cells(self) -> Cells:
        """Cells by `ROW_COLUMNS`; `set_here` names constants that the row may set."""
        return (
            self.id, self.origin, self.what, self.published, self.ours, self.unit, self.error,
            self.tolerance, self.measure, "yes" if self.met else "no", ", ".join(self.constants),
            self.note,
        )  # fmt: skip


ROW_COLUMNS: Final = (
    "id", "kind", "what", "published", "ours", "unit", "error", "tolerance", "measure", "met",
    "set_here", "note",
)  # fmt: skip


class Comparison(Protocol):
    """A line of a validation."""

    @property
    def group(self) -> str:
        """Name of its group."""

    @property
    def cells(self) -> Cells:
        """Cells by the columns of the validation."""


Line = TypeVar("Line", bound=Comparison, covariant=True)


@final
@dataclass(frozen=True)
class Validation(Generic[Line]):
    """Lines of all groups, and where they are worse than they should be.

    Attributes:
      lines: Comparisons, met or not.
      columns: Headings of their cells.
      groups: Groups of the simulator.
      problems: Problems in words; empty if nothing got worse.
      tables: Errors by group of measured rows, where a simulator has such tables.
    """

    lines: tuple[Line, ...]
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    problems: tuple[str, ...]
    tables: tuple[Any, ...] = ()

    @property
    def rows(self) -> tuple[Cells, ...]:
        """Cells of all lines, by `columns`."""
        return tuple(line.cells for line in self.lines)

    def rows_of(self, group: Group) -> tuple[Cells, ...]:
        """Return the cells of the lines of a group."""
        return tuple(line.cells for line in self.lines if line.group == group.name)


def chosen(groups: Sequence[Group], name: str | None) -> frozenset[str]:
    """Return the names of the groups to run: one, or all.

    Raises:
      UnknownNameError: There is no such group.
    """
    names = [group.name for group in groups]
    if name is not None and name not in names:
        raise unknown_name("group", name, names)
    return frozenset(names if name is None else [name])


@contextmanager
def no_reports() -> Iterator[None]:
    """Keep silent on traces that are cut, within rows that say where to cut them."""
    logger = logging.getLogger("archgym.reductions")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def evaluated(simulator: Simulator, workload: Workload, indices: np.ndarray) -> Evaluation:
    """Return results of recorded designs as a search gets them: through a task.

    Args:
      simulator: Simulator of a space and fidelity that a search accepts.
      workload: Workload of the rows.
      indices: (n, n_parameters), designs of the simulator's space.
    """
    first = simulator.evaluate_batch(simulator.space.default_indices[None, :], workload)
    weighted = WeightedWorkload(workload, 1.0, workload.name)
    objective = simulator.spec.objectives[simulator.spec.default_objective]
    task = Task(simulator, simulator.space.name, (weighted,), objective, first.values[None, 0])
    return task.evaluate(indices)


def metrics_of(
    simulator: Simulator, workload: Workload, indices: np.ndarray
) -> Mapping[str, np.ndarray]:
    """Return metrics of recorded designs by name, (n,) each; NaN where a design was not built."""
    found = evaluated(simulator, workload, indices)
    return {spec.name: found.values[:, 0, i] for i, spec in enumerate(simulator.metrics)}
