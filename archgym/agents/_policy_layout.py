"""Layout of the policies that agents save: task, inputs, outputs and network weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.files.policy import Policy
from archgym.tasks.task import Task


def require_layout(policy: Policy, task: Task, layout: Mapping[str, Any]) -> None:
    """Refuse a policy that sees or chooses something else than an agent does on a task.

    Args:
      policy: Policy, whose description holds the layout of its training.
      task: Task on which it is to be used.

    Raises:
      InvalidArgumentError: Says the first difference.
    """
    trained = policy.description.get("task", "another task")
    for what, here in layout.items():
        there = policy.description.get(what)
        if there != here:
            raise InvalidArgumentError(
                f"`policy` must fit task {task.id!r}; it was trained on {trained!r}, and its "
                f"`{what}` is another: {_difference(there, here)}. Use it on a task over the same "
                "space."
            )


def fitting_weights(policy: Policy, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return a policy's weights as networks take them, float32 in this machine's byte order.

    Args:
      shapes: Shapes of all weights of the networks, by name.

    Raises:
      InvalidArgumentError: One is missing, too many, of another shape or no finite number.
    """
    extra, missing = (
        sorted(set(policy.weights) - set(shapes)),
        sorted(set(shapes) - set(policy.weights)),
    )
    if extra or missing:
        raise InvalidArgumentError(
            f"`policy` must have the weights of its networks; missing are {missing}, and {extra} "
            "are not known. Restore its file, or train it again."
        )
    fitting: dict[str, np.ndarray] = {}
    for name, given in policy.weights.items():
        weight = np.asarray(given)
        if weight.shape != shapes[name] or weight.dtype.kind != "f":
            raise InvalidArgumentError(
                f"Weight {name!r} of `policy` must be numbers of shape {shapes[name]}; got "
                f"{weight.dtype!s} of shape {weight.shape}. Restore its file, or train it again."
            )
        with np.errstate(over="ignore"):
            fitting[name] = weight.astype(np.float32)
        if not np.isfinite(fitting[name]).all():
            raise InvalidArgumentError(
                f"Weight {name!r} of `policy` must be finite numbers of 32 bits; some are not. "
                "Restore its file, or train it again."
            )
    return fitting


def _difference(there: Any, here: Any) -> str:
    if not isinstance(here, list) or not isinstance(there, Sequence) or isinstance(there, str):
        return f"{there!r} there, {here!r} here"
    for number, (one, other) in enumerate(zip(there, here, strict=False)):
        if one != other:
            return f"number {number} is {one!r} there, {other!r} here"
    return f"{len(there)} there, {len(here)} here"
