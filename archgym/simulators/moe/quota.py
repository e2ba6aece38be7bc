"""Places of a cache shared out among layers in proportion to their predicted need; compiled."""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import helper
from archgym.simulators.moe.cache_kernel import resize
from archgym.simulators.moe.caches import (
    CacheState,
)
from archgym.simulators.moe.columns import CAPACITY, N_EXPERTS, N_LAYERS, N_ROUNDS, REPLACEMENT
from archgym.simulators.moe.state import (
    State,
)

__all__ = ["share_out"]

Array = npt.NDArray[Any]


@helper
def share_out(choices: Array, state: State, cache: CacheState) -> None:
    """At a step's start: gives each layer places by the experts that the step asks it for.

    Source:
      He et al., *ExpertFlow*, arXiv 2410.17954: predictive locality-aware expert caching divides
      the slots across layers in proportion to the predicted number of experts per layer.
    """
    n_layers, n_experts = choices[N_LAYERS], choices[N_EXPERTS]
    n_rounds = choices[N_ROUNDS]
    total = min(choices[CAPACITY], n_layers * n_experts)
    need = 0
    for event in range(n_layers * n_rounds):
        need += state.n_members[event]
    # Rounding down the running sum gives parts that add up to the whole. First all that shrink,
    # so that there is room for those that grow.
    for grows in range(2):
        seen = given = 0
        for layer in range(n_layers):
            for event in range(layer * n_rounds, (layer + 1) * n_rounds):
                seen += state.n_members[event]
            upto = total * seen // max(1, need)
            part = min(n_experts, upto - given)
            given = upto
            if (part >= cache.capacity[layer]) == (grows == 1):
                resize(cache, choices[REPLACEMENT], layer, part)
