"""From designs to ways of serving: what each parameter sets, and what spaces leave out."""

from collections.abc import Mapping
from typing import Any, Final

from archgym.simulators.moe.kernel.columns import (
    Admission,
    CpuRule,
    LinkOrder,
    Prefetch,
    Replacement,
    Scheduler,
    Scope,
    Target,
)
from archgym.simulators.moe.machine.serving import Serving

# Accuracy of predictors: ExpertFlow's path predictor is right for over 90 % in its domain, at all
# depths alike; gates of the layer before: chosen, from 80 to 90 % in several systems, and a tenth
# less for each further layer.
_PATH_ACCURACY, _GATE_ACCURACY, _GATE_DECAY = 0.90, 0.85, 0.90
_MEMBERS: Final[Mapping[str, type[Any]]] = {
    "scope": Scope,
    "admission": Admission,
    "replacement": Replacement,
    "prefetch": Prefetch,
    "target": Target,
    "link_order": LinkOrder,
    "scheduler": Scheduler,
    "cpu_rule": CpuRule,
}
_PLAIN: Final = (
    "staging_experts", "depth", "width", "chunk_kib", "expert_bits", "low_bits", "kv_bits",
    "skip_in_64", "max_sequences", "max_tokens", "chunk_tokens", "host_gb", "tensor", "data",
    "pipeline", "rounds", "clients",
)  # fmt: skip
# What a space leaves out.
_FIXED: Final[Mapping[str, Mapping[str, Any]]] = {
    "edge-offload": {"attention_bits": 8},
    "edge-offload-table": {
        "attention_bits": 8,
        "admission": Admission.FORCED,
        "scheduler": Scheduler.DECODE_FIRST,
        "max_tokens": 64,
        "chunk_tokens": 0,
        "depth": 8,
        "host_gb": 128,
    },
    "single-server": {"attention_bits": 16, "eight_bit_math": False},
    "expert-parallel": {"attention_bits": 8, "eight_bit_math": True, "spreads_experts": True},
    # vLLM's default of max_num_seqs on large GPUs, for each group; a step's tokens are too.
    "closed-loop": {"attention_bits": 8, "eight_bit_math": True, "max_sequences": 1024},
    "three-tier": {"attention_bits": 16, "tensor": 8, "scope": Scope.GLOBAL},
}


def _member(kind: type[Any], word: str) -> Any:
    return kind[word.upper().replace("-", "_")]


def serving_of(space: str, design: Mapping[str, Any], n_blocks: int, server_gpus: int) -> Serving:
    """Return the way of serving that a design of a space stands for.

    Args:
      space: Its name.
      design: Values by parameter.
      n_blocks: Experts of all layers.
      server_gpus: Accelerators of each of the design's servers.
    """
    parameters: dict[str, Any] = {"servers": 1, **_FIXED[space]}
    for name, value in design.items():
        if name in _MEMBERS:
            parameters[name] = _member(_MEMBERS[name], str(value))
        elif name in _PLAIN:
            parameters[name] = value
    if "cache_percent" in design:
        # A whole number of experts, so that 100 % is all of them.
        parameters["cache_experts"] = max(1, n_blocks * int(design["cache_percent"]) // 100)
    if "servers" in design:
        n_gpus = server_gpus * int(design["servers"])
        parameters["servers"] = int(design["servers"])
        parameters["data"] = n_gpus // int(design["tensor"])
        parameters["redundant"] = n_gpus * int(design["redundant"])
    elif design.get("spread") == "yes":
        parameters["spreads_experts"] = True
        copies = int(design.get("redundant", 0))
        parameters["redundant"] = int(design["tensor"] * design["data"]) * copies
        parameters["cache_experts"] = None
    if space == "closed-loop":
        for name in ("max_sequences", "max_tokens"):
            if name in parameters:
                parameters[name] *= int(design["data"])
    is_path = parameters.get("prefetch") == Prefetch.PATH
    parameters["accuracy"] = _PATH_ACCURACY if is_path else _GATE_ACCURACY
    parameters["accuracy_decay"] = 1.0 if is_path else _GATE_DECAY
    return Serving(**parameters)
