"""Serving plan of a design: placement and memory."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.kit import InvalidArgumentError
from archgym.simulators.moe.machine.columns import CHOICES
from archgym.simulators.moe.machine.engines import padded_rows, precision_of
from archgym.simulators.moe.machine.hardware import ACTIVATION_BYTES, NodePreset, efficiency
from archgym.simulators.moe.machine.serving import _TO_WHOLE, Serving
from archgym.simulators.moe.machine.timing import layer_costs
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.requests import Requests

# chosen: a CUDA context and its kernels; AIConfigurator counts 3.5 GB with what frameworks keep.
RUNTIME_BYTES: Final = 1.05e9


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """A way of serving made ready for the kernel.

    Attributes:
      infeasible: Reason why it cannot be built; None if it can.
      costs, choices: Arguments of the kernel.
      cache_experts: Places in the cache.
      host_experts: Experts that the host's memory holds.
      expert_bytes: Size of one expert in the place where it is loaded.
      weight_bytes: An accelerator's memory for all but keys and values [bytes].
      kv_bytes: Size of one token on one accelerator [bytes].
      max_context: Tokens whose keys and values fit, over all groups.
      activation_bytes: Size for each token of a step [bytes].
      prefix_tokens: Tokens of prompts that the prefix cache holds, over all groups.
    """

    infeasible: str | None
    costs: npt.NDArray[np.float64]
    choices: npt.NDArray[np.int64]
    cache_experts: int
    host_experts: int
    expert_bytes: float
    weight_bytes: float
    kv_bytes: float
    max_context: int
    activation_bytes: float
    prefix_tokens: int = 0


MODEL_REASONS: Final = (
    "weights, cache and staging do not fit the accelerators' memory",
    "keys and values of the longest request do not fit with the weights",
    "rounds do not divide the experts that a token uses",
    "the server has fewer accelerators than the design needs",
)


UNEVEN: Final = "experts and copies do not divide evenly among the accelerators"
"""A further reason, of models whose experts some designs cannot spread."""
REFUSED: Final = "a prompt is longer than max_tokens, and the engine splits none: it does not start"
"""A further reason, of engines without chunked prefill."""


def is_uneven(model: MoeModel, serving: Serving) -> bool:
    """Return True if the experts cannot be spread evenly."""
    return serving.spreads_experts and (model.experts + serving.redundant) % serving.expert > 0


def plan(
    model: MoeModel,
    node: NodePreset,
    serving: Serving,
    requests: Requests,
    contention: float = 1.0,
    extra_bytes: float = 0.0,
) -> Plan:
    """Make a way of serving ready, and find out whether it fits.

    Args:
      model: Model that is served.
      node: On what.
      serving: Settings of the engine.
      requests: Requests to serve.
      contention: Contention of the network, see `layer_costs`.
      extra_bytes: Other content of each accelerator's memory.

    Raises:
      InvalidArgumentError: Knobs contradict each other.
    """
    _check(model, serving)
    n_blocks = model.moe_layers * model.experts
    spreads = serving.expert > 1
    slots = model.experts + serving.redundant if spreads else model.experts
    capacity = n_blocks if serving.cache_experts is None else min(serving.cache_experts, n_blocks)
    holds_all = spreads or capacity >= n_blocks
    expert_bytes = model.expert_bytes(serving.expert_bits)
    if spreads:
        expert_memory = model.moe_layers * slots * expert_bytes / serving.n_gpus
    else:
        places = n_blocks if holds_all else capacity + serving.staging_experts
        expert_memory = places * expert_bytes / serving.slices
    routed = model.top_k * (model.hidden + 2 * model.expert_inner / serving.tensor)
    activation_bytes = ACTIVATION_BYTES * (routed + 8 * model.hidden)
    step_tokens = max(serving.max_tokens, 1)
    if serving.chunk_tokens == 0:
        step_tokens = max(step_tokens, int(requests.prompt_tokens.max()))
    weight_bytes = (
        expert_memory
        + _other_bytes(model, serving) / serving.tensor
        + activation_bytes * -(-step_tokens // serving.data)
        + RUNTIME_BYTES
        + extra_bytes
    )
    kv_bytes = model.kv_bytes_per_token(serving.kv_bits) / model.kv_shares(serving.tensor)
    prefix_bytes = serving.prefix_cache_gb * 1e9
    usable = node.gpu.memory_bytes * serving.memory_percent / 100.0
    free = usable - weight_bytes - prefix_bytes
    max_context = int(max(0.0, free) // kv_bytes) * serving.data
    longest = int((requests.prompt_tokens.astype(np.int64) + requests.output_tokens).max())
    if serving.block_tokens:
        max_context -= max_context % serving.block_tokens
        longest += -longest % serving.block_tokens
    infeasible = None
    if serving.n_gpus > _accelerators(node, serving):
        infeasible = MODEL_REASONS[3]
    elif model.top_k % serving.rounds:
        infeasible = MODEL_REASONS[2]
    elif free <= 0:
        infeasible = MODEL_REASONS[0]
    elif max_context // serving.data < longest:
        infeasible = MODEL_REASONS[1]
    host_gb = node.host.memory_gb if serving.host_gb is None else serving.host_gb
    host_experts = min(n_blocks, int(host_gb * 1e9 // expert_bytes))
    values = {name: getattr(serving, name) for name in CHOICES if hasattr(serving, name)}
    values |= {
        "n_layers": model.moe_layers,
        "n_experts": model.experts,
        "top_k": model.top_k,
        "n_dense": model.layers - model.moe_layers,
        "n_rounds": serving.rounds,
        "capacity": capacity,
        "admission": _TO_WHOLE[serving.admission],
        "staging": serving.staging_experts,
        "max_context": max_context,
        "host_capacity": host_experts,
        "has_low": bool(serving.low_bits) and serving.low_bits < serving.expert_bits,
        # Measured constants hold for products as they were run, tiles included.
        "tile": (serving.reached or efficiency(node.gpu)).tile if serving.engine == "ideal" else 1,
        "slots": slots,
        "n_requests": len(requests),
        "all_resident": holds_all,
        "acceptance_permille": round(1000 * serving.acceptance),
        "padded_rows": _padded_rows(model, node, serving),
        "independent_permille": round(1000 * serving.independent),
    }
    return Plan(
        infeasible,
        layer_costs(model, node, serving, contention),
        np.array([int(values[name]) for name in CHOICES], dtype=np.int64),
        capacity,
        host_experts,
        float(expert_bytes),
        weight_bytes,
        kv_bytes,
        max_context,
        activation_bytes,
        int(prefix_bytes // kv_bytes) * serving.data,
    )


def _other_bytes(model: MoeModel, serving: Serving) -> float:
    """Return bytes of everything but routed experts; an engine's embeddings keep 16 bits."""
    embedding_bits = 0 if serving.engine == "ideal" else 16
    return model.other_bytes(serving.attention_bits, serving.expert_bits, embedding_bits)


