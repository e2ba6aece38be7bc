"""Formulations of an episode: all choices in one step, or one choice per step."""

from abc import ABC, abstractmethod
from typing import Any, Literal, final

import numpy as np
from gymnasium import spaces

from archgym.errors import InvalidArgumentError, unknown_name
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
