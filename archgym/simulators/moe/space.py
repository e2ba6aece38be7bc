"""Design spaces of the MoE serving simulator, each a task with a server and a model of its own.

`edge-offload`: one consumer card, host memory and a drive, a model that does not fit.
`edge-offload-table`: a part of it that is small enough to be tabulated.
`single-server`: eight accelerators that share attention, experts or neither.
`expert-parallel`: several servers over a network, experts spread over all.
`closed-loop`: eight accelerators under clients that keep a number of requests in flight.
`three-tier`: a composition of whole models on three kinds of server.

A parameter is inactive where the model proves that it has no effect, such as the depth of a
prefetch that is off.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from archgym.simulators.kit import (
    Categorical,
    Condition,
    Constraint,
    DesignSpace,
    Expression,
    Integer,
    Ordinal,
    P,
    Parameter,
    PowerOfTwo,
    unknown_name,
)
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
from archgym.simulators.moe.machine.serving import Serving

SPACE_NAMES: Final = (
    "edge-offload",
    "edge-offload-table",
    "single-server",
    "expert-parallel",
    "closed-loop",
    "three-tier",
)
HARDWARE: Final[Mapping[str, str]] = {
    "edge-offload": "rtx-4090",
    "edge-offload-table": "rtx-4090",
    "single-server": "dgx-h100",
    "expert-parallel": "hgx-h800",
    "closed-loop": "hgx-h200",
    "three-tier": "sn40l-node",
}
"""The server of each space; in `three-tier` the design chooses it."""

# Sub-systems, for one agent each.
GROUPS: Final = {
    "cache": ("cache_percent", "scope", "admission", "replacement", "staging_experts"),
    "prefetch": ("prefetch", "depth", "width", "target", "link_order", "chunk_kib"),
    "execution": ("expert_bits", "low_bits", "kv_bits", "cpu_rule", "skip_in_64", "rounds"),
    "scheduling": ("scheduler", "clients", "max_sequences", "max_tokens", "chunk_tokens"),
    "memory": ("hardware", "host_gb"),
    "parallelism": ("tensor", "data", "servers", "spread", "redundant", "placement"),
    "exchange": ("paths", "subflows", "pipeline"),
}


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(str(member.name).lower().replace("_", "-") for member in kind)


def _power(name: str, low: int, high: int, default: int, doc: str, unit: str = "") -> PowerOfTwo:
    return PowerOfTwo(name, low, high, default=default, unit=unit, doc=doc)


def _levels(name: str, levels: tuple[int, ...], default: int, unit: str, doc: str) -> Ordinal:
    return Ordinal(name, levels, default=default, unit=unit, doc=doc)


def _choice(name: str, choices: tuple[str, ...], doc: str) -> Categorical:
    """Return a parameter whose first choice is the default."""
    return Categorical(name, choices, default=choices[0], doc=doc)


def _cache(levels: tuple[int, ...], default: int) -> Ordinal:
    doc = "Share of all experts that the accelerator's memory has places for."
    return _levels("cache_percent", levels, default, "%", doc)


_SCOPE_DOC = (
    "Whether layers share all places, have equal parts, or parts by what a step asks of them."
)
_SCOPE = Categorical("scope", _names(Scope), default="layer", doc=_SCOPE_DOC)
_ADMISSION = _choice(
    "admission",
    _names(Admission),
    "Whether an expert that was loaded must stay, or may be left out.",
)
_REPLACEMENT = _choice("replacement", _names(Replacement), "Which expert leaves.")
_PREFETCH_DOC = "What is loaded ahead: the next layer's, some layers' or the whole path's experts."
_TARGET = _choice(
    "target",
    _names(Target),
    "Where a prefetched expert waits: in a buffer, or in another expert's place.",
)
_CPU_RULE = _choice(
    "cpu_rule",
    _names(CpuRule),
    "Whether missing experts run on the host: never, where that is faster, or always.",
)
_SCHEDULER = _choice("scheduler", _names(Scheduler), "Which tokens make up a step.")
_KV_BITS = _levels("kv_bits", (8, 16), 16, "bits", "Bits of a key or value.")
_TENSOR_DOC = "Accelerators that share a layer's attention."
_REDUNDANT = _levels(
    "redundant",
    (0, 1, 2, 4),
    0,
    "experts/GPU",
    "Second copies of experts on each accelerator.",
)


def _staging(*levels: int) -> Ordinal:
    doc = "Buffers for experts that stream through or wait for their layer."
    return _levels("staging_experts", levels, levels[1], "experts", doc)


def _sequences(low: int, high: int, default: int) -> PowerOfTwo:
    doc = "Most requests that run at once."
    return _power("max_sequences", low, high, default, doc, "requests")


def _tokens(low: int, high: int, default: int) -> PowerOfTwo:
    return _power("max_tokens", low, high, default, "Most tokens of a step.", "tokens")


def _chunks(levels: tuple[int, ...], default: int) -> Ordinal:
    doc = "Most tokens of one prompt in a step; 0 for whole prompts that fit one."
    return _levels("chunk_tokens", levels, default, "tokens", doc)


def _expert_bits(
    levels: tuple[int, ...],
    default: int,
    doc: str = "Bits of an expert's weight; below 4 results count as degraded.",
) -> Ordinal:
    return _levels("expert_bits", levels, default, "bits", doc)


_LOOKS_AHEAD = P("prefetch") != "off"
_IS_PARTIAL = P("cache_percent") < 100
_NEEDS_MISSES = (
    "scope", "admission", "replacement", "staging_experts",
    "prefetch", "cpu_rule", "low_bits", "host_gb",
)  # fmt: skip
GPUS_OF_A_SERVER: Final = 8
"""Accelerators of a server, but for users' own of more."""
_IN_A_SERVER: Final = ("tensor", "data")
_EIGHT_ACCELERATORS = Constraint(
    "eight-accelerators",
    P("tensor") * P("data") <= GPUS_OF_A_SERVER,
    "the server has eight accelerators",
)
_SPREAD_NEEDS_TWO = Constraint(
    "spread-needs-two",
    (P("spread") == "no") | (P("tensor") * P("data") > 1),
    "experts are spread over two accelerators at least",
)


