"""Serving configurations: their parameters, and their effect on a server."""

from dataclasses import dataclass
from typing import Final, final

from archgym.simulators.moe.machine.columns import (
    Admission,
    CpuRule,
    LinkOrder,
    Prefetch,
    Replacement,
    Scheduler,
    Scope,
    Target,
)
from archgym.simulators.moe.machine.hardware import Efficiency

MAX_DRAFTS: Final = 16
"""Most drafted tokens of a step; chosen: twice what engines draft."""
_TO_WHOLE = {
    Admission.FORCED: 1,  # caches.FORCED
    Admission.BYPASS: 0,
}


@final
@dataclass(frozen=True)
class Serving:
    """All parameters of a server of one model.

    Attributes:
      cache_experts: Places for experts in an accelerator's memory, over all layers; None for all.
      scope: Layers that share a pool of places.
      admission: True if what was used may be left out.
      replacement: Rule that selects the expert to evict.
      staging_experts: Buffers for experts that stream through or wait for their layer, 1 or more.
      prefetch: Prediction, and its time.
      depth: Events that `depth` and `adaptive` look ahead at most.
      width: Most experts predicted for an event; 0 for no limit.
      target: Place in which a prefetched expert waits.
      accuracy: Share of a next layer's experts that the predictor names rightly.
      accuracy_decay: Factor of the accuracy for each further layer.
      link_order: Order of transfers on the host link.
      chunk_kib: Transfer of a prefetch before a demand may interrupt it; 0 for a whole expert.
      overlaps: True if loading and computing overlap.
      scheduler: Rule that selects the tokens of a step.
      max_sequences: Most requests that run at once.
      max_tokens: Most tokens of a step.
      chunk_tokens: Most tokens of one prompt in a step; 0 for whole prompts.
      cpu_rule: When missing experts run on the host.
      expert_bits, attention_bits, kv_bits: Bits of a weight or an entry. Experts of a dense model
        are its plain feed-forward networks.
      low_bits: Bits of experts that are loaded on a miss; 0 for those of all others.
      eight_bit_math: True if matrix products use 8-bit units.
      rounds: Rounds of experts in a layer, with a part of the top k each (Chain-of-Experts).
      skip_in_64: Layers whose experts are skipped, in 64ths.
      host_gb: Host memory for experts; None for what the server has.
      tensor: Accelerators that share each attention layer.
      data: Groups of those, with requests of their own.
      spreads_experts: True if experts are spread over all accelerators; else all hold a slice of
        each.
      redundant: Copies of experts beyond the first, over all accelerators.
      pipeline: Chunks in which a layer's tokens are exchanged; 0 for the best.
      layer_software_ns: Software time of each layer.
      step_software_ns: Software time of each step.
      cpu_software_ns: Software time of an expert on the host.
      reached: Efficiency; None for the accelerator's own.
      warm: True if the cache starts with the most popular experts, else empty.
      engine: Engine whose measured constants count; "ideal" for rooflines alone.
      precision: Format of the experts' weights; "" for what their bits usually mean.
      release: Major and minor version of the engine, such as "vllm 0.11"; "" for a typical one.
      graphs: True if decode steps run as captured graphs.
      clients: Requests in flight of a closed loop; 0 for requests that come by themselves.
      poll_steps: Steps between two looks for new requests.
      block_tokens: Tokens of a block of keys and values that is taken on demand; 0 where a request
        has room for all its tokens from the start.
      draft_tokens: Tokens that are drafted for each sequence and step; 0 for no speculation. Their
        drafting takes no time.
      acceptance: Probability that a draft is accepted where those before it were.
      pinned: True if the host's copies of experts lie in pinned memory; from pageable memory a core
        copies them to the driver's buffer first.
      cpu_cores: Cores that experts on the host use; 0 for all.
      prefix_cache_gb: Memory of each accelerator for keys and values of prompts that others may
        begin with [GB]; 0 for none.
      memory_percent: Share of an accelerator's memory that may be used [%].
      expert_groups: Groups of accelerators that hold different experts, where they are spread; 0
        for a group of each accelerator. Accelerators of a group hold slices.
      hold_steps: Most steps that prompts wait for others to share their step; 0 for none.
      hold_prompts: Prompts from which they wait no longer.
      hold_tokens: Tokens of a step from which they wait no longer, decodes included.
      independent: Share of a step's further tokens that choose their experts on their own.
      prefill_workers, decode_workers: Servers that only read prompts and servers that only decode,
        each as described here; 0 for a server that does both.
      constants: Constants of the engine by name, which replace the shipped ones.
      servers: Servers that may be used; None for as many as the accelerators need.
      seed: Random seed of the predictor's errors.
    """

    cache_experts: int | None = None
    scope: Scope = Scope.LAYER
    admission: Admission = Admission.FORCED
    replacement: Replacement = Replacement.LRU
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
    layer_software_ns: float = 0.0
    step_software_ns: float = 0.0
    cpu_software_ns: float = 0.0
    reached: Efficiency | None = None
    warm: bool = True
    engine: str = "ideal"
    precision: str = ""
    release: str = ""
    graphs: bool = True
    clients: int = 0
    poll_steps: int = 1
    block_tokens: int = 0
    prefix_cache_gb: float = 0.0
    draft_tokens: int = 0
    acceptance: float = 0.8
    pinned: bool = True
    cpu_cores: int = 0
    memory_percent: float = 90.0
    expert_groups: int = 0
    hold_steps: int = 0
    hold_prompts: int = 0
    hold_tokens: int = 0
    independent: float = 1.0
    prefill_workers: int = 0
    decode_workers: int = 0
    constants: tuple[tuple[str, float], ...] = ()
    servers: int | None = None
    seed: int = 0

    @property
    def n_gpus(self) -> int:
        """Accelerators that serve."""
        return self.tensor * self.data

    @property
    def all_gpus(self) -> int:
        """Accelerators of all workers."""
        return self.n_gpus * max(1, self.prefill_workers + self.decode_workers)

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a sequence gets in a decode step, on average.

        Source:
          Leviathan et al., *Fast Inference from Transformers via Speculative Decoding*, 2023,
          equation 1.
        """
        return float(sum(self.acceptance**drafts for drafts in range(self.draft_tokens + 1)))

    @property
    def slices(self) -> int:
        """Accelerators that share each expert."""
        return 1 if self.spreads_experts else self.n_gpus

    @property
    def expert(self) -> int:
        """Groups of accelerators that hold different experts."""
        return (self.expert_groups or self.n_gpus) if self.spreads_experts else 1
