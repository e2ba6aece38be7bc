"""Costs that a design pays, and the ideal machine that does not pay one of them.

A cost is removed from the kernel's arguments: its times become 0, or a limit becomes so large that
it never binds. The design, the content of its memory and the requests stay. Decisions at run time
are made again, with the times of the ideal machine.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.kernel.run import Run
from archgym.simulators.moe.machine.columns import CHOICES, COSTS, Prefetch, Replacement, Scope
from archgym.simulators.moe.machine.hardware import NodePreset
from archgym.simulators.moe.machine.plan import Plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.metrics import METRICS, joules, loaded_bytes, measure
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.workload import Promise

Placement = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]

_DOCS: Final = {
    "capacity": "memory of the accelerator for every expert",
    "host-link": "loading experts over the host link",
    "drive": "reading experts from the drive",
    "host-processor": "computing missing experts on the host",
    "mispredictions": "prefetching the wrong experts",
    "exchange": "communication between accelerators",
    "imbalance": "one accelerator having more to do than others",
    "experts": "computing experts on the accelerator",
    "attention": "attention, dense layers and output",
    "launches": "starting kernels on the accelerator",
    "batch-limits": "any number of requests and tokens at once",
    "arrivals": "waiting for requests to come",
    "standing-power": "power of what is switched on, busy or not",
}
_OFFLOAD: Final = ("capacity", "host-link", "drive", "host-processor")
_COMPUTING: Final = ("experts", "attention", "launches", "batch-limits", "standing-power")
_BY_SPACE: Final[Mapping[str, tuple[str, ...]]] = {
    "edge-offload": (*_OFFLOAD, "mispredictions", *_COMPUTING),
    # Its host's memory holds all experts.
    "edge-offload-table": (*(c for c in _OFFLOAD if c != "drive"), "mispredictions", *_COMPUTING),
    # Here all that does not fit comes over the host link.
    "single-server": ("host-link", "exchange", "imbalance", "arrivals", *_COMPUTING),
    "expert-parallel": ("exchange", "imbalance", "arrivals", *_COMPUTING),
    "closed-loop": ("exchange", "arrivals", *_COMPUTING),
    "three-tier": (*_OFFLOAD, "exchange", "arrivals", *_COMPUTING),
}
"""Costs that matter to some design of a space on a workload that ships."""

_CACHE: Final = ("cache_percent", "scope", "replacement", "admission", "staging_experts")
_BATCHES: Final = ("max_sequences", "max_tokens", "chunk_tokens", "scheduler", "clients")
_SPLIT: Final = ("tensor", "data", "spread", "servers")

RELIEF: Final[Mapping[str, tuple[str, ...]]] = {
    "capacity": (*_CACHE, "expert_bits"),
    "host-link": (
        "prefetch", "depth", "width", "cpu_rule", "expert_bits", "low_bits", "link_order",
        *("chunk_kib", "skip_in_64", *_CACHE),
    ),
    "drive": ("host_gb", "prefetch", "expert_bits", "skip_in_64", *_CACHE),
    "host-processor": ("cpu_rule", "expert_bits", "low_bits", *_CACHE),
    "mispredictions": ("prefetch", "depth", "width", "target"),
    "exchange": ("paths", "subflows", "pipeline", "rounds", *_SPLIT),
    "imbalance": ("redundant", "placement", *_SPLIT),
    "experts": ("expert_bits", *_SPLIT, *_BATCHES),
    "attention": ("kv_bits", *_SPLIT, *_BATCHES),
    "launches": _BATCHES,
    "batch-limits": _BATCHES,
    "arrivals": _BATCHES,
    "standing-power": ("hardware", *_SPLIT, *_BATCHES),
}  # fmt: skip
"""By cost of `costs.py`, what decides it by the model's rules; a space need not have all."""

_TIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "host-link": ("load_ns", "load_fixed_ns", "low_load_ns", "chunk_ns"),
    "drive": ("ssd_ns", "ssd_fixed_ns"),
    "host-processor": (
        "to_host_token_ns", "from_host_token_ns", "to_host_fixed_ns",
        "cpu_weight_ns", "cpu_token_ns", "cpu_fixed_ns",
    ),
    "exchange": (
        "reduce_token_ns", "reduce_fixed_ns", "gather_token_ns", "gather_fixed_ns",
        "intra_dispatch_token_ns", "intra_combine_token_ns", "intra_fixed_ns",
        "inter_dispatch_token_ns", "inter_combine_token_ns", "inter_fixed_ns",
    ),
    "experts": ("expert_weight_ns", "expert_token_ns", "routed_token_ns"),
    "attention": (
        "attention_weight_ns", "attention_token_ns", "norm_token_ns", "context_ns", "pair_ns",
        "dense_weight_ns", "dense_token_ns", "shared_weight_ns", "shared_token_ns",
        "prompt_weight_ns", "prompt_token_ns", "head_weight_ns", "head_token_ns",
        "sequence_layer_ns",
    ),
    "launches": (
        "layer_ns", "step_ns", "experts_ns", "launch_ns", "sequence_ns",
        "prompt_step_ns", "prompt_layer_ns", "first_ns", "wait_steps",
    ),
}  # fmt: skip
"""By cost, the kernel's times that are 0 without it."""