def _edge_offload() -> DesignSpace:
    skipped = "Layers whose experts are skipped, in 64ths; results count as degraded."
    rounds = "Rounds of experts in a layer, with a part of the top k each (Chain-of-Experts)."
    order = "Whether what is asked for overtakes what is loaded ahead."
    chunk = "What a prefetch transfers before it may be interrupted; 0 for a whole expert."
    width = "Most experts predicted for a layer; 0 for no limit."
    host = "Host memory for experts; what it does not hold is on the drive."
    low = "Bits of an expert that is loaded on a miss; 0 for all."
    parameters: tuple[Parameter, ...] = (
        _cache((5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100), 10),
        _SCOPE,
        _ADMISSION,
        _REPLACEMENT,
        _staging(1, 2, 4, 8, 16, 32, 64),
        _choice("prefetch", _names(Prefetch), _PREFETCH_DOC),
        Integer("depth", 1, 8, default=2, unit="layers", doc="How far it looks."),
        _levels("width", (0, 2, 4, 8, 16), 0, "experts", width),
        _TARGET,
        _choice("link_order", _names(LinkOrder), order),
        _levels("chunk_kib", (0, 256, 1024), 0, "KiB", chunk),
        _expert_bits((2, 3, 4, 8, 16), 16),
        _levels("low_bits", (0, 2, 4), 0, "bits", low),
        _CPU_RULE,
        _levels("skip_in_64", (0, 2, 4, 8), 0, "1/64", skipped),
        _SCHEDULER,
        _sequences(1, 16, 4),
        _tokens(4, 256, 64),
        _chunks((0, 16, 32, 64), 0),
        _levels("host_gb", (16, 32, 64, 96, 128), 128, "GB", host),
        _levels("rounds", (1, 2, 4), 1, "1/layer", rounds),
    )
    return DesignSpace(
        "edge-offload",
        parameters,
        constraints=(
            Constraint(
                "low-below-full",
                (P("low_bits") == 0) | (P("low_bits") < P("expert_bits")),
                "experts that are loaded on a miss must have fewer bits than the others",
            ),
        ),
        conditions=_conditions(
            {
                **dict.fromkeys(_NEEDS_MISSES, _IS_PARTIAL),
                "depth": P("prefetch").is_in("depth", "adaptive"),
                "width": _LOOKS_AHEAD,
                "target": _LOOKS_AHEAD,
                "link_order": _LOOKS_AHEAD,
                "chunk_kib": _LOOKS_AHEAD & (P("link_order") == "priority"),
            }
        ),
        doc="One consumer card, host memory and a drive, and a model that does not fit.",
    )


