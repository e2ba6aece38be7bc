"""Hyperparameters that several agents share, to annotate their constructors with.

The limits next to a range are what can be used at all; the upper ones keep a file that says it is a
policy from filling the memory.
"""

from typing import Annotated

from archgym.agent.agent import Within
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.spaces.parameter import Categorical, Integer, Ordinal, PowerOfTwo, Real

Formulation = Annotated[
    str,
    Categorical(
        name="formulation",
        choices=("whole", "sequential"),
        doc="All choices of a design in one step, or one choice a step.",
    ),
]
NEnvs = Annotated[
    int,
    PowerOfTwo(name="n_envs", low=1, high=128, doc="Episodes side by side: designs an ask."),
    Within(1, 2**16),
]
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
Epochs = Annotated[
    int,
    Integer(name="epochs", low=1, high=20, doc="Passes over the designs of an update."),
    Within(1, 1000),
]
LearningRate = Annotated[
    float,
    Ordinal(
        name="learning_rate",
        levels=(1e-4, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2),
        doc="Size of a gradient step; it stays the same, since the budget is not known.",
    ),
    Within(1e-9, 1.0),
]
Discount = Annotated[
    float,
    Ordinal(
        name="gamma",
        levels=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
        doc="Worth of a reward one step later; nothing where an episode is one step.",
    ),
    Within(0.0, 1.0),
]
TraceDecay = Annotated[
    float,
    Ordinal(
        name="gae_lambda",
        levels=(0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0),
        doc="Weight of what came later against what was expected of it, in advantages.",
    ),
    Within(0.0, 1.0),
]
Entropy = Annotated[
    float,
    Ordinal(
        name="entropy",
        levels=(0.0, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
        doc="Weight of the policy's entropy in what it maximises.",
    ),
    Within(0.0, 1e6),
]
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
Width = Annotated[
    int,
    PowerOfTwo(name="width", low=8, high=256, doc="Units in a layer of a network."),
    Within(1, 4096),
]
Layers = Annotated[
    int, Integer(name="layers", low=1, high=3, doc="Hidden layers of a network."), Within(0, 16)
]
# ---- agents that breed, step and model

Population = Annotated[
    int,
    Integer(
        name="population",
        low=4,
        high=100,
        doc="Designs that may breed; as many random ones start the search.",
    ),
]
Children = Annotated[int, Integer(name="batch_size", low=1, high=64, doc="Children an ask.")]
Crossover = Annotated[
    float,
    Real(
        name="crossover",
        low=0.0,
        high=1.0,
        count=11,
        doc="Share of children that have two parents.",
    ),
]
Mutation = Annotated[
    float,
    Real(
        name="mutation",
        low=0.5,
        high=5.0,
        count=10,
        doc="Mean number of parameters of a child that step; at least one does.",
    ),
]
Step = Annotated[
    float,
    Real(
        name="step",
        low=0.01,
        high=0.5,
        count=50,
        doc="Mean length of a step along an ordered parameter, as a share of its values.",
    ),
]
Startup = Annotated[
    int, Integer(name="startup", low=2, high=100, doc="Random designs at the start.")
]
InFlight = Annotated[
    int,
    Integer(
        name="batch_size",
        low=1,
        high=64,
        doc="Designs that are proposed before the result of the first of them is known.",
    ),
    Within(1, 1024),
]
FewDesigns = Annotated[int, Integer(name="batch_size", low=1, high=32, doc="Designs an ask.")]
ManyDesigns = Annotated[int, PowerOfTwo(name="batch_size", low=1, high=1024, doc="Designs an ask.")]
