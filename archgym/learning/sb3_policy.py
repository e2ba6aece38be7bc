"""Policies of Stable-Baselines3 as plain arrays, and the designs they make."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from archgym.envs.choices import Choices
from archgym.envs.observation import Observation
from archgym.errors import InvalidArgumentError
from archgym.learning.sb3_training import LearningEnv
from archgym.policy import Policy
from archgym.task import Task

__all__ = ["check_layout", "describe", "load_weights", "make_designs", "weights_of"]


def describe(
    algorithm: BaseAlgorithm, task: Task, formulation: str, actions: str
) -> dict[str, Any]:
    """What a policy's weights mean, as JSON."""
    return {
        "task": task.id,
        "network": type(algorithm.policy).__name__,
        **_layout(task, formulation, actions),
    }


def _layout(task: Task, formulation: str, actions: str) -> dict[str, Any]:
    choices = Choices(task.space)
    return {
        "formulation": formulation,
        "actions": actions,
        "choices": list(choices.names),
        "sizes": choices.sizes.tolist(),
        "observation": list(Observation(task, choices, formulation == "sequential").names),
    }


def check_layout(policy: Policy, task: Task, formulation: str, actions: str) -> None:
    """Refuses a policy that sees or chooses something else than a task has.

    Raises:
      InvalidArgumentError: Says the first difference.
    """
    trained = policy.description.get("task", "another task")
    for what, here in _layout(task, formulation, actions).items():
        there = policy.description.get(what)
        if there != here:
            raise InvalidArgumentError(
                f"`policy` must fit task {task.id!r}; it was trained on {trained!r}, and its "
                f"`{what}` is another: {_difference(there, here)}. Use it on a task over the same "
                "space."
            )


def _difference(there: Any, here: Any) -> str:
    if not isinstance(here, list) or not isinstance(there, Sequence) or isinstance(there, str):
        return f"{there!r} there, {here!r} here"
    for number, (one, other) in enumerate(zip(there, here, strict=False)):
        if one != other:
            return f"number {number} is {one!r} there, {other!r} here"
    return f"{len(there)} there, {len(here)} here"


def weights_of(algorithm: BaseAlgorithm, actor: str) -> dict[str, np.ndarray]:
    """The weights that choose actions, by name."""
    return {
        name: weight.detach().numpy().copy()
        for name, weight in algorithm.policy.state_dict().items()
        if name.startswith(actor)
    }


def load_weights(algorithm: BaseAlgorithm, actor: str, weights: Mapping[str, np.ndarray]) -> None:
    """Gives an algorithm the weights that another has learned.

    Raises:
      InvalidArgumentError: One is missing, too many, of another shape or no finite number.
    """
    wanted = weights_of(algorithm, actor)
    extra, missing = sorted(set(weights) - set(wanted)), sorted(set(wanted) - set(weights))
    if extra or missing:
        raise InvalidArgumentError(
            f"`policy` must have the weights of its networks; missing are {missing}, and {extra} "
            "are not known. Restore its file, or train it again."
        )
    for name, weight in weights.items():
        weight = np.asarray(weight)
        if weight.shape != wanted[name].shape or weight.dtype.kind != "f":
            raise InvalidArgumentError(
                f"Weight {name!r} of `policy` must be numbers of shape {wanted[name].shape}; got "
                f"{weight.dtype!s} of shape {weight.shape}. Restore its file, or train it again."
            )
        if not np.isfinite(weight.astype(np.float32)).all():
            raise InvalidArgumentError(
                f"Weight {name!r} of `policy` must be finite numbers; some are not. Restore its "
                "file, or train it again."
            )
    tensors = {n: torch.tensor(np.asarray(w), dtype=torch.float32) for n, w in weights.items()}
    algorithm.policy.load_state_dict(tensors, strict=False)


def make_designs(
    algorithm: Any, env: LearningEnv, has_masks: bool, deterministic: bool
) -> np.ndarray:
    """The first design of each of the episodes side by side, (n_envs, n_parameters) indices."""
    designs: list[np.ndarray | None] = [None] * env.num_envs
    observations = env.reset()
    state = None
    starts = np.ones(env.num_envs, dtype=bool)
    while any(design is None for design in designs):
        masks = {"action_masks": np.stack(env.env_method("action_masks"))} if has_masks else {}
        actions, state = algorithm.predict(
            observations, state, starts, deterministic=deterministic, **masks
        )
        observations, _, starts, infos = env.step(actions)
        for row in np.flatnonzero(starts):
            if designs[row] is None:
                designs[row] = infos[row]["indices"]
    return np.stack([design for design in designs if design is not None])
