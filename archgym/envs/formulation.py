"""Formulations of an episode: all choices in one step, or one choice per step."""

from abc import ABC, abstractmethod
from typing import Any, Literal, Protocol, final

import numpy as np
from gymnasium import spaces

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec, growth
from archgym.spaces.choices import Choices


def binned(actions: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the choices of numbers from -1 to 1; each option has an equal part.

    The interval is cut into as many equal bins as there are options, for options with an order and
    without. (The largest of one number an option would be even inside the box as well, but not
    where algorithms go most: at its corners all numbers tie.) Beyond the ends counts as the end.

    Args:
      actions: Any shape that broadcasts with `sizes`.

    Raises:
      InvalidArgumentError: A number is NaN.
    """
    numbers = np.asarray(actions, dtype=np.float64)
    if np.isnan(numbers).any():
        raise InvalidArgumentError(
            "Actions must be numbers; got NaN. The policy has probably diverged: lower its "
            "learning rate."
        )
    bins = np.floor((np.clip(numbers, -1.0, 1.0) + 1.0) / 2.0 * sizes).astype(np.int64)
    return np.asarray(np.minimum(bins, sizes - 1))


def require_shape(actions: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse actions of another shape.

    Raises:
      InvalidArgumentError: Says both shapes.
    """
    if actions.shape != shape:
        raise InvalidArgumentError(
            f"Actions of {shape[0]} episode(s) must have shape {shape}; got {actions.shape}."
        )


def require_whole(actions: np.ndarray, sizes: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuse actions that are not whole numbers from 0 to below `sizes`.

    Args:
      actions: (n, len(sizes)).
      names: Parameters that each of them chooses.

    Raises:
      InvalidArgumentError: Names the first that is wrong.
    """
    if actions.dtype.kind not in "iu":
        raise InvalidArgumentError(
            f"Actions must be whole numbers; got dtype {actions.dtype!s}. "
            'Make the environment with actions="box" for numbers from -1 to 1.'
        )
    outside = (actions < 0) | (actions >= sizes)
    if outside.any():
        row, column = (int(i) for i in np.argwhere(outside)[0])
        raise InvalidArgumentError(
            f"Action for `{names[column]}` must be 0 to {int(sizes[column]) - 1}; "
            f"got {int(actions[row, column])}."
        )


ActionKind = Literal["multidiscrete", "box"]


class Formulation(ABC):
    """From actions to choices, for any number of episodes side by side.

    An episode's state is its choices `picks` and the `position` of the next one; its design is
    complete where that is `choices.n`.
    """

    choices: Choices
    action_space: spaces.Space[Any]
    """One episode's."""
    shows_position: bool

    @abstractmethod
    def start(self) -> tuple[np.ndarray, int]:
        """Return choices, (n_choices,), and position with which an episode starts."""

    @abstractmethod
    def is_made(self, position: np.ndarray) -> np.ndarray:
        """Return True for choices that an observation shows, (n, n_choices) bool."""

    @abstractmethod
    def advance(
        self, picks: np.ndarray, position: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return choices and positions after n episodes' actions.

        Raises:
          InvalidArgumentError: The actions do not lie in the action space.
        """

    @abstractmethod
    def masks(self, picks: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Return the mask of actions with a feasible completion, (n, n_actions) bool.

        Raises:
          InvalidArgumentError: The action space is continuous.
        """


@final
class WholeDesign(Formulation):
    """All choices in one step: every episode is one design."""

    shows_position = False

    def __init__(self, choices: Choices, actions: ActionKind) -> None:
        self.choices = choices
        self._is_box = actions == "box"
        self.action_space = (
            spaces.Box(-1.0, 1.0, (choices.n,), dtype=np.float32)
            if self._is_box
            else spaces.MultiDiscrete(choices.sizes)
        )
        self._mask: np.ndarray | None = None

    def start(self) -> tuple[np.ndarray, int]:
        # An episode starts from the default design, to which all metrics are relative.
        return self.choices.default, 0

    def is_made(self, position: np.ndarray) -> np.ndarray:
        return np.ones((len(position), self.choices.n), dtype=bool)

    def advance(
        self, picks: np.ndarray, position: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        require_shape(actions, picks.shape)
        done = np.full_like(position, self.choices.n)
        if self._is_box:
            return binned(actions, self.choices.sizes), done
        require_whole(actions, self.choices.sizes, self.choices.names)
        return actions.astype(np.int64), done

    def masks(self, picks: np.ndarray, position: np.ndarray) -> np.ndarray:
        if self._is_box:
            raise _no_masks()
        if self._mask is None:
            self._mask = np.concatenate(self.choices.marginal_masks())
        return np.tile(self._mask, (len(position), 1))


@final
class OneChoice(Formulation):
    """One choice a step, in the space's order; the design is evaluated at the end.

    A parameter that is known to be inactive under the choices before it takes its default and its
    step is left out, so that episodes are as long as their designs have choices that matter.
    """

    shows_position = True

    def __init__(self, choices: Choices, actions: ActionKind) -> None:
        self.choices = choices
        self._is_box = actions == "box"
        self._n_actions = int(choices.sizes.max())
        self.action_space = (
            spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
            if self._is_box
            else spaces.Discrete(self._n_actions)
        )
        self._skips = np.array([_is_known_early(choices, int(p)) for p in choices.places])

    def start(self) -> tuple[np.ndarray, int]:
        first = self._next(self.choices.default[None, :], np.array([-1]))
        return self.choices.default, int(first[0])

    def is_made(self, position: np.ndarray) -> np.ndarray:
        return np.asarray(np.arange(self.choices.n) < position[:, None])

    def advance(
        self, picks: np.ndarray, position: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        n = len(position)
        sizes = self.choices.sizes[position]
        if self._is_box:
            require_shape(actions, (n, 1))
            chosen = binned(actions[:, 0], sizes)
        else:
            require_shape(actions, (n,))
            require_whole(actions[:, None], np.array([self._n_actions]), ("the next choice",))
            # Masked algorithms never go beyond the choice's options; for others these repeat.
            chosen = actions.astype(np.int64) % sizes
        after = picks.copy()
        after[np.arange(n), position] = chosen
        return after, self._next(after, position)

    def masks(self, picks: np.ndarray, position: np.ndarray) -> np.ndarray:
        if self._is_box:
            raise _no_masks()
        masks = np.zeros((len(position), self._n_actions), dtype=bool)
        for row, (made, choice) in enumerate(zip(picks, position, strict=True)):
            mask = self.choices.mask(made, int(choice))
            masks[row, : len(mask)] = mask
        return masks

    def _next(self, picks: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Return the first active choice after `position`, or n_choices."""
        if not self._skips.any():
            return position + 1
        choices = self.choices
        active = choices.space.active(choices.compose(picks))[:, choices.places]
        is_next = (np.arange(choices.n) > position[:, None]) & (active | ~self._skips)
        return np.where(is_next.any(axis=1), is_next.argmax(axis=1), choices.n)


def _is_known_early(choices: Choices, place: int) -> bool:
    """Return True if a parameter has a condition that only parameters before it decide."""
    space = choices.space
    when = {c.parameter: c.when.names for c in space.conditions}
    before = set(space.names[:place])
    waiting = list(when.get(space.names[place], ()))
    if not waiting:
        return False
    seen = set()
    while waiting:
        name = waiting.pop()
        if name not in before:
            return False
        if name not in seen:
            seen.add(name)
            waiting += when.get(name, ())
    return True


def _no_masks() -> InvalidArgumentError:
    return InvalidArgumentError(
        "Action masks need discrete actions; these are numbers. Make the environment with "
        'actions="multidiscrete".'
    )


def make_formulation(name: str, actions: str, choices: Choices) -> Formulation:
    """Return the formulation with this name and these actions.

    Raises:
      UnknownNameError: The name is unknown.
    """
    if actions not in ("multidiscrete", "box"):
        raise unknown_name("kind of actions", actions, ("multidiscrete", "box"))
    kind: ActionKind = "box" if actions == "box" else "multidiscrete"
    if name == "whole":
        return WholeDesign(choices, kind)
    if name == "sequential":
        return OneChoice(choices, kind)
    raise unknown_name("formulation", name, ("whole", "sequential"))


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
