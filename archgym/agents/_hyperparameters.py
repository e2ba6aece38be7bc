"""Hyperparameters that agents which learn share, to annotate their constructors with.

The limits next to a range are what can be used at all; the upper ones keep a file that says it is a
policy from filling the memory.
"""

from typing import Annotated

from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.search.hyperparameters import Within
from archgym.spaces.parameter import Categorical, Integer, Ordinal, PowerOfTwo, Real

__all__ = [
    "BatchSize",
    "Clip",
    "Discount",
    "Entropy",
    "Epochs",
    "Floor",
    "Formulation",
    "Layers",
    "LearningRate",
    "Memory",
    "Minibatches",
    "NEnvs",
    "Rollout",
    "Start",
    "Tau",
    "TraceDecay",
    "Updates",
    "Width",
]

Formulation = Annotated[
    str,
    Categorical(
        name="formulation",
        choices=("whole", "sequential"),
        doc="All choices of a design in one step, or one choice a step.",
    ),
]
"""Formulation of an episode: whole design per step or one choice per step."""
NEnvs = Annotated[
    int,
    PowerOfTwo(name="n_envs", low=1, high=128, doc="Episodes side by side: designs an ask."),
    Within(1, 2**16),
]
"""Number of designs asked for at once."""
Rollout = Annotated[
    int,
    PowerOfTwo(
        name="rollout",
        low=2,
        high=512,
        doc="Designs between updates, all of which one learns from; at least `n_envs`.",
    ),
    Within(2, 2**20),
]
"""Number of designs that an on-policy update learns from."""
Minibatches = Annotated[
    int,
    PowerOfTwo(
        name="minibatches",
        low=1,
        high=16,
        doc="Equal parts that the steps of an update are learned from; fewer where so many do "
        "not divide them.",
    ),
    Within(1, 2**16),
]
"""Number of minibatches into which the designs of an update are split."""
Epochs = Annotated[
    int,
    Integer(name="epochs", low=1, high=20, doc="Passes over the designs of an update."),
    Within(1, 1000),
]
"""Number of passes of an update over its designs."""
LearningRate = Annotated[
    float,
    Ordinal(
        name="learning_rate",
        levels=(1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2),
        doc="Size of a gradient step; it stays the same, since the budget is not known.",
    ),
    Within(1e-9, 1.0),
]
"""Size of a gradient step."""
Discount = Annotated[
    float,
    Ordinal(
        name="gamma",
        levels=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
        doc="Worth of a reward one step later; nothing where an episode is one step.",
    ),
    Within(0.0, 1.0),
]
"""Worth of a reward one step later."""
TraceDecay = Annotated[
    float,
    Ordinal(
        name="gae_lambda",
        levels=(0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0),
        doc="Weight of what came later against what was expected of it, in advantages.",
    ),
    Within(0.0, 1.0),
]
"""Worth of what is seen against what is expected."""
Entropy = Annotated[
    float,
    Ordinal(
        name="entropy",
        levels=(0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
        doc="Weight of the policy's entropy in what it maximises.",
    ),
    Within(0.0, 1e6),
]
"""Reward for staying undecided."""
Clip = Annotated[
    float,
    Ordinal(
        name="clip",
        levels=(0.05, 0.1, 0.2, 0.3, 0.4),
        doc="Change of an action's probability in one update, as a share, beyond which it gains "
        "nothing.",
    ),
    Within(1e-6, 1e6),
]
"""Clip range of an update of the policy."""
Floor = Annotated[
    float,
    Real(
        name="floor",
        low=-25.0,
        high=-0.5,
        count=50,
        doc="Rewards below it count as it when learning: how bad a design is that cannot be "
        "built, in the logarithms that rewards are.",
    ),
    Within(INFEASIBLE_REWARD, 0.0),
]
"""Least reward that is learned from."""
Width = Annotated[
    int,
    PowerOfTwo(name="width", low=8, high=256, doc="Units in a layer of a network."),
    Within(1, 4096),
]
"""Size of a layer."""
Layers = Annotated[
    int, Integer(name="layers", low=1, high=3, doc="Hidden layers of a network."), Within(0, 16)
]
"""Depth of the networks."""
Memory = Annotated[
    int,
    PowerOfTwo(name="memory", low=256, high=2**16, doc="Last designs that are learned from again."),
    Within(1, 2**24),
]
"""Number of designs kept in the replay buffer."""
Start = Annotated[
    int,
    PowerOfTwo(name="start", low=8, high=1024, doc="Random designs before it learns."),
    Within(1, 2**20),
]
"""Number of random designs before learning starts."""
BatchSize = Annotated[
    int,
    PowerOfTwo(
        name="batch_size",
        low=16,
        high=512,
        doc="Remembered steps that a gradient step is computed from.",
    ),
    Within(2, 2**16),
]
"""Number of remembered steps in a gradient step."""
Updates = Annotated[
    int,
    Integer(name="updates", low=1, high=8, doc="Gradient steps for each design."),
    Within(1, 1000),
]
"""Number of gradient steps between designs."""
Tau = Annotated[
    float,
    Ordinal(
        name="tau",
        levels=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        doc="Share of the way that the network which judges the steps after follows the other at "
        "a time.",
    ),
    Within(1e-6, 1.0),
]
"""Update rate of the target network."""
