"""A composition of experts as a workload: whole models of which each request uses one.

Source:
  Prabhakar et al., *SambaNova SN40L*, MICRO 2024: a router and 150 experts of Llama 2 7B, eight
  sockets each.
"""

from typing import Final

import numpy as np

from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.routing import Routing

LLAMA_2_7B_PARAMETERS: Final = 6_738_415_616
"""Touvron et al., *Llama 2*, 2023: 6.74e9 weights, 13.48 GB of 16 bits."""
_LAYERS, _HIDDEN, _HEADS, _HEAD_SIZE = 32, 4096, 32, 128


def llama_composition(n_models: int) -> MoeModel:
    """Return a number of fine-tuned Llama 2 7B as the experts of a mixture with one layer."""
    return MoeModel(
        name=f"llama-2-7b-x{n_models}",
        layers=_LAYERS,
        moe_layers=1,
        hidden=_HIDDEN,
        experts=n_models,
        top_k=1,
        expert_inner=round(LLAMA_2_7B_PARAMETERS / 3 / _HIDDEN),
        matrices=3,
        heads=_HEADS,
        kv_heads=_HEADS,
        head_size=_HEAD_SIZE,
        vocabulary=32_000,
        source="Touvron et al., *Llama 2*, 2023; the composition as in SN40L, MICRO 2024",
    )


def composition_routing(n_requests: int, n_models: int, skew: float, seed: int) -> Routing:
    """Return routing in which each request uses one model, by a Zipf law over the models.

    Args:
      n_requests: Each is a document of one token, which the request repeats.
      n_models: Models there are.
      skew: Exponent of the law; 0 for all alike.
      seed: 0 or more.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    weights = np.arange(1, n_models + 1) ** -skew
    order = rng.permutation(n_models)
    chosen = order[np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(n_requests))]
    experts = np.minimum(chosen, n_models - 1).astype(np.int16).reshape(-1, 1, 1)
    return Routing(experts, np.arange(n_requests + 1, dtype=np.int64), n_models, "composition")
