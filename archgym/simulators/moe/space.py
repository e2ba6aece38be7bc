"""Design spaces of the MoE serving simulator, each a task with a server and a model of its own.

`edge-offload`: one consumer card, host memory and a drive, a model that does not fit.
`edge-offload-table`: a part of it that is small enough to be tabulated.
`single-server`: eight accelerators that share attention, experts or neither.
`expert-parallel`: several servers over a network, experts spread over all.
`closed-loop`: eight accelerators under clients that keep a number of requests in flight.
`three-tier`: a composition of whole models on three kinds of server.

A parameter is inactive where the model proves that it has no effect, such as the depth of a
prefetch that is off. `belady` and `sch` see the future and are in no space.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from archgym.errors import unknown_name
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
from archgym.spaces.design import Condition, Constraint
from archgym.spaces.expression import Expression, P
from archgym.spaces.parameter import Categorical, Integer, Ordinal, Parameter, PowerOfTwo
from archgym.spaces.space import DesignSpace

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


def _names(kind: type[Any], *left_out: Any) -> tuple[str, ...]:
    return tuple(_word(member) for member in kind if member not in left_out)


def _word(member: Any) -> str:
    return str(member.name).lower().replace("_", "-")


def _cache(levels: tuple[int, ...], default: int) -> Ordinal:
    return Ordinal(
        name="cache_percent",
        levels=levels,
        default=default,
        unit="%",
        doc="Share of all experts that the accelerator's memory has places for.",
    )


_SCOPE = Categorical(
    name="scope",
    choices=_names(Scope),
    default="layer",
    doc="Whether layers share all places, have equal parts, or parts by what a step asks of them.",
)
_ADMISSION = Categorical(
    name="admission",
    choices=_names(Admission),
    default="forced",
    doc="Whether an expert that was loaded must stay, or may be left out.",
)
_REPLACEMENT = Categorical(
    name="replacement",
    choices=_names(Replacement, Replacement.BELADY, Replacement.SCH),
    default="lru",
    doc="Which expert leaves.",
)
_PREFETCH = Categorical(
    name="prefetch",
    choices=_names(Prefetch),
    default="off",
    doc="What is loaded ahead: the next layer's, some layers' or the whole path's experts.",
)
_TARGET = Categorical(
    name="target",
    choices=_names(Target),
    default="staging",
    doc="Where a prefetched expert waits: in a buffer, or in another expert's place.",
)
_CPU_RULE = Categorical(
    name="cpu_rule",
    choices=_names(CpuRule),
    default="never",
    doc="Whether missing experts run on the host: never, where that is faster, or always.",
)
_SCHEDULER = Categorical(
    name="scheduler",
    choices=_names(Scheduler),
    default="decode-first",
    doc="Which tokens make up a step.",
)


def _staging(*levels: int) -> Ordinal:
    return Ordinal(
        name="staging_experts",
        levels=levels,
        default=levels[1],
        unit="experts",
        doc="Buffers for experts that stream through or wait for their layer.",
    )


def _sequences(low: int, high: int, default: int) -> PowerOfTwo:
    return PowerOfTwo(
        name="max_sequences",
        low=low,
        high=high,
        default=default,
        unit="requests",
        doc="Most requests that run at once.",
    )


def _tokens(low: int, high: int, default: int) -> PowerOfTwo:
    return PowerOfTwo(
        name="max_tokens",
        low=low,
        high=high,
        default=default,
        unit="tokens",
        doc="Most tokens of a step.",
    )


def _chunks(levels: tuple[int, ...], default: int) -> Ordinal:
    return Ordinal(
        name="chunk_tokens",
        levels=levels,
        default=default,
        unit="tokens",
        doc="Most tokens of one prompt in a step; 0 for whole prompts.",
    )


def _bits(name: str, levels: tuple[int, ...], default: int, doc: str) -> Ordinal:
    return Ordinal(name=name, levels=levels, default=default, unit="bits", doc=doc)


_EXPERT_BITS_DOC = "Bits of an expert's weight; below 4 results count as degraded."
_LOOKS_AHEAD = P("prefetch") != "off"
_IS_PARTIAL = P("cache_percent") < 100
_NEEDS_MISSES = (
    "scope", "admission", "replacement", "staging_experts",
    "prefetch", "cpu_rule", "low_bits", "host_gb",
)  # fmt: skip


def _edge_offload() -> DesignSpace:
    parameters: tuple[Parameter, ...] = (
        _cache((5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80, 90, 100), 10),
        _SCOPE,
        _ADMISSION,
        _REPLACEMENT,
        _staging(1, 2, 4, 8, 16, 32, 64),
        _PREFETCH,
        Integer(name="depth", low=1, high=8, default=2, unit="layers", doc="How far it looks."),
        Ordinal(
            name="width",
            levels=(0, 2, 4, 8, 16),
            default=0,
            unit="experts",
            doc="Most experts predicted for a layer; 0 for no limit.",
        ),
        _TARGET,
        Categorical(
            name="link_order",
            choices=_names(LinkOrder),
            default="priority",
            doc="Whether what is asked for overtakes what is loaded ahead.",
        ),
        Ordinal(
            name="chunk_kib",
            levels=(0, 256, 1024),
            default=0,
            unit="KiB",
            doc="What a prefetch transfers before it may be interrupted; 0 for a whole expert.",
        ),
        _bits("expert_bits", (2, 3, 4, 8, 16), 16, _EXPERT_BITS_DOC),
        _bits("low_bits", (0, 2, 4), 0, "Bits of an expert that is loaded on a miss; 0 for all."),
        _CPU_RULE,
        Ordinal(
            name="skip_in_64",
            levels=(0, 2, 4, 8),
            default=0,
            unit="1/64",
            doc="Layers whose experts are skipped, in 64ths; results count as degraded.",
        ),
        _SCHEDULER,
        _sequences(1, 16, 4),
        _tokens(4, 256, 64),
        _chunks((0, 16, 32, 64), 0),
        Ordinal(
            name="host_gb",
            levels=(16, 32, 64, 96, 128),
            default=128,
            unit="GB",
            doc="Host memory for experts; what it does not hold is on the drive.",
        ),
        Ordinal(
            name="rounds",
            levels=(1, 2, 4),
            default=1,
            unit="1/layer",
            doc="Rounds of experts in a layer, with a part of the top k each (Chain-of-Experts).",
        ),
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
    )  # fmt: skip


def _edge_offload_table() -> DesignSpace:
    parameters: tuple[Parameter, ...] = (
        _cache((5, 10, 20, 30, 40, 50, 60), 30),
        Categorical(name="scope", choices=("layer", "global"), default="layer", doc=_SCOPE.doc),
        Categorical(
            name="replacement",
            choices=("lru", "lfu", "fifo", "static", "predictor"),
            default="lru",
            doc=_REPLACEMENT.doc,
        ),
        _staging(2, 8, 32),
        Categorical(
            name="prefetch",
            choices=("off", "gate", "adaptive", "path"),
            default="off",
            doc=_PREFETCH.doc,
        ),
        _TARGET,
        Categorical(
            name="cpu_rule", choices=("never", "faster"), default="never", doc=_CPU_RULE.doc
        ),
        _bits("expert_bits", (3, 4, 8), 4, _EXPERT_BITS_DOC),
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
    parameters: tuple[Parameter, ...] = (
        PowerOfTwo(
            name="tensor",
            low=1,
            high=8,
            default=8,
            doc="Accelerators that share a layer's attention.",
        ),
        PowerOfTwo(
            name="data",
            low=1,
            high=8,
            default=1,
            doc="Groups of those, each with its own requests.",
        ),
        Categorical(
            name="spread",
            choices=("no", "yes"),
            default="no",
            doc="Whether whole experts are spread over accelerators; else each has slices of all.",
        ),
        Ordinal(
            name="redundant",
            levels=(0, 1, 2, 4),
            default=0,
            unit="experts/GPU",
            doc="Second copies of experts on each accelerator.",
        ),
        _cache((25, 50, 75, 100), 100),
        _REPLACEMENT,
        _staging(8, 16, 32, 64),
        Categorical(
            name="prefetch", choices=("off", "gate", "path"), default="off", doc=_PREFETCH.doc
        ),
        _bits("expert_bits", (4, 8, 16), 8, _EXPERT_BITS_DOC),
        _bits("kv_bits", (8, 16), 16, "Bits of a key or value."),
        _SCHEDULER,
        _sequences(4, 256, 32),
        _tokens(64, 8192, 512),
        _chunks((0, 64, 128, 256, 512), 256),
    )
    return DesignSpace(
        "single-server",
        parameters,
        constraints=(
            Constraint(
                "eight-accelerators",
                P("tensor") * P("data") <= 8,
                "the server has eight accelerators",
            ),
            Constraint(
                "data-needs-spread",
                (P("data") == 1) | (P("spread") == "yes"),
                "groups with requests of their own that share no experts are servers of their own",
            ),
            Constraint(
                "spread-needs-two",
                (P("spread") == "no") | (P("tensor") * P("data") > 1),
                "experts are spread over two accelerators at least",
            ),
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
    )  # fmt: skip


def _expert_parallel() -> DesignSpace:
    parameters: tuple[Parameter, ...] = (
        PowerOfTwo(
            name="servers", low=2, high=16, default=4, doc="Servers of eight accelerators each."
        ),
        PowerOfTwo(
            name="tensor",
            low=1,
            high=8,
            default=4,
            doc="Accelerators that share a layer's attention.",
        ),
        Ordinal(
            name="redundant",
            levels=(0, 1, 2, 4),
            default=0,
            unit="experts/GPU",
            doc="Second copies of experts on each accelerator.",
        ),
        Categorical(
            name="placement",
            choices=("in-order", "balanced", "balanced-by-server"),
            default="in-order",
            doc="How experts and copies are placed: as numbered, or by DeepSeek's balancer.",
        ),
        Categorical(
            name="paths",
            choices=("ecmp", "split", "spray"),
            default="ecmp",
            doc="How flows cross the network: by hash, on the emptiest path, or packet by packet.",
        ),
        PowerOfTwo(name="subflows", low=1, high=8, default=1, doc="Parts of a flow."),
        Integer(
            name="pipeline",
            low=0,
            high=16,
            default=1,
            unit="chunks",
            doc="Chunks in which a layer's tokens are exchanged; 0 for the best.",
        ),
        _bits("expert_bits", (4, 8), 8, _EXPERT_BITS_DOC),
        _bits("kv_bits", (8, 16), 16, "Bits of a key or value."),
        Categorical(
            name="scheduler",
            choices=("decode-first", "prefill-first", "fcfs"),
            default="decode-first",
            doc=_SCHEDULER.doc,
        ),
        _sequences(64, 1024, 256),
        _tokens(256, 16384, 2048),
        _chunks((0, 32, 128), 0),
    )
    return DesignSpace(
        "expert-parallel",
        parameters,
        conditions=_conditions({"subflows": P("paths") != "spray"}),
        doc="Servers over a network, with experts spread over all accelerators.",
    )  # fmt: skip


def _closed_loop() -> DesignSpace:
    parameters: tuple[Parameter, ...] = (
        PowerOfTwo(
            name="tensor", low=1, high=8, default=8, doc="GPUs that share a layer's attention."
        ),
        PowerOfTwo(
            name="data", low=1, high=8, default=1, doc="Groups of those, with requests each."
        ),
        Categorical(
            name="spread",
            choices=("no", "yes"),
            default="no",
            doc="Placement of experts: slices of all on each GPU, or whole experts spread.",
        ),
        _bits("expert_bits", (4, 8, 16), 8, _EXPERT_BITS_DOC),
        _bits("kv_bits", (8, 16), 16, "Bits of a key or value."),
        PowerOfTwo(
            name="clients",
            low=1,
            high=128,
            default=16,
            # Measured rows go to 1,024 clients; chosen: four times as many, by the same mechanisms.
            widest=4096,
            doc="Requests that are kept in flight.",
        ),
        Categorical(
            name="scheduler",
            choices=("decode-first", "prefill-first"),
            default="decode-first",
            doc="Order of work: prompts join decode steps, or run in steps of their own first.",
        ),
        _tokens(1024, 32768, 8192),
        _chunks((0, 512, 1024, 2048, 4096, 8192), 8192),
    )
    return DesignSpace(
        "closed-loop",
        parameters,
        constraints=(
            Constraint(
                "eight-accelerators",
                P("tensor") * P("data") <= 8,
                "the server has eight accelerators",
            ),
            Constraint(
                "spread-needs-two",
                (P("spread") == "no") | (P("tensor") * P("data") > 1),
                "experts are spread over two accelerators at least",
            ),
        ),
        doc="GPUs of one server under closed-loop clients, with an engine's measured constants.",
    )  # fmt: skip


def _three_tier() -> DesignSpace:
    parameters: tuple[Parameter, ...] = (
        Categorical(
            name="hardware",
            choices=("sn40l-node", "dgx-a100", "dgx-h100"),
            default="sn40l-node",
            doc="The server, of eight accelerators that share each model.",
        ),
        _cache((2, 4, 6, 10, 15, 20, 25, 30), 10),
        _ADMISSION,
        _REPLACEMENT,
        _staging(1, 2, 4),
        _bits("expert_bits", (4, 8, 16), 16, "Bits of a model's weight."),
        _CPU_RULE,
        _SCHEDULER,
        _sequences(1, 64, 16),
        _tokens(8, 4096, 256),
        _chunks((0, 64, 128), 0),
        Ordinal(
            name="host_gb",
            levels=(128, 256, 512, 1024, 2048),
            default=2048,
            unit="GB",
            doc="Memory of the middle tier; what it does not hold is on the drive.",
        ),
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


def design_space(name: str) -> DesignSpace:
    """Return the space with this name.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name not in _MAKERS:
        raise unknown_name("space", name, SPACE_NAMES)
    return _MAKERS[name]()
