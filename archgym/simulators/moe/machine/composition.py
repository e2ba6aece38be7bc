"""A composition of experts: whole models of which each request uses one.

It is served as a mixture with one layer whose experts are the models: a step reads the weights of
each model that any of its requests uses, and models move between memories as experts do.

Source:
  Prabhakar et al., *SambaNova SN40L*, MICRO 2024: a router and 150 experts of Llama 2 7B, eight
  sockets each; a model switch is its bytes over the bandwidth from DDR to HBM.
"""

from dataclasses import replace

import numpy as np

from archgym.simulators.moe.machine.columns import COSTS
from archgym.simulators.moe.machine.hardware import NodePreset, efficiency
from archgym.simulators.moe.machine.plan import Plan, plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.composition import LLAMA_2_7B_PARAMETERS
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.requests import Requests


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
