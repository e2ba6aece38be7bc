"""Hyperparameters with which agents that learn are quick, and learn within a few designs."""

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "a2c": {"n_envs": 4, "rollout": 4, "width": 8},
    "maskable_ppo": {"n_envs": 4, "rollout": 8, "epochs": 2, "width": 8},
    "ppo": {"n_envs": 4, "rollout": 8, "epochs": 2, "width": 8},
}
"""By agent; their defaults would learn for the first time after 64 designs."""

TEAM: dict[str, Any] = {"rollout": 8, "minibatches": 2, "epochs": 2, "width": 8}
"""Of multi_agent_ppo, likewise."""

PORTFOLIO: dict[str, Any] = {"opening": 8, "turn": 2, "patience": 2}
"""Hyperparameters of `auto`; by default its other methods wait for 100 designs."""

FOREST: dict[str, Any] = {"trees": 10, "pool": 100}
"""Hyperparameters of `extra_trees`; fewer trees learn alike, in a fifth of the time."""
