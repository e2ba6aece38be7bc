"""Ways of serving: their knobs, and what they come to on a server."""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.columns import (
    CHOICES,
    Admission,
    CpuRule,
    LinkOrder,
    Prefetch,
    Replacement,
    Scheduler,
    Scope,
    Target,
)
from archgym.simulators.moe.hardware import NodePreset
from archgym.simulators.moe.models import MoeModel
from archgym.simulators.moe.requests import Requests
from archgym.simulators.moe.timing import ACTIVATION_BYTES, Efficiency, efficiency, layer_costs

__all__ = ["MEMORY_SHARE", "MODEL_REASONS", "Plan", "Serving", "plan"]

# vLLM's default `gpu_memory_utilization`.
MEMORY_SHARE: Final = 0.9
# chosen: a CUDA context and its kernels; AIConfigurator counts 3.5 GB with what frameworks keep.
RUNTIME_BYTES: Final = 1.05e9
# A TLB's tags have 32 bits.
_MAX_PAGES: Final = 2**31
_TO_WHOLE = {
    Admission.FORCED: 1,  # caches.FORCED
    Admission.BYPASS: 0,
}


@final
@dataclass(frozen=True)
class Serving:
    """All knobs of a server of one model.

    Attributes:
      cache_experts: Places for experts in an accelerator's memory, over all layers; None for all.
      scope: What shares a pool of places.
      admission: Whether what was used may be left out.
      replacement: Who leaves.
      lookahead: Tokens that `belady` and `sch` see ahead.
      staging_experts: Buffers for experts that stream through or wait for their layer, 1 or more.
      prefetch: What is predicted, and when.
      depth: Events that `depth` and `adaptive` look ahead at most.
      width: Most experts predicted for an event; 0 for no limit.
      target: Where a prefetched expert waits.
      accuracy: Share of a next layer's experts that the predictor names rightly.
      accuracy_decay: What that is multiplied by for each further layer.
      link_order: Who goes first on the host link.
      chunk_kib: What a prefetch transfers before a demand may interrupt it; 0 for a whole expert.
      overlaps: Whether loading and computing overlap.
      scheduler: Which tokens make up a step.
      max_sequences: Most requests that run at once.
      max_tokens: Most tokens of a step.
      chunk_tokens: Most tokens of one prompt in a step; 0 for whole prompts.
      cpu_rule: When missing experts run on the host.
      expert_bits, attention_bits, kv_bits: Of a weight or an entry.
      low_bits: Of experts that are loaded on a miss; 0 for as all others.
      eight_bit_math: Whether matrix products use 8-bit units.
      rounds: Rounds of experts in a layer, with a part of the top k each (Chain-of-Experts).
      skip_in_64: Layers whose experts are skipped, in 64ths.
      host_gb: Host memory for experts; None for what the server has.
      tensor: Accelerators that share each attention layer.
      data: Groups of those, with requests of their own.
      spreads_experts: Whether experts are spread over all accelerators; else all hold a slice of
        each.
      redundant: Copies of experts beyond the first, over all accelerators.
      pipeline: Chunks in which a layer's tokens are exchanged; 0 for the best.
      page_kib, tlb_entries, tlb_ways, walk_ns, walkers: Translation of weights' addresses; pages of
        0 KiB for none, 0 ways for a TLB without sets.
      layer_software_ns: What software adds to each layer.
      step_software_ns: What it adds to each step.
      cpu_software_ns: What it adds to an expert on the host.
      reached: Efficiency; None for the accelerator's own.
      warm: Whether the cache starts with the most popular experts, else empty.
      seed: Of the predictor's errors.
    """

    cache_experts: int | None = None
    scope: Scope = Scope.LAYER
    admission: Admission = Admission.FORCED
    replacement: Replacement = Replacement.LRU
    lookahead: int = 16
    staging_experts: int = 2
    prefetch: Prefetch = Prefetch.OFF
    depth: int = 1
    width: int = 0
    target: Target = Target.STAGING
    accuracy: float = 0.8
    accuracy_decay: float = 0.9
    link_order: LinkOrder = LinkOrder.PRIORITY
    chunk_kib: int = 0
    overlaps: bool = True
    scheduler: Scheduler = Scheduler.DECODE_FIRST
    max_sequences: int = 64
    max_tokens: int = 2048
    chunk_tokens: int = 512
    cpu_rule: CpuRule = CpuRule.NEVER
    expert_bits: float = 16
    attention_bits: float = 16
    kv_bits: float = 16
    low_bits: float = 0
    eight_bit_math: bool = False
    rounds: int = 1
    skip_in_64: int = 0
    host_gb: float | None = None
    tensor: int = 1
    data: int = 1
    spreads_experts: bool = False
    redundant: int = 0
    pipeline: int = 1
    page_kib: int = 0
    tlb_entries: int = 0
    tlb_ways: int = 0
    walk_ns: float = 0.0
    walkers: int = 1
    layer_software_ns: float = 0.0
    step_software_ns: float = 0.0
    cpu_software_ns: float = 0.0
    reached: Efficiency | None = None
    warm: bool = True
    seed: int = 0

    @property
    def n_gpus(self) -> int:
        """Accelerators that serve."""
        return self.tensor * self.data

    @property
    def expert(self) -> int:
        """Accelerators that experts are spread over."""
        return self.n_gpus if self.spreads_experts else 1


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """A way of serving made ready for the kernel.

    Attributes:
      infeasible: Why it cannot be built; None where it can.
      costs, choices: What the kernel takes.
      cache_experts: Places in the cache.
      host_experts: Experts that the host's memory holds.
      expert_bytes: Of one expert where it is loaded.
      weight_bytes: An accelerator's memory for all but keys and values [bytes].
      kv_bytes: Of one token on one accelerator [bytes].
      max_context: Tokens whose keys and values fit, over all groups.
      activation_bytes: For each token of a step [bytes].
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


MODEL_REASONS: Final = (
    "weights, cache and staging do not fit the accelerators' memory",
    "keys and values of the longest request do not fit beside the weights",
    "rounds do not divide the experts that a token uses",
)


def plan(
    model: MoeModel,
    node: NodePreset,
    serving: Serving,
    requests: Requests,
    contention: float = 1.0,
    extra_bytes: float = 0.0,
) -> Plan:
    """Makes a way of serving ready, and finds out whether it fits.

    Args:
      model: What is served.
      node: On what.
      serving: How.
      requests: What is asked.
      contention: Of the network, see `layer_costs`.
      extra_bytes: What else lies in each accelerator's memory.

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
        expert_memory = model.moe_layers * slots / serving.expert * expert_bytes
    else:
        places = n_blocks if holds_all else capacity + serving.staging_experts
        expert_memory = places * expert_bytes / serving.tensor
    routed = model.top_k * (model.hidden + 2 * model.expert_inner / serving.tensor)
    activation_bytes = ACTIVATION_BYTES * (routed + 8 * model.hidden)
    step_tokens = max(serving.max_tokens, 1)
    if serving.chunk_tokens == 0:
        step_tokens = max(step_tokens, int(requests.prompt_tokens.max()))
    weight_bytes = (
        expert_memory
        + model.other_bytes(serving.attention_bits) / serving.tensor
        + activation_bytes * -(-step_tokens // serving.data)
        + RUNTIME_BYTES
        + extra_bytes
    )
    kv_bytes = model.kv_bytes_per_token(serving.kv_bits) / (
        1 if model.latent is not None else serving.tensor
    )
    free = node.gpu.memory_bytes * MEMORY_SHARE - weight_bytes
    max_context = int(max(0.0, free) // kv_bytes) * serving.data
    longest = int((requests.prompt_tokens.astype(np.int64) + requests.output_tokens).max())
    infeasible = None
    if model.top_k % serving.rounds:
        infeasible = MODEL_REASONS[2]
    elif free <= 0:
        infeasible = MODEL_REASONS[0]
    elif max_context // serving.data < longest:
        infeasible = MODEL_REASONS[1]
    host_gb = node.host.memory_gb if serving.host_gb is None else serving.host_gb
    host_experts = min(n_blocks, int(host_gb * 1e9 // expert_bytes))
    values = {
        "n_layers": model.moe_layers,
        "n_experts": model.experts,
        "top_k": model.top_k,
        "n_dense": model.layers - model.moe_layers,
        "n_rounds": serving.rounds,
        "capacity": capacity,
        "scope": serving.scope,
        "admission": _TO_WHOLE[serving.admission],
        "replacement": serving.replacement,
        "lookahead": serving.lookahead,
        "staging": serving.staging_experts,
        "prefetch": serving.prefetch,
        "depth": serving.depth,
        "width": serving.width,
        "target": serving.target,
        "link_order": serving.link_order,
        "overlaps": serving.overlaps,
        "scheduler": serving.scheduler,
        "max_sequences": serving.max_sequences,
        "max_tokens": serving.max_tokens,
        "chunk_tokens": serving.chunk_tokens,
        "max_context": max_context,
        "cpu_rule": serving.cpu_rule,
        "host_capacity": host_experts,
        "has_low": bool(serving.low_bits) and serving.low_bits < serving.expert_bits,
        "tile": (serving.reached or efficiency(node.gpu)).tile,
        "data": serving.data,
        "expert": serving.expert,
        "slots": slots,
        "pipeline": serving.pipeline,
        "seed": serving.seed,
        "n_requests": len(requests),
        **_tlb(serving, expert_bytes, n_blocks),
        "skip_in_64": serving.skip_in_64,
        "all_resident": holds_all,
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
    )


def _tlb(serving: Serving, expert_bytes: float, n_blocks: int) -> dict[str, int]:
    """Sets and ways of the TLB, and the tags that an expert's pages have there.

    A TLB without sets that keeps what was used last holds all of an expert's pages or none, since
    they are used one after the other: there a tag stands for all of them.
    """
    if not serving.page_kib:
        return {"tlb_sets": 1, "tlb_ways": 0, "tlb_tags": 1}
    pages = int(-(-expert_bytes // (serving.page_kib * 1024)))
    if serving.tlb_ways == 0:
        held = min(n_blocks, serving.tlb_entries // pages)
        return {"tlb_sets": 1, "tlb_ways": held, "tlb_tags": 1}
    if serving.tlb_entries % serving.tlb_ways:
        raise InvalidArgumentError(
            f"`tlb_ways` must divide the {serving.tlb_entries} `tlb_entries`; got "
            f"{serving.tlb_ways}. 0 ways are a TLB without sets."
        )
    if pages * n_blocks >= _MAX_PAGES:
        raise InvalidArgumentError(
            f"All experts must lie on fewer than {_MAX_PAGES:,} pages; they lie on "
            f"{pages * n_blocks:,}. Take larger pages, or `tlb_ways=0`."
        )
    sets = serving.tlb_entries // serving.tlb_ways
    ways = serving.tlb_ways if sets else 0
    return {"tlb_sets": max(1, sets), "tlb_ways": ways, "tlb_tags": pages}


def _check(model: MoeModel, serving: Serving) -> None:
    if serving.staging_experts < 1:
        raise InvalidArgumentError(
            f"`staging_experts` must be 1 or more; got {serving.staging_experts}. What does not "
            "fit the cache streams through it."
        )
    if serving.data > 1 and not serving.spreads_experts:
        raise InvalidArgumentError(
            "`data` above 1 needs `spreads_experts`; groups that share nothing are servers of "
            "their own."
        )
    if serving.spreads_experts and (model.experts + serving.redundant) % serving.n_gpus:
        raise InvalidArgumentError(
            f"The {model.experts} experts and {serving.redundant} `redundant` ones must divide "
            f"evenly among {serving.n_gpus} accelerators."
        )
