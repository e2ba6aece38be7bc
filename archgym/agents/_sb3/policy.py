"""Policies of Stable-Baselines3 as plain arrays, and the designs they make."""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from archgym.agent.policy import Policy
from archgym.agents._policy_layout import fitting_weights
from archgym.agents._sb3.training import LearningEnv
from archgym.envs.observation import Observation
from archgym.evaluation.task import Task
from archgym.spaces.choices import Choices


def describe(
    algorithm: BaseAlgorithm, task: Task, formulation: str, actions: str
) -> dict[str, Any]:
    """Return the description of a policy's weights as JSON."""
    return {
        "task": task.id,
        "network": type(algorithm.policy).__name__,
        # Of an algorithm that has never learned from anything, 0; the library counts in private.
        "updates": int(algorithm._n_updates),
        **layout(task, formulation, actions),
    }


def layout(task: Task, formulation: str, actions: str) -> dict[str, Any]:
    """Return the observations and choices of a policy on a task as JSON."""
    choices = Choices(task.space)
    return {
        "formulation": formulation,
        "actions": actions,
        "choices": list(choices.names),
        "sizes": choices.sizes.tolist(),
        "observation": list(Observation(task, choices, formulation == "sequential").names),
    }


def weights_of(algorithm: BaseAlgorithm) -> dict[str, np.ndarray]:
    """Return the weights of the policy, by name."""
    return {
        name: weight.detach().numpy().copy()
        for name, weight in algorithm.policy.state_dict().items()
    }


def load_weights(algorithm: BaseAlgorithm, policy: Policy) -> None:
    """Give an algorithm the weights that another has learned.

    Raises:
      InvalidArgumentError: They do not fit.
    """
    shapes = {name: weight.shape for name, weight in weights_of(algorithm).items()}
    weights = fitting_weights(policy, shapes)
    tensors = {name: torch.from_numpy(weight) for name, weight in weights.items()}
    algorithm.policy.load_state_dict(tensors, strict=False)


def make_designs(
    algorithm: Any, env: LearningEnv, has_masks: bool, deterministic: bool
) -> np.ndarray:
    """Return first design of each of the episodes side by side, (n_envs, n_parameters) indices."""
    designs: list[np.ndarray | None] = [None] * env.num_envs
    observations = env.reset()
    while any(design is None for design in designs):
        masks = {"action_masks": np.stack(env.env_method("action_masks"))} if has_masks else {}
        actions, _ = algorithm.predict(observations, deterministic=deterministic, **masks)
        observations, _, ends, infos = env.step(actions)
        for row in np.flatnonzero(ends):
            if designs[row] is None:
                designs[row] = infos[row]["indices"]
    return np.stack([design for design in designs if design is not None])
