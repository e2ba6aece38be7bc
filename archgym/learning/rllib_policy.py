"""Policies of teams as plain arrays, and the designs they make; needs torch, and no Ray."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from archgym.envs.choices import Choices
from archgym.errors import InvalidArgumentError
from archgym.learning.rllib_network import TeamNetwork, drawn
from archgym.learning.rllib_team import Team
from archgym.policy import Policy
from archgym.task import Task

__all__ = ["ACTOR", "check_layout", "describe", "make_designs", "network_settings"]

ACTOR = "actor."
"""Start of the names of weights that choose."""


def describe(task: Task, team: Team) -> dict[str, Any]:
    """What a team's weights mean, as JSON."""
    return {"task": task.id, **_layout(task, team)}


def _layout(task: Task, team: Team) -> dict[str, Any]:
    choices = Choices(task.space)
    return {
        "agents": list(team.agents),
        "parameters": [list(names) for names in team.parameters],
        "observation": list(team.observation.names),
        "choices": list(choices.names),
        "sizes": choices.sizes.tolist(),
    }


def check_layout(policy: Policy, task: Task, team: Team) -> None:
    """Refuses a policy whose team sees or chooses something else than a task has.

    Raises:
      InvalidArgumentError: Says the first difference.
    """
    trained = policy.description.get("task", "another task")
    for what, here in _layout(task, team).items():
        there = policy.description.get(what)
        if there != here:
            raise InvalidArgumentError(
                f"`policy` must fit {task.id!r}; it was trained on {trained!r}, whose {what} "
                f"differ: {_difference(there, here)}. Use it on a task over the same space."
            )


def _difference(there: Any, here: list[Any]) -> str:
    if not isinstance(there, list):
        return f"{there!r} there, {len(here)} here"
    for number, (one, other) in enumerate(zip(there, here, strict=False)):
        if one != other:
            return f"number {number} is {one!r} there, {other!r} here"
    return f"{len(there)} there, {len(here)} here"


def network_settings(team: Team, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a team's `TeamNetwork`."""
    return {
        "sizes": team.sizes.tolist(),
        "n_actor": team.actor_inputs.shape[1],
        "n_critic": team.n_critic,
        "is_shared": hyperparameters["policies"] == "shared",
        "width": hyperparameters["width"],
        "layers": hyperparameters["layers"],
    }


def make_designs(policy: Policy, task: Task, team: Team, n: int, seed: int) -> np.ndarray:
    """Designs that a team with a policy's weights makes: the most likely one, then draws.

    Args:
      policy: Whose weights, of the actors.
      task: Whose designs.
      team: Who makes them.
      n: How many.
      seed: What decides, for all but the first.

    Returns:
      (n, n_parameters) indices.

    Raises:
      InvalidArgumentError: Weights are missing, too many, or do not fit.
    """
    network = TeamNetwork(**network_settings(team, policy.hyperparameters))
    wanted = {
        f"{ACTOR}{name}": tuple(weight.shape) for name, weight in network.actor.state_dict().items()
    }
    _check_weights(policy.weights, wanted)
    network.actor.load_state_dict(
        {
            name.removeprefix(ACTOR): torch.tensor(np.asarray(weight), dtype=torch.float32)
            for name, weight in policy.weights.items()
        }
    )
    with torch.no_grad():
        logits = network.logits(torch.from_numpy(team.actor_inputs[None]))[0].numpy()
    draws = drawn(logits, n - 1, np.random.default_rng(seed))
    actions = np.concatenate([np.argmax(logits, axis=-1)[None], draws])
    return Choices(task.space).compose(team.joined(actions))


def _check_weights(weights: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> None:
    extra, missing = sorted(set(weights) - set(wanted)), sorted(set(wanted) - set(weights))
    if extra or missing:
        raise InvalidArgumentError(
            f"`policy` must have the weights of its networks; missing are {missing}, and {extra} "
            "are not known. Restore its file, or train it again."
        )
    for name, weight in weights.items():
        weight = np.asarray(weight)
        if weight.shape != wanted[name] or weight.dtype.kind != "f":
            raise InvalidArgumentError(
                f"Weight {name!r} of `policy` must be numbers of shape {wanted[name]}; got "
                f"{weight.dtype!s} of shape {weight.shape}. Restore its file, or train it again."
            )
        if not np.isfinite(weight.astype(np.float32)).all():
            raise InvalidArgumentError(
                f"Weight {name!r} of `policy` must be finite numbers; some are not. Restore its "
                "file, or train it again."
            )
