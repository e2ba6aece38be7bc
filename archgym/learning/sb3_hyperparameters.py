"""Hyperparameters that agents on Stable-Baselines3 share, and the checks of their values."""

from collections.abc import Iterable, Mapping
from typing import Any

from archgym.errors import InvalidArgumentError
from archgym.limits import check_number, check_whole
from archgym.objective import INFEASIBLE_REWARD
from archgym.parameter import Categorical, Integer, Ordinal, Parameter, PowerOfTwo, Real

__all__ = [
    "batch_size",
    "check_values",
    "clip",
    "discount",
    "entropy",
    "epochs",
    "floor",
    "formulation",
    "layers",
    "learning_rate",
    "memory",
    "minibatches",
    "n_envs",
    "rollout",
    "start",
    "tau",
    "trace_decay",
    "updates",
    "width",
]

# What a value must lie within, where that is more than the range which is published. The upper
# limits keep a file that says it is a policy from filling the memory.
_WHOLE_LIMITS: Mapping[str, tuple[int, int]] = {
    "n_envs": (1, 2**16),
    "rollout": (2, 2**20),
    "minibatches": (1, 2**16),
    "epochs": (1, 1000),
    "layers": (0, 16),
    "width": (1, 4096),
    "cells": (1, 4096),
    "memory": (1, 2**24),
    "batch_size": (2, 2**16),
    "updates": (1, 1000),
    "start": (1, 2**20),
    "exploration": (1, 2**30),
}
_NUMBER_LIMITS: Mapping[str, tuple[float, float | None]] = {
    "learning_rate": (1e-9, 1.0),
    "gamma": (0.0, 1.0),
    "gae_lambda": (0.0, 1.0),
    "entropy": (0.0, 1e6),
    "clip": (1e-6, 1e6),
    "floor": (INFEASIBLE_REWARD, 0.0),
    "tau": (1e-6, 1.0),
    "last_exploration": (0.0, 1.0),
    # An even number from -1 to 1 has 0.69 nats.
    "target_entropy": (-20.0, 0.69),
    "first_entropy": (1e-9, 1e6),
}


def check_values(hyperparameters: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each as its own plain type, where they can be used.

    Raises:
      InvalidArgumentError: One cannot.
    """
    checked: dict[str, Any] = {}
    for parameter in hyperparameters:
        name = parameter.name
        value = values[name]
        if isinstance(parameter, Categorical):
            if not isinstance(value, str) or value not in parameter.choices:
                raise InvalidArgumentError(
                    f"`{name}` must be {parameter.allowed()}; got {value!r}."
                )
            checked[name] = value
        elif name in _WHOLE_LIMITS:
            checked[name] = check_whole(name, value, *_WHOLE_LIMITS[name])
        else:
            checked[name] = check_number(name, value, *_NUMBER_LIMITS[name])
    return checked


def formulation(default: str) -> Parameter:
    """How an episode makes a design."""
    return Categorical(
        name="formulation",
        choices=("whole", "sequential"),
        default=default,
        doc="All choices of a design in one step, or one choice a step.",
    )


def n_envs(default: int) -> Parameter:
    """How many designs are asked for at once."""
    return PowerOfTwo(
        name="n_envs",
        low=1,
        high=128,
        default=default,
        doc="Episodes side by side: designs an ask.",
    )


def rollout(default: int) -> Parameter:
    """How many designs an on-policy update learns from."""
    return PowerOfTwo(
        name="rollout",
        low=2,
        high=512,
        default=default,
        doc="Designs between updates, all of which one learns from; at least `n_envs`.",
    )


def minibatches(default: int) -> Parameter:
    """How many parts the designs of an update are learned in."""
    return PowerOfTwo(
        name="minibatches",
        low=1,
        high=16,
        default=default,
        doc="Equal parts that the steps of an update are learned from; fewer where so many do "
        "not divide them.",
    )


def epochs(default: int) -> Parameter:
    """How often an update learns from its designs."""
    return Integer(
        name="epochs", low=1, high=20, default=default, doc="Passes over the designs of an update."
    )


def learning_rate(default: float) -> Parameter:
    """Size of a gradient step."""
    return Ordinal(
        name="learning_rate",
        levels=(1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2),
        default=default,
        doc="Size of a gradient step; it stays the same, since the budget is not known.",
    )


def discount(default: float) -> Parameter:
    """Worth of a reward one step later."""
    return Ordinal(
        name="gamma",
        levels=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
        default=default,
        doc="Worth of a reward one step later; nothing where an episode is one step.",
    )


def trace_decay(default: float) -> Parameter:
    """Worth of what is seen against what is expected."""
    return Ordinal(
        name="gae_lambda",
        levels=(0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0),
        default=default,
        doc="Weight of what came later against what was expected of it, in advantages.",
    )


def entropy(default: float) -> Parameter:
    """Reward for staying undecided."""
    return Ordinal(
        name="entropy",
        levels=(0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
        default=default,
        doc="Weight of the policy's entropy in what it maximises.",
    )


def clip(default: float) -> Parameter:
    """How far an update may change the policy."""
    return Ordinal(
        name="clip",
        levels=(0.05, 0.1, 0.2, 0.3, 0.4),
        default=default,
        doc="Change of an action's probability in one update, as a share, beyond which it gains "
        "nothing.",
    )


def floor(default: float) -> Parameter:
    """Least reward that is learned from."""
    return Real(
        name="floor",
        low=-25.0,
        high=-0.5,
        count=50,
        default=default,
        doc="Rewards below it count as it when learning: how bad a design is that cannot be "
        "built, in the logarithms that rewards are.",
    )


def width(default: int) -> Parameter:
    """Size of a layer."""
    return PowerOfTwo(
        name="width", low=8, high=256, default=default, doc="Units in a layer of a network."
    )


def layers(default: int) -> Parameter:
    """Depth of the networks."""
    return Integer(name="layers", low=1, high=3, default=default, doc="Hidden layers of a network.")


def memory(default: int) -> Parameter:
    """How many designs are remembered."""
    return PowerOfTwo(
        name="memory",
        low=256,
        high=2**16,
        default=default,
        doc="Last designs that are learned from again.",
    )


def start(default: int) -> Parameter:
    """How many designs are made at random first."""
    return PowerOfTwo(
        name="start", low=8, high=1024, default=default, doc="Random designs before it learns."
    )


def batch_size(default: int) -> Parameter:
    """How many remembered steps a gradient step is made of."""
    return PowerOfTwo(
        name="batch_size",
        low=16,
        high=512,
        default=default,
        doc="Remembered steps that a gradient step is computed from.",
    )


def updates(default: int) -> Parameter:
    """How much is learned between designs."""
    return Integer(
        name="updates", low=1, high=8, default=default, doc="Gradient steps for each design."
    )


def tau(default: float) -> Parameter:
    """How fast the target network follows."""
    return Ordinal(
        name="tau",
        levels=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        default=default,
        doc="Share of the way that the network which judges the steps after follows the other at "
        "a time.",
    )
