"""Policies of teams as plain arrays, and the designs they make; needs torch, and no Ray."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from archgym.agents._policy_layout import fitting_weights
from archgym.agents._rllib.network import TeamNetwork, drawn
from archgym.agents._rllib.team import Team
from archgym.files.policy import Policy
from archgym.spaces.choices import Choices
from archgym.tasks.task import Task

ACTOR = "actor."
"""Start of the names of weights that choose."""


def describe(task: Task, team: Team, n_updates: int) -> dict[str, Any]:
    """Return the description of a team's weights as JSON."""
    return {"task": task.id, "updates": n_updates, **layout(task, team)}


def layout(task: Task, team: Team) -> dict[str, Any]:
    """Return the observations and choices of a team on a task as JSON."""
    choices = Choices(task.space)
    return {
        "agents": list(team.agents),
        "parameters": [list(names) for names in team.parameters],
        "observation": list(team.observation.names),
        "choices": list(choices.names),
        "sizes": choices.sizes.tolist(),
    }


def network_settings(team: Team, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a team's `TeamNetwork`."""
    return {
        "sizes": team.sizes.tolist(),
        "n_actor": team.actor_inputs.shape[1],
        "n_critic": team.n_critic,
        "is_shared": hyperparameters["policies"] == "shared",
        "width": hyperparameters["width"],
        "layers": hyperparameters["layers"],
    }


def make_designs(policy: Policy, task: Task, team: Team, n: int, seed: int) -> np.ndarray:
    """Return designs that a team with a policy's weights makes: the most likely one, then draws.

    Args:
      seed: Random seed of all designs but the first.

    Returns:
      (n, n_parameters) indices.

    Raises:
      InvalidArgumentError: Weights are missing, too many, or do not fit.
    """
    network = TeamNetwork(**network_settings(team, policy.hyperparameters))
    wanted = {
        f"{ACTOR}{name}": tuple(weight.shape) for name, weight in network.actor.state_dict().items()
    }
    weights = fitting_weights(policy, wanted)
    network.actor.load_state_dict(
        {name.removeprefix(ACTOR): torch.from_numpy(weight) for name, weight in weights.items()}
    )
    with torch.no_grad():
        logits = network.logits(torch.from_numpy(team.actor_inputs[None]))[0].numpy()
    draws = drawn(logits, n - 1, np.random.default_rng(seed))
    actions = np.concatenate([np.argmax(logits, axis=-1)[None], draws])
    return Choices(task.space).compose(team.joined(actions))