def _edge_offload_table() -> DesignSpace:
    rules = ("lru", "lfu", "fifo", "static", "predictor")
    parameters: tuple[Parameter, ...] = (
        _cache((5, 10, 20, 30, 40, 50, 60), 30),
        _choice("scope", ("layer", "global"), _SCOPE_DOC),
        _choice("replacement", rules, _REPLACEMENT.doc),
        _staging(2, 8, 32),
        _choice("prefetch", ("off", "gate", "adaptive", "path"), _PREFETCH_DOC),
        _TARGET,
        _choice("cpu_rule", ("never", "faster"), _CPU_RULE.doc),
        _expert_bits((3, 4, 8), 4),
        _sequences(1, 4, 2),
    )
    return DesignSpace(
        "edge-offload-table",
        parameters,
        conditions=_conditions({"target": _LOOKS_AHEAD}),
        doc="The parameters of edge-offload that matter most, few enough to try all.",
    )


def _single_server() -> DesignSpace:
    is_sliced = P("spread") == "no"
    may_miss = is_sliced & _IS_PARTIAL
    spread = "Whether whole experts are spread over accelerators; else each has slices of all."
    parameters: tuple[Parameter, ...] = (
        _power("tensor", 1, 8, 8, _TENSOR_DOC),
        _power("data", 1, 8, 1, "Groups of those, each with its own requests."),
        _choice("spread", ("no", "yes"), spread),
        _REDUNDANT,
        _cache((25, 50, 75, 100), 100),
        _REPLACEMENT,
        _staging(8, 16, 32, 64),
        _choice("prefetch", ("off", "gate", "path"), _PREFETCH_DOC),
        _expert_bits((4, 8, 16), 8),
        _KV_BITS,
        _SCHEDULER,
        _sequences(4, 256, 32),
        _tokens(64, 8192, 512),
        _chunks((0, 64, 128, 256, 512), 256),
    )
    return DesignSpace(
        "single-server",
        parameters,
        constraints=(
            _EIGHT_ACCELERATORS,
            Constraint(
                "data-needs-spread",
                (P("data") == 1) | (P("spread") == "yes"),
                "groups with requests of their own that share no experts are servers of their own",
            ),
            _SPREAD_NEEDS_TWO,
        ),
        conditions=_conditions(
            {
                "redundant": P("spread") == "yes",
                "cache_percent": is_sliced,
                "replacement": may_miss,
                "staging_experts": may_miss,
                "prefetch": may_miss,
            }
        ),
        doc="A server of eight accelerators: what they share, how requests are batched.",
    )


def _expert_parallel() -> DesignSpace:
    placement = "How experts and copies are placed: as numbered, or by DeepSeek's balancer."
    paths = "How flows cross the network: by hash, on the emptiest path, or packet by packet."
    pipeline = "Chunks in which a layer's tokens are exchanged; 0 for the best."
    parameters: tuple[Parameter, ...] = (
        _power("servers", 2, 16, 4, "Servers of eight accelerators each."),
        _power("tensor", 1, 8, 4, _TENSOR_DOC),
        _REDUNDANT,
        _choice("placement", ("in-order", "balanced", "balanced-by-server"), placement),
        _choice("paths", ("ecmp", "split", "spray"), paths),
        _power("subflows", 1, 8, 1, "Parts of a flow."),
        Integer("pipeline", 0, 16, default=1, unit="chunks", doc=pipeline),
        _expert_bits((4, 8), 8),
        _KV_BITS,
        _choice("scheduler", ("decode-first", "prefill-first", "fcfs"), _SCHEDULER.doc),
        _sequences(64, 1024, 256),
        _tokens(256, 16384, 2048),
        _chunks((0, 32, 128), 0),
    )
    return DesignSpace(
        "expert-parallel",
        parameters,
        conditions=_conditions({"subflows": P("paths") != "spray"}),
        doc="Servers over a network, with experts spread over all accelerators.",
    )


