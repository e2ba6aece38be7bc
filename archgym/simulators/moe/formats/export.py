"""Ways of serving as YAML, and as command lines of vLLM, SGLang and llama.cpp.

Options are those of `vllm serve` 0.12 (docs.vllm.ai, `serving/expert_parallel_deployment`
and the engine arguments), of `sglang.launch_server` 0.5.3 (github.com/sgl-project/sglang,
`docs/advanced_features/server_arguments.md`, and how ranks are named in
`tp_dp_dp_attention_explainer.md`) and of `llama-server` (github.com/ggml-org/llama.cpp,
`tools/server`). No engine caches single experts or loads them ahead: `report.export` lists the
parameters that have no option. A design that the engine could not start is refused: experts of bits
that it has no format for, or weights that do not fit the memory.
"""

import math
import shlex
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, Final

import yaml

from archgym.simulators.kit import InvalidDesignError
from archgym.simulators.kit.exports import Tool, command_options, folder
from archgym.simulators.moe.machine.columns import CpuRule
from archgym.simulators.moe.machine.engines import BITS, precision_of
from archgym.simulators.moe.machine.hardware import NodePreset
from archgym.simulators.moe.machine.plan import RUNTIME_BYTES
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.models import MoeModel

SERVING: Final = "serving"
VLLM: Final = "vllm"
SGLANG: Final = "sglang"
LLAMA_CPP: Final = "llama.cpp"
FORMATS: Final = {
    SERVING: "Serving configuration as YAML.",
    VLLM: "Command line of `vllm serve`.",
    SGLANG: "Command line of `sglang.launch_server`.",
    LLAMA_CPP: "Command line of `llama-server`.",
}
TOOLS: Final = {
    VLLM: Tool(
        name="vLLM", release="0.12", get="pip install vllm==0.12.*", program="vllm",
        inside="bin/vllm",
    ),
    SGLANG: Tool(
        name="SGLang", release="0.5.3", get="pip install 'sglang[all]==0.5.3'",
        program="python3", inside="bin/python3", module="sglang",
    ),
    LLAMA_CPP: Tool(
        name="llama.cpp", release="b6700 and later",
        get="github.com/ggml-org/llama.cpp/releases, whose place is the folder llama.cpp.",
        program="llama-server", inside="build/bin/llama-server",
    ),
}  # fmt: skip
# Types of llama.cpp's quantisation by bits of a weight.
_GGUF: Final = {16: "F16", 8: "Q8_0", 4: "Q4_K_M", 3: "Q3_K_M", 2: "Q2_K"}
# Bits of a weight with its scales (github.com/ggml-org/llama.cpp, `tools/quantize/README.md`, table
# of Llama-3.1-8B; Q3_K_M, which it lacks, lies between Q3_K_S and Q3_K_L).
_GGUF_BITS: Final = {16: 16.0, 8: 8.5, 4: 4.89, 3: 4.0, 2: 3.16}
# Bits that vLLM and SGLang have kernels of experts for (`moe_wna16.py`, `fp8.py`, unquantised).
GPU_BITS: Final = {VLLM: (4, 8, 16), SGLANG: (4, 8, 16)}
# Checkpoints of 4-bit experts that both load, by the name of the format.
_CHECKPOINTS: Final = {
    "w4a16": "AWQ or GPTQ checkpoint of 4-bit experts",
    "nvfp4": "NVFP4 checkpoint",
    "mxfp4": "MXFP4 checkpoint",
}
# Presets whose checkpoints have layers that predict further tokens (`num_nextn_predict_layers` or
# `mtp_num_hidden_layers` of their `config.json`) and that both engines draft with.
_DRAFTING_MODELS: Final = frozenset(
    {
        "deepseek-v3", "deepseek-r1", "glm-4.5", "glm-4.5-air", "glm-5",
        "qwen3-next-80b-a3b", "qwen3.5-397b-a17b",
    }
)  # fmt: skip
_LLAMA_CACHE: Final = {16: "f16", 8: "q8_0", 4: "q4_0"}


