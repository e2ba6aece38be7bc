"""Observations of an agent: the design so far, its metrics, and the next choice."""

from typing import Protocol, final

import numpy as np
from gymnasium import spaces

from archgym.evaluation.metrics import MetricSpec, growth
from archgym.spaces.choices import Choices

# chosen: a metric 150 times better or worse than the default design's is as far as one need see.
_RATIO_LIMIT = 5.0
# chosen: a choice among more options is shown as one number, so that observations stay short.
_ONE_HOT_LIMIT = 64


class ObservedTask(Protocol):
    """Part of a task that observations need."""

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """Metrics of the task."""

    @property
    def reference(self) -> np.ndarray:
        """(w, n_metrics), the default design's metrics on each workload."""

    def average(self, values: np.ndarray) -> np.ndarray:
        """Return metrics averaged over the workloads, (n, n_metrics) from (n, w, n_metrics)."""


@final
class Observation:
    """The layout of a task's observations: float32 numbers within fixed bounds.

    In this order, named by `names`:

    - the choices made, each as one number from -1 (first option) to 1 (last one) or, where options
      have no order, as one 0 or 1 for each option; 0 for what is not chosen yet;
    - each metric of the design as the logarithm of its ratio to the default design's, with the
      metric's resolution added to both, clipped to ±5; 0 for missing values;
    - 0 where the design turned out infeasible or the simulator broke, else 1;
    - with `with_position`, one 0 or 1 for each choice: whether it comes next.

    All numbers that scale are constants of the task, so observations mean the same in every run.
    """

    def __init__(self, task: ObservedTask, choices: Choices, with_position: bool) -> None:
        self._with_position = with_position
        self._lay_out_choices(choices)
        self._reference = task.average(task.reference[None])[0]
        self._resolution = np.array([spec.resolution for spec in task.metrics])
        n_metrics = len(task.metrics)
        self.names: tuple[str, ...] = (
            *self._choice_names,
            *(spec.name for spec in task.metrics),
            "feasible",
            *((f"next={name}" for name in choices.names) if with_position else ()),
        )
        self._n_result = len(self._column) + n_metrics + 1
        n_flags = 1 + (choices.n if with_position else 0)
        low = [np.where(self._is_one_hot, 0.0, -1.0), np.full(n_metrics, -_RATIO_LIMIT)]
        high = [np.ones(len(self._column)), np.full(n_metrics, _RATIO_LIMIT), np.ones(n_flags)]
        self.space = spaces.Box(
            np.concatenate([*low, np.zeros(n_flags)]).astype(np.float32),
            np.concatenate(high).astype(np.float32),
            dtype=np.float32,
        )

    def _lay_out_choices(self, choices: Choices) -> None:
        names: list[str] = []
        column: list[int] = []
        option: list[int] = []
        for number, (name, size) in enumerate(zip(choices.names, choices.sizes, strict=True)):
            if choices.is_ordered[number] or size > _ONE_HOT_LIMIT:
                names.append(name)
                column.append(number)
                option.append(-1)
                continue
            parameter = choices.space.parameters[choices.places[number]]
            is_whole = parameter.size == size
            for index in range(int(size)):
                names.append(f"{name}={parameter.value(index) if is_whole else index}")
                column.append(number)
                option.append(index)
        self._choice_names = names
        self._column = np.array(column)
        self._option = np.array(option)
        self._is_one_hot = self._option >= 0
        self._step = 2.0 / np.maximum(choices.sizes - 1, 1)[self._column]
        self._start = np.where(choices.sizes > 1, -1.0, 0.0)[self._column]

    def columns(self, choices: np.ndarray) -> np.ndarray:
        """Return positions in an observation: those of some choices, then those of the results.

        Args:
          choices: Numbers of choices, in the order in which they are to be shown.
        """
        shown = [np.flatnonzero(self._column == choice) for choice in choices]
        return np.concatenate([*shown, np.arange(len(self._column), self._n_result)])

    def encode(
        self,
        picks: np.ndarray,
        is_made: np.ndarray,
        position: np.ndarray,
        values: np.ndarray,
        feasible: np.ndarray,
    ) -> np.ndarray:
        """Return observations of n episodes, (n, d) float32.

        Args:
          picks: (n, n_choices).
          is_made: (n, n_choices) bool: which of them have been made.
          position: (n,), the next choice; n_choices at the end.
          values: (n, n_metrics), NaN where nothing was measured.
          feasible: (n,) bool.
        """
        chosen = picks[:, self._column]
        numbers = np.where(
            self._is_one_hot, chosen == self._option, chosen * self._step + self._start
        )
        numbers = numbers * is_made[:, self._column]
        with np.errstate(divide="ignore", invalid="ignore"):
            if (self._reference < 0).any() or (values < 0).any():
                pairs = zip(values.T, self._reference, self._resolution, strict=True)
                logs = np.stack([growth(x, base, r) for x, base, r in pairs], axis=1)
            else:
                logs = np.log((values + self._resolution) / (self._reference + self._resolution))
            logs = np.nan_to_num(np.clip(logs, -_RATIO_LIMIT, _RATIO_LIMIT), nan=0.0)
        parts = [numbers, logs, feasible[:, None]]
        if self._with_position:
            parts.append(position[:, None] == np.arange(picks.shape[1]))
        # Rounding to float32 may step over a bound that rounds the other way.
        joined = np.concatenate(parts, axis=1).astype(np.float32)
        return np.asarray(np.clip(joined, self.space.low, self.space.high))