def _closed_loop() -> DesignSpace:
    spread = "Placement of experts: slices of all on each GPU, or whole experts spread."
    order = "Order of work: prompts join decode steps, or run in steps of their own first."
    parameters: tuple[Parameter, ...] = (
        _power("tensor", 1, 8, 8, "GPUs that share a layer's attention."),
        _power("data", 1, 8, 1, "Groups of those, with requests each."),
        _choice("spread", ("no", "yes"), spread),
        _expert_bits((4, 8, 16), 8),
        _KV_BITS,
        # Measured rows go to 1,024 clients; chosen: four times as many, by the same mechanisms.
        PowerOfTwo(
            "clients", 1, 128, default=16, widest=4096, doc="Requests that are kept in flight."
        ),
        _choice("scheduler", ("decode-first", "prefill-first"), order),
        _tokens(1024, 32768, 8192),
        _chunks((0, 512, 1024, 2048, 4096, 8192), 8192),
    )
    return DesignSpace(
        "closed-loop",
        parameters,
        constraints=(_EIGHT_ACCELERATORS, _SPREAD_NEEDS_TWO),
        doc="GPUs of one server under closed-loop clients, with an engine's measured constants.",
    )


def _three_tier() -> DesignSpace:
    hardware = "The server, of eight accelerators that share each model."
    host = "Memory of the middle tier; what it does not hold is on the drive."
    parameters: tuple[Parameter, ...] = (
        _choice("hardware", ("sn40l-node", "dgx-a100", "dgx-h100"), hardware),
        _cache((2, 4, 6, 10, 15, 20, 25, 30), 10),
        _ADMISSION,
        _REPLACEMENT,
        _staging(1, 2, 4),
        _expert_bits((4, 8, 16), 16, "Bits of a model's weight."),
        _CPU_RULE,
        _SCHEDULER,
        _sequences(1, 64, 16),
        _tokens(8, 4096, 256),
        _chunks((0, 64, 128), 0),
        _levels("host_gb", (128, 256, 512, 1024, 2048), 2048, "GB", host),
    )
    return DesignSpace(
        "three-tier",
        parameters,
        doc="A composition of 150 whole models: fast memory, large memory, drive.",
    )


def _conditions(by_name: Mapping[str, Expression]) -> tuple[Condition, ...]:
    return tuple(Condition(name, when) for name, when in by_name.items())


_MAKERS: Final[Mapping[str, Callable[[], DesignSpace]]] = {
    "edge-offload": _edge_offload,
    "edge-offload-table": _edge_offload_table,
    "single-server": _single_server,
    "expert-parallel": _expert_parallel,
    "closed-loop": _closed_loop,
    "three-tier": _three_tier,
}


def with_highest(space: DesignSpace, values: Mapping[str, int]) -> DesignSpace:
    """Return a space with lower upper ends of some powers of two."""
    parameters: list[Any] = []
    for parameter in space.parameters:
        if isinstance(parameter, PowerOfTwo) and parameter.name in values:
            high = min(parameter.high, values[parameter.name])
            default = min(cast(int, parameter.default), high)
            parameters.append(replace(parameter, high=high, default=default))
        else:
            parameters.append(parameter)
    return DesignSpace(
        space.name,
        tuple(parameters),
        constraints=space.constraints,
        conditions=space.conditions,
        doc=space.doc,
    )


def with_gpus(space: DesignSpace, n_gpus: int) -> DesignSpace:
    """Return a space for servers of more than eight accelerators.

    Groups are powers of two, so that they share heads and experts evenly.
    """
    if n_gpus <= GPUS_OF_A_SERVER or "tensor" not in space.names:
        return space
    high = 1 << (n_gpus.bit_length() - 1)
    known: list[Any] = list(space.parameters)
    parameters = [replace(p, doc=p.doc.replace("eight", str(high))) for p in known]
    reason = f"the server has {n_gpus} accelerators"
    whole = Constraint("whole-server", P("tensor") * P("data") <= n_gpus, reason)
    return DesignSpace(
        space.name,
        [
            replace(p, high=high) if isinstance(p, PowerOfTwo) and p.name in _IN_A_SERVER else p
            for p in parameters
        ],
        constraints=[whole if c is _EIGHT_ACCELERATORS else c for c in space.constraints],
        conditions=space.conditions,
        doc=space.doc.replace("eight", str(n_gpus)),
    )


def design_space(name: str) -> DesignSpace:
    """Return the space with this name.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name not in _MAKERS:
        raise unknown_name("space", name, SPACE_NAMES)
    return _MAKERS[name]()


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


def machine_of(space: str, design: Mapping[str, Any], n_blocks: int, server_gpus: int) -> Serving:
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
            parameters[name] = _MEMBERS[name][str(value).upper().replace("-", "_")]
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