def serving_files(
    form: str,
    serving: Serving,
    model: MoeModel,
    server: NodePreset,
    design: Mapping[str, Any],
    context_tokens: int,
) -> dict[str, str | bytes]:
    """Return a way of serving in a format.

    Args:
      form: One of `FORMATS`.
      serving: The way of serving.
      model: The model that is served.
      server: The server's hardware.
      design: Values by parameter of the space.
      context_tokens: Tokens of the longest request, prompt and output.

    Raises:
      InvalidDesignError: The engine cannot run the design on the server.
    """
    if form == SERVING:
        return {"serving.yaml": _yaml(serving, model, server)}
    command, notes = _COMMANDS[form](serving, model, server, context_tokens)
    if form in GPU_BITS:
        name = TOOLS[form].name
        _check_weights(form, serving, model, server, context_tokens)
        source = "a path or a name of a hub"
        if _nominal(serving.expert_bits) == min(GPU_BITS[form]):
            source = f"an {_CHECKPOINTS[_precision(serving, model, server)]}"
        about = [f"# {model.name} on {server.name}; MODEL is {source}."]
        if serving.cache_experts is not None and design.get("cache_percent", 100) != 100:
            notes.append(
                f"{name} keeps all experts on the GPUs, and the design a part of them. Its memory "
                "and times, and the limits that it meets, are not those of this command."
            )
    else:
        about = [
            f"# {model.name} on {server.name}; MODEL is a GGUF file.",
            f"# Quantisation of the experts: {_GGUF[int(serving.expert_bits)]}. "
            f"Other weights: {_GGUF[int(serving.attention_bits)]}.",
        ]
    about.append(
        f"# A request has room for {context_tokens} tokens, as the workload's longest; more take "
        "more memory."
    )
    if serving.n_gpus > server.n_gpus:
        notes.append(
            f"The design uses {serving.n_gpus} GPUs, and a server has {server.n_gpus}: start the "
            "engine on each server with its options for several nodes."
        )
    return folder(
        TOOLS[form],
        {},
        "\n".join(["cd - > /dev/null", *about, ': "${MODEL:?must name the model}"', command]),
        differences=notes,
        why_none="The engine serves until it is stopped; times are measured by its users' clients.",
    )


def serving_settings(
    form: str, serving: Serving, model: MoeModel, server: NodePreset, context_tokens: int
) -> dict[str, Any]:
    """Return what a way of serving says in a format; arguments are those of `serving_files`."""
    if form == SERVING:
        found: dict[str, Any] = yaml.safe_load(_yaml(serving, model, server))
        return found
    command, _ = _COMMANDS[form](serving, model, server, context_tokens)
    return {"--": {name: value for name, value, _ in command_options(command)}}


def _yaml(serving: Serving, model: MoeModel, server: NodePreset) -> str:
    lines = [f"model: {model.name}", f"hardware: {server.name}", "serving:"]
    for field in fields(serving):
        value = getattr(serving, field.name)
        if isinstance(value, Enum):
            text = value.name.lower().replace("_", "-")
            text = f'"{text}"' if text == "off" else text  # YAML 1.1 reads False
        elif value is None:
            text = "null"
        elif isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, str):
            text = f'"{value}"'
        elif isinstance(value, int | float):
            text = f"{value:g}" if isinstance(value, float) else str(value)
        else:
            continue  # a table of efficiencies, which the hardware names
        lines.append(f"  {field.name}: {text}")
    return "\n".join(lines) + "\n"


def _nominal(bits: float) -> int:
    """Return the bits of a weight without its scales, such as 4 of 4.25."""
    return int(bits) if bits < 5 else round(bits)


def _slots(serving: Serving) -> int:
    """Return the requests that are served at once: no more than a closed loop has."""
    return min(serving.max_sequences, serving.clients or serving.max_sequences)