def _padded_rows(model: MoeModel, node: NodePreset, serving: Serving) -> int:
    if serving.engine == "ideal":
        return 0
    precision = serving.precision or precision_of(serving.expert_bits, node.gpu, model)
    return padded_rows(serving.release, precision, node.gpu, serving.tensor)


def _accelerators(node: NodePreset, serving: Serving) -> float:
    """Return how many accelerators there are to use."""
    if serving.servers is not None:
        return node.n_gpus * serving.servers
    # Servers without a network stand alone.
    return node.n_gpus if node.network is None else float("inf")


def _check(model: MoeModel, serving: Serving) -> None:
    if serving.staging_experts < 1:
        raise InvalidArgumentError(
            f"`staging_experts` must be 1 or more; got {serving.staging_experts}. What does not "
            "fit the cache streams through it."
        )
    if serving.data > 1 and not serving.spreads_experts and serving.engine == "ideal":
        raise InvalidArgumentError(
            "`data` above 1 needs `spreads_experts`; groups that share nothing are servers of "
            "their own."
        )
    if serving.n_gpus % serving.expert:
        raise InvalidArgumentError(
            f"`expert_groups` must divide the {serving.n_gpus} accelerators; got {serving.expert}."
        )
    if is_uneven(model, serving):
        raise InvalidArgumentError(
            f"The {model.experts} experts and {serving.redundant} `redundant` ones must divide "
            f"evenly among {serving.expert} groups of accelerators."
        )