_AMOUNTS: Final = ("memory_bytes", "link_bytes", "host_bytes", "drive_bytes", "flops")
_ENERGY: Final = [spec.name for spec in METRICS].index("energy_per_token_mj")
_MJ_PER_J: Final = 1e3


def costs_of(space: str) -> dict[str, str]:
    """Return costs of a space's designs, by name, with what is free without each."""
    return {cost: _DOCS[cost] for cost in _BY_SPACE[space]}


def relieved(
    cost: str, ready: Plan, requests: Requests, placement: Placement | None
) -> tuple[Plan, Requests, Placement | None]:
    """Return the machine that does not pay a cost.

    Args:
      cost: One of `costs_of`.
      ready: The plan of the machine that pays it.
      requests: Requests to serve.
      placement: Places of experts, if they are spread over accelerators.
    """
    costs = dict(zip(COSTS, ready.costs.tolist(), strict=True))
    choices = dict(zip(CHOICES, ready.choices.tolist(), strict=True))
    costs |= dict.fromkeys(_TIMES.get(cost, ()), 0.0)
    if cost == "capacity":
        choices |= {
            "all_resident": 1,
            "capacity": choices["n_layers"] * choices["n_experts"],
            "scope": Scope.LAYER,
            "replacement": Replacement.LRU,
            "prefetch": Prefetch.OFF,
        }
    elif cost == "mispredictions":
        costs |= {"accuracy": 1.0, "accuracy_decay": 1.0}
    elif cost == "batch-limits":
        n_tokens = int(requests.prompt_tokens.sum() + requests.output_tokens.sum())
        choices |= {"max_sequences": len(requests), "max_tokens": n_tokens, "max_context": n_tokens}
        choices |= {"block_tokens": 0}
    elif cost == "arrivals":
        requests = replace(requests, arrival_ns=np.zeros_like(requests.arrival_ns))
    elif cost == "imbalance" and placement is not None:
        # One accelerator that has the slots of all, and the speed of all, takes their mean time.
        # The kernel requires two, so there is a second one like it.
        for name in _TIMES["experts"]:
            costs[name] /= choices["expert"]
        choices |= {"expert": 2, "slots": 2 * choices["slots"]}
        copies, slots = placement
        placement = copies, np.tile(slots, (1, 2))
    ideal = replace(
        ready,
        costs=np.array([costs[name] for name in COSTS]),
        choices=np.array([int(choices[name]) for name in CHOICES], dtype=np.int64),
    )
    return ideal, requests, placement


def measure_without(
    cost: str, run: Run, model: MoeModel, node: NodePreset, serving: Serving, promise: Promise
) -> npt.NDArray[np.float64]:
    """Return metrics of a run that is `relieved` of a cost, whose work takes no energy either."""
    values = measure(run, model, node, serving, promise)
    spared = own_joules(cost, run, model, node, serving)
    values[_ENERGY] -= _MJ_PER_J * spared / float(run.output_tokens.sum())
    return values


def own_joules(cost: str, run: Run, model: MoeModel, node: NodePreset, serving: Serving) -> float:
    """Return energy of the work that a cost is [J]; those of all costs are a run's energy.

    What stands by while the work lasts belongs to the standing power.
    """
    c = run.counters
    size = run.plan.expert_bytes
    work = dict.fromkeys(("elapsed_ns", *_AMOUNTS), 0.0)
    n_gpus = 0
    if cost == "host-link":
        loaded = loaded_bytes(run, model, serving)
        work |= {"link_bytes": loaded, "host_bytes": loaded}
    elif cost == "drive":
        work["drive_bytes"] = c["n_ssd"] * size
    elif cost == "host-processor":
        work["host_bytes"] = c["n_cpu"] * size
    elif cost == "exchange" and node.network is not None:
        work["link_bytes"] = c["inter_busy_ns"] * serving.n_gpus * node.network.gb_per_s
    elif cost == "experts":
        work["memory_bytes"] = c["n_hits"] * size
        used = model.active_parameters - model.other_parameters
        work["flops"] = 2.0 * used * c["n_tokens"]
    elif cost == "attention":
        others = model.other_bytes(serving.attention_bits, serving.expert_bits) * serving.data
        kv = model.kv_bytes_per_token(serving.kv_bits)
        work["memory_bytes"] = c["n_steps"] * others + c["context_read"] * kv
        work["flops"] = 2.0 * model.other_parameters * c["n_tokens"]
    elif cost == "standing-power":
        work["elapsed_ns"] = c["elapsed_ns"]
        n_gpus = serving.n_gpus
    return joules(n_gpus=n_gpus, **work)
