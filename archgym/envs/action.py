"""What an agent emits, and the choices it stands for."""

import numpy as np

from archgym.errors import InvalidArgumentError

__all__ = ["binned", "require_shape", "require_whole"]


def binned(actions: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Choices that numbers from -1 to 1 stand for, each option an equal part of the interval.

    The interval is cut into as many equal bins as there are options, for options with an order and
    without. (The largest of one number an option would be even inside the box as well, but not
    where algorithms go most: at its corners all numbers tie.) Beyond the ends counts as the end.

    Args:
      actions: Any shape that broadcasts with `sizes`.
      sizes: Numbers of options.

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
    picks: np.ndarray = np.minimum(bins, sizes - 1)
    return picks


def require_shape(actions: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuses actions of another shape.

    Raises:
      InvalidArgumentError: Says both shapes.
    """
    if actions.shape != shape:
        raise InvalidArgumentError(
            f"Actions of {shape[0]} episode(s) must have shape {shape}; got {actions.shape}."
        )


def require_whole(actions: np.ndarray, sizes: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuses actions that are not whole numbers from 0 to below `sizes`.

    Args:
      actions: (n, len(sizes)).
      sizes: Numbers of options.
      names: What each of them chooses.

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
