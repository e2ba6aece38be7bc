"""Index of each number in the vectors that Python and the kernel exchange.

`COSTS` are times and sizes that follow from model, hardware and design; `CHOICES` are whole numbers
of the design; `COUNTERS` are what a run adds up. The constants have the names in capitals.
"""

from enum import IntEnum
from typing import Final


class Scope(IntEnum):
    """Scope of one pool of cache slots."""

    GLOBAL = 0
    LAYER = 1
    PROPORTIONAL = 2


class Admission(IntEnum):
    """Admission of used experts into the cache."""

    FORCED = 0
    BYPASS = 1


class Replacement(IntEnum):
    """Replacement rule of the cache."""

    LRU = 0
    LFU = 1
    LFRU = 2
    FIFO = 3
    RANDOM = 4
    STATIC = 5
    LEAST_STALE = 6
    PREDICTOR = 7


class Prefetch(IntEnum):
    """Prediction rule and time of a prefetch."""

    OFF = 0
    GATE = 1
    DEPTH = 2
    ADAPTIVE = 3
    PATH = 4


class Target(IntEnum):
    """Memory in which a prefetched expert waits for its layer."""

    STAGING = 0
    CACHE = 1


class LinkOrder(IntEnum):
    """Order of transfers on the host link."""

    PRIORITY = 0
    FIFO = 1


class Scheduler(IntEnum):
    """Selection of the tokens of a step."""

    DECODE_FIRST = 0
    PREFILL_FIRST = 1
    FCFS = 2
    LONGEST_QUEUE = 3
    REGROUP = 4


class CpuRule(IntEnum):
    """When an expert that is not in the accelerator's memory runs on the host."""

    NEVER = 0
    FASTER = 1
    ALWAYS = 2


# fmt: off
COSTS: Final = (
    # a layer without its experts
    "layer_ns",
    "attention_weight_ns",
    "attention_token_ns",
    "norm_token_ns",
    "context_ns",
    "pair_ns",
    "dense_weight_ns",
    "dense_token_ns",
    "shared_weight_ns",
    "shared_token_ns",
    "prompt_weight_ns",
    "prompt_token_ns",
    "head_weight_ns",
    "head_token_ns",
    "step_ns",
    # its experts
    "experts_ns",
    "launch_ns",
    "expert_weight_ns",
    "expert_token_ns",
    "routed_token_ns",
    # links, drive and host
    "load_ns",
    "load_fixed_ns",
    "low_load_ns",
    "chunk_ns",
    "ssd_ns",
    "ssd_fixed_ns",
    "to_host_token_ns",
    "from_host_token_ns",
    "to_host_fixed_ns",
    "cpu_weight_ns",
    "cpu_token_ns",
    "cpu_fixed_ns",
    # between accelerators
    "reduce_token_ns",
    "reduce_fixed_ns",
    "intra_dispatch_token_ns",
    "intra_combine_token_ns",
    "intra_fixed_ns",
    "inter_dispatch_token_ns",
    "inter_combine_token_ns",
    "inter_fixed_ns",
    # prefetch
    "accuracy",
    "accuracy_decay",
    # engines
    "sequence_ns",
    "sequence_layer_ns",
    "prompt_step_ns",
    "prompt_layer_ns",
    "gather_fixed_ns",
    "gather_token_ns",
    "first_ns",
    "wait_steps",
    "padded_token_ns",
    "padded_row_ns",
)
(
    LAYER_NS, ATTENTION_WEIGHT_NS, ATTENTION_TOKEN_NS, NORM_TOKEN_NS, CONTEXT_NS, PAIR_NS,
    DENSE_WEIGHT_NS, DENSE_TOKEN_NS, SHARED_WEIGHT_NS, SHARED_TOKEN_NS,
    PROMPT_WEIGHT_NS, PROMPT_TOKEN_NS, HEAD_WEIGHT_NS, HEAD_TOKEN_NS, STEP_NS,
    EXPERTS_NS, LAUNCH_NS, EXPERT_WEIGHT_NS, EXPERT_TOKEN_NS,
    ROUTED_TOKEN_NS, LOAD_NS, LOAD_FIXED_NS, LOW_LOAD_NS, CHUNK_NS, SSD_NS, SSD_FIXED_NS,
    TO_HOST_TOKEN_NS, FROM_HOST_TOKEN_NS, TO_HOST_FIXED_NS, CPU_WEIGHT_NS, CPU_TOKEN_NS,
    CPU_FIXED_NS, REDUCE_TOKEN_NS, REDUCE_FIXED_NS, INTRA_DISPATCH_TOKEN_NS,
    INTRA_COMBINE_TOKEN_NS, INTRA_FIXED_NS, INTER_DISPATCH_TOKEN_NS, INTER_COMBINE_TOKEN_NS,
    INTER_FIXED_NS, ACCURACY, ACCURACY_DECAY, SEQUENCE_NS, SEQUENCE_LAYER_NS,
    PROMPT_STEP_NS, PROMPT_LAYER_NS, GATHER_FIXED_NS, GATHER_TOKEN_NS, FIRST_NS,
    WAIT_STEPS, PADDED_TOKEN_NS, PADDED_ROW_NS,
) = range(len(COSTS))