def _of_group(count: int, serving: Serving) -> int:
    """Return the part of one of the `data` groups, since a design counts over all of them."""
    return -(-count // serving.data)


def _command(program: str, options: list[tuple[str, ...]]) -> str:
    parts = [program, *(shlex.join(option) for option in options)]
    return " \\\n  ".join(parts)


def _precision(serving: Serving, model: MoeModel, server: NodePreset) -> str:
    """Return the format of the experts' weights, a key of `BITS`."""
    return serving.precision or precision_of(serving.expert_bits, server.gpu, model)


def _check_weights(
    form: str, serving: Serving, model: MoeModel, server: NodePreset, context: int
) -> None:
    """Refuse a design that an engine which keeps all weights on GPUs cannot start on the server.

    Raises:
      InvalidDesignError: The engine has no format for the experts, or the weights do not fit.
    """
    bits, name = serving.expert_bits, TOOLS[form].name
    if _nominal(bits) not in GPU_BITS[form]:
        raise InvalidDesignError(
            f"{name} has experts of 4, 8 or 16 bits; the design has `expert_bits` = {bits:g}. "
            "Choose one of those, or export it as llama.cpp."
        )
    # `--dtype` and `--quantization fp8` hold for all layers, a checkpoint for its experts alone.
    is_whole = _nominal(bits) > min(GPU_BITS[form])
    other_bits = bits if is_whole else serving.attention_bits
    expert_bits = bits if is_whole else BITS[_precision(serving, model, server)]
    copies = 1 + (serving.redundant / model.experts if serving.spreads_experts else 0)
    experts = copies * model.all_experts_parameters * expert_bits / 8 / serving.n_gpus
    weights = experts + model.other_bytes(other_bits, expert_bits) / serving.tensor
    heads = model.kv_shares(serving.tensor)
    rest = RUNTIME_BYTES + context * model.kv_bytes_per_token(serving.kv_bits) / heads
    free = serving.memory_percent / 100 * server.gpu.memory_bytes - rest
    if weights <= free:
        return
    problem = (
        f"{name} cannot serve the design: {model.name} at {bits:g} bits has weights of "
        f"{weights / 1e9:.1f} GB per GPU, and {server.name} has room for {max(free, 0) / 1e9:.1f} "
        f"of {server.gpu.memory_gb:g} GB."
    )
    if serving.cache_experts is None:
        raise InvalidDesignError(
            f"{problem} Choose fewer bits or more GPUs, or export it as llama.cpp, which can keep "
            "layers of experts on the host."
        )
    raise InvalidDesignError(
        f"{problem} The design keeps experts on the host and caches some, which {name} cannot. "
        f"Its `--cpu-offload-gb {math.ceil((weights - free) / 1e9)}` would load the excess in each "
        "step, which is another design. Export it as llama.cpp, or choose fewer bits or more GPUs."
    )


def _vllm(
    serving: Serving, model: MoeModel, server: NodePreset, context_tokens: int
) -> tuple[str, list[str]]:
    """Return the command of vLLM, and notes."""
    notes = []
    # vLLM refuses fewer tokens than sequences, and without chunks fewer than the longest request.
    slots, given = (_of_group(count, serving) for count in (_slots(serving), serving.max_tokens))
    tokens = max(given, slots, 0 if serving.chunk_tokens else context_tokens)
    if tokens > given:
        notes.append(f"max_tokens = {given}: vLLM needs {tokens} or more to start.")
    options: list[tuple[str, ...]] = [
        ("--tensor-parallel-size", str(serving.tensor)),
        ("--data-parallel-size", str(serving.data)),
        ("--max-num-seqs", str(slots)),
        ("--max-num-batched-tokens", str(tokens)),
        ("--max-model-len", str(context_tokens)),
    ]
    if serving.spreads_experts:
        options.append(("--enable-expert-parallel",))
        if serving.redundant:
            config = f'{{"num_redundant_experts": {serving.redundant}}}'
            options += [("--enable-eplb",), ("--eplb-config", config)]
    if serving.chunk_tokens:
        options.append(("--enable-chunked-prefill",))
        options.append(("--long-prefill-token-threshold", str(serving.chunk_tokens)))
    else:
        options.append(("--no-enable-chunked-prefill",))
    if serving.kv_bits == 8:
        options.append(("--kv-cache-dtype", "fp8"))
    if serving.expert_bits == 16:
        options.append(("--dtype", "bfloat16"))
    elif serving.expert_bits == 8:
        options.append(("--quantization", "fp8"))
    if serving.draft_tokens:
        _add_drafts(serving, model, options, notes)
    return _command('"$tool" serve "$MODEL"', options), notes


def _sglang(
    serving: Serving, model: MoeModel, server: NodePreset, context_tokens: int
) -> tuple[str, list[str]]:
    """Return the command of SGLang, and notes."""
    notes = []
    # Where experts are spread, ranks of tensors are all GPUs, and `data` groups of them attend and
    # share what the server is given. Replicas each take it whole.
    is_spread = serving.spreads_experts
    ranks = serving.tensor * serving.data if is_spread else serving.tensor
    slots, tokens = (
        count if is_spread else _of_group(count, serving)
        for count in (_slots(serving), serving.max_tokens)
    )
    options: list[tuple[str, ...]] = [
        ("--tensor-parallel-size", str(ranks)),
        ("--data-parallel-size", str(serving.data)),
        ("--max-running-requests", str(slots)),
        ("--context-length", str(context_tokens)),
        ("--chunked-prefill-size", str(tokens if serving.chunk_tokens else -1)),
        ("--mem-fraction-static", f"{serving.memory_percent / 100:g}"),
    ]
    if is_spread:
        options.append(("--expert-parallel-size", str(ranks)))
        if serving.data > 1:
            options.append(("--enable-dp-attention",))
        if serving.redundant:
            options += [("--enable-eplb",), ("--ep-num-redundant-experts", str(serving.redundant))]
    if 0 < serving.chunk_tokens < tokens:
        notes.append(
            f"chunk_tokens = {serving.chunk_tokens}: SGLang has no bound on the part of one prompt "
            f"in a step, but on all prompts, {tokens} tokens."
        )
    if serving.kv_bits == 8:
        options.append(("--kv-cache-dtype", "fp8_e4m3"))
    if serving.expert_bits == 16:
        options.append(("--dtype", "bfloat16"))
    elif serving.expert_bits == 8:
        options.append(("--quantization", "fp8"))
    if not serving.graphs:
        options.append(("--disable-cuda-graph",))
    if serving.draft_tokens and model.name in _DRAFTING_MODELS:
        steps, drafts = str(serving.draft_tokens), str(serving.draft_tokens + 1)
        options += [
            ("--speculative-algorithm", "EAGLE"),
            ("--speculative-num-steps", steps),
            ("--speculative-eagle-topk", "1"),
            ("--speculative-num-draft-tokens", drafts),
        ]
        notes.append(_own_drafts(serving, "SGLang"))
    elif serving.draft_tokens:
        notes.append(
            f"draft_tokens = {serving.draft_tokens}: {model.name} is not known to draft by itself, "
            "and the command decodes without drafts. Add `--speculative-algorithm STANDALONE "
            "--speculative-draft-model-path DRAFT` with a smaller model as DRAFT."
        )
    return _command('"$tool" -m sglang.launch_server --model-path "$MODEL"', options), notes


def _own_drafts(serving: Serving, engine: str) -> str:
    return (
        f"draft_tokens = {serving.draft_tokens}: the design drafts without cost and accepts a "
        f"draft with a probability of {serving.acceptance:g}; in {engine} drafting takes time, and "
        "the text decides what is accepted."
    )


def _add_drafts(
    serving: Serving, model: MoeModel, options: list[tuple[str, ...]], notes: list[str]
) -> None:
    """Add vLLM's option of speculative decoding, or a note where it needs another model.

    Source:
      docs.vllm.ai, `features/speculative_decoding/mtp` and `.../draft_model`; "mtp" is the method
      of all models with such layers from vLLM 0.11 on (`vllm.config.speculative`).
    """
    n_drafts = serving.draft_tokens
    if model.name in _DRAFTING_MODELS:
        config = f'{{"method": "mtp", "num_speculative_tokens": {n_drafts}}}'
        options.append(("--speculative-config", config))
        notes.append(_own_drafts(serving, "vLLM"))
        return
    config = f'{{"method": "draft_model", "model": "DRAFT", "num_speculative_tokens": {n_drafts}}}'
    notes.append(
        f"draft_tokens = {n_drafts}: {model.name} is not known to draft by itself, and the command "
        f"decodes without drafts. Add `--speculative-config '{config}'` with a smaller model as "
        "DRAFT."
    )


def _llama_cpp(
    serving: Serving, model: MoeModel, server: NodePreset, context_tokens: int
) -> tuple[str, list[str]]:
    """Return the command of llama.cpp, and notes.

    Raises:
      InvalidDesignError: The weights do not fit even with all experts on the host.
    """
    options: list[tuple[str, ...]] = [
        ("--n-gpu-layers", "999"),
        ("--parallel", str(_slots(serving))),
        ("--ctx-size", str(context_tokens * _slots(serving))),
        ("--batch-size", str(serving.max_tokens)),
        ("--ubatch-size", str(min(serving.max_tokens, serving.chunk_tokens or serving.max_tokens))),
    ]
    on_host, notes = _layers_on_host(serving, model, server, context_tokens)
    if on_host:
        options.append(("--n-cpu-moe", str(on_host)))
    if serving.cache_experts is not None and serving.cpu_rule == CpuRule.NEVER and on_host:
        notes.append(
            "cpu_rule = never: llama.cpp computes the experts of these layers on the host, which "
            "it keeps in place whole; the design loads single ones over the link. Times differ."
        )
    if serving.kv_bits in _LLAMA_CACHE and serving.kv_bits != 16:
        kind = _LLAMA_CACHE[int(serving.kv_bits)]
        options += [("--cache-type-k", kind), ("--cache-type-v", kind)]
    if serving.n_gpus > 1:
        options.append(("--split-mode", "row"))
    if serving.draft_tokens:
        notes.append(
            f"draft_tokens = {serving.draft_tokens}: llama.cpp drafts with a smaller model, and "
            "the command decodes without drafts. Add `--model-draft FILE --draft-max "
            f"{serving.draft_tokens}`."
        )
    return _command('"$tool" --model "$MODEL"', options), notes


def _layers_on_host(
    serving: Serving, model: MoeModel, server: NodePreset, context_tokens: int
) -> tuple[int, list[str]]:
    """Return how many layers keep their experts on the host, and notes.

    Whole layers of experts stay on the host, where they are computed. They are those that the
    design's cache does not hold, and more where GGUF's weights would not fit the GPUs.

    Raises:
      InvalidDesignError: The weights do not fit even with all experts on the host.
    """
    layers = model.moe_layers
    held = 1.0
    if serving.cache_experts is not None:
        held = serving.cache_experts / (layers * model.experts)
    wanted = layers - int(held * layers)
    expert_bits = _GGUF_BITS[int(serving.expert_bits)]
    layer_bytes = model.experts * model.expert_bytes(expert_bits)
    others = model.other_bytes(_GGUF_BITS[int(serving.attention_bits)], expert_bits)
    cached = context_tokens * _slots(serving) * model.kv_bytes_per_token(serving.kv_bits)
    room = serving.memory_percent / 100 * server.gpu.memory_bytes - RUNTIME_BYTES
    room *= serving.n_gpus
    if others + cached > room:
        raise InvalidDesignError(
            f"llama.cpp cannot serve the design: without experts, {model.name} needs "
            f"{(others + cached) / 1e9:.1f} GB for weights, keys and values, and {server.name} has "
            f"room for {max(room, 0) / 1e9:.1f} GB. Choose fewer `max_sequences` or more GPUs."
        )
    on_host = max(wanted, layers - int((room - others - cached) // layer_bytes))
    notes = []
    if on_host > wanted:
        notes.append(
            f"{on_host} layers of experts stay on the host, and {wanted} in the design: a weight "
            f"has {expert_bits:g} bits in GGUF, and all keys and values are kept from the start."
        )
    if on_host * layer_bytes > server.host.memory_gb * 1e9:
        notes.append(
            f"Experts on the host have {on_host * layer_bytes / 1e9:.1f} GB and its memory "
            f"{server.host.memory_gb:g} GB: the rest is read from the drive."
        )
    return on_host, notes


_COMMANDS: Final = {VLLM: _vllm, SGLANG: _sglang, LLAMA_CPP: _llama_cpp}
