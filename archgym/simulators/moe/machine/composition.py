"""A composition of experts: whole models of which each request uses one.

It is served as a mixture with one layer whose experts are the models: a step reads the weights of
each model that any of its requests uses, and models move between memories as experts do.

Source:
  Prabhakar et al., *SambaNova SN40L*, MICRO 2024: a router and 150 experts of Llama 2 7B, eight
  sockets each; a model switch is its bytes over the bandwidth from DDR to HBM.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from archgym.simulators.moe.kernel.columns import COSTS
from archgym.simulators.moe.machine.hardware import NodePreset, efficiency
from archgym.simulators.moe.machine.models import MoeModel
from archgym.simulators.moe.machine.plan import Plan, plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.requests import Requests
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


def composition_plan(
    model: MoeModel, node: NodePreset, serving: Serving, requests: Requests
) -> Plan:
    """Return the `plan` of a composition of experts, whose router reads each prompt.

    Raises:
      InvalidArgumentError: Knobs contradict each other.
    """
    # The router is one more model; what the mixture's skeleton counts is part of the models.
    router_bytes = LLAMA_2_7B_PARAMETERS * serving.attention_bits / 8 / serving.tensor
    skeleton_bytes = model.other_bytes(serving.attention_bits) / serving.tensor
    ready = plan(model, node, serving, requests, extra_bytes=router_bytes - skeleton_bytes)
    costs = dict(zip(COSTS, ready.costs.tolist(), strict=True))
    for name in ("attention_weight_ns", "attention_token_ns", "head_weight_ns", "head_token_ns"):
        costs[name] = 0.0
    reached = efficiency(node.gpu) if serving.reached is None else serving.reached
    flops_per_ns = node.gpu.bf16_tflops * 1e3 * reached.dense
    costs["prompt_weight_ns"] = router_bytes / (reached.memory * node.gpu.memory_gb_per_s)
    costs["prompt_token_ns"] = 2.0 * LLAMA_2_7B_PARAMETERS / serving.tensor / flops_per_ns
    # A whole model's products are dense ones.
    costs["expert_token_ns"] *= reached.experts / reached.dense
    # Its vectors pass through memory in its own layers, which the norms' passes count.
    costs["routed_token_ns"] = 0.0
    return replace(ready, costs=np.array([costs[name] for name in COSTS]))


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