CHOICES: Final = (
    "n_layers", "n_experts", "top_k", "n_dense", "n_rounds",
    "capacity", "scope", "admission", "replacement",
    "staging", "prefetch", "depth", "width", "target", "link_order", "overlaps",
    "scheduler", "max_sequences", "max_tokens", "chunk_tokens", "max_context",
    "cpu_rule", "host_capacity", "has_low", "tile",
    "data", "expert", "slots", "pipeline", "seed", "n_requests",
    "skip_in_64", "all_resident",
    "clients", "poll_steps", "block_tokens", "draft_tokens", "acceptance_permille",
    "padded_rows", "hold_steps", "hold_prompts", "hold_tokens", "independent_permille",
)  # fmt: skip
(
    N_LAYERS, N_EXPERTS, TOP_K, N_DENSE, N_ROUNDS, CAPACITY, SCOPE, ADMISSION, REPLACEMENT,
    STAGING, PREFETCH, DEPTH, WIDTH, TARGET, LINK_ORDER, OVERLAPS, SCHEDULER,
    MAX_SEQUENCES, MAX_TOKENS, CHUNK_TOKENS, MAX_CONTEXT, CPU_RULE, HOST_CAPACITY, HAS_LOW,
    TILE, DATA, EXPERT, SLOTS, PIPELINE, SEED, N_REQUESTS,
    SKIP_IN_64, ALL_RESIDENT, CLIENTS, POLL_STEPS, BLOCK_TOKENS, DRAFT_TOKENS,
    ACCEPTANCE_PERMILLE, PADDED_ROWS, HOLD_STEPS, HOLD_PROMPTS, HOLD_TOKENS,
    INDEPENDENT_PERMILLE,
) = range(len(CHOICES))

COUNTERS: Final = (
    "status", "elapsed_ns", "n_steps", "n_events", "n_tokens", "n_prompt_tokens",
    "n_accesses", "n_hits", "n_misses", "n_loads", "n_evictions", "n_resident_start",
    "n_resident_end", "n_staged_hits", "n_cpu", "n_distinct", "n_decode_events",
    "n_demand", "n_prefetch", "n_useful", "n_wasted", "n_pending", "n_demand_low",
    "prefetch_cut", "n_ssd", "n_streamed",
    "compute_busy_ns", "h2d_busy_ns", "d2h_busy_ns", "cpu_busy_ns", "ssd_busy_ns",
    "intra_busy_ns", "inter_busy_ns", "communication_ns",
    "stall_load_ns", "stall_ssd_ns", "stall_cpu_ns", "stall_prefetch_ns", "stall_places_ns",
    "moe_ns", "attention_ns", "overhead_ns", "idle_ns",
    "peak_context", "peak_sequences", "peak_step_tokens", "area_ns", "n_finished",
    "n_routed", "n_degraded", "load_sum", "load_max", "context_read",
    "n_distinct_decode", "depth_sum", "n_batch_sum",
    "to_host_tokens", "n_groups", "n_preempted", "n_restarted", "cached_tokens",
    "n_drafted", "n_rejected",
)  # fmt: skip
(
    STATUS, ELAPSED_NS, N_STEPS, N_EVENTS, N_TOKENS, N_PROMPT_TOKENS, N_ACCESSES, N_HITS,
    N_MISSES, N_LOADS, N_EVICTIONS, N_RESIDENT_START, N_RESIDENT_END, N_STAGED_HITS, N_CPU,
    N_DISTINCT, N_DECODE_EVENTS, N_DEMAND, N_PREFETCH, N_USEFUL, N_WASTED, N_PENDING,
    N_DEMAND_LOW, PREFETCH_CUT, N_SSD, N_STREAMED, COMPUTE_BUSY_NS, H2D_BUSY_NS, D2H_BUSY_NS,
    CPU_BUSY_NS, SSD_BUSY_NS, INTRA_BUSY_NS, INTER_BUSY_NS, COMMUNICATION_NS, STALL_LOAD_NS,
    STALL_SSD_NS, STALL_CPU_NS, STALL_PREFETCH_NS, STALL_PLACES_NS, MOE_NS, ATTENTION_NS,
    OVERHEAD_NS, IDLE_NS, PEAK_CONTEXT, PEAK_SEQUENCES, PEAK_STEP_TOKENS, AREA_NS, N_FINISHED,
    N_ROUTED, N_DEGRADED, LOAD_SUM, LOAD_MAX, CONTEXT_READ,
    N_DISTINCT_DECODE, DEPTH_SUM, N_BATCH_SUM, TO_HOST_TOKENS, N_GROUPS,
    N_PREEMPTED, N_RESTARTED, CACHED_TOKENS, N_DRAFTED, N_REJECTED,
) = range(len(COUNTERS))
# fmt: on
