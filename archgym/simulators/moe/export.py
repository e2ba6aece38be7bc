"""Ways of serving as YAML, and as command lines of vLLM and llama.cpp.

Options are those of `vllm serve` 0.11 and later (docs.vllm.ai, `serving/expert_parallel_deployment`
and the engine arguments) and of `llama-server` (github.com/ggml-org/llama.cpp, `tools/server`).
Neither engine caches single experts or loads them ahead: `NOTES.md` lists the parameters that have
no option.
"""

import shlex
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, Final

from archgym.simulators.moe.columns import CpuRule, Prefetch, Scheduler
from archgym.simulators.moe.hardware import NodePreset
from archgym.simulators.moe.models import MoeModel
from archgym.simulators.moe.serving import Serving

__all__ = ["FORMATS", "LLAMA_CPP", "SERVING", "VLLM", "serving_files"]

SERVING: Final = "serving"
VLLM: Final = "vllm"
LLAMA_CPP: Final = "llama.cpp"
FORMATS: Final = {
    SERVING: "Serving configuration as YAML.",
    VLLM: "Command line of `vllm serve`, and notes on parameters without an option.",
    LLAMA_CPP: "Command line of `llama-server`, and notes on parameters without an option.",
}
# Types of llama.cpp's quantisation by bits of a weight.
_GGUF: Final = {16: "F16", 8: "Q8_0", 4: "Q4_K_M", 3: "Q3_K_M", 2: "Q2_K"}
_LLAMA_CACHE: Final = {16: "f16", 8: "q8_0", 4: "q4_0"}


def serving_files(
    form: str,
    serving: Serving,
    model: MoeModel,
    server: NodePreset,
    design: Mapping[str, Any],
    context_tokens: int,
) -> dict[str, str]:
    """Return a way of serving in a format.

    Args:
      form: One of `FORMATS`.
      serving: The way of serving.
      model: The model that is served.
      server: The server's hardware.
      design: Values by parameter of the space.
      context_tokens: Tokens of the longest request, prompt and output.
    """
    if form == SERVING:
        return {"serving.yaml": _yaml(serving, model, server)}
    command, stated = (
        _vllm(serving, model, context_tokens)
        if form == VLLM
        else _llama_cpp(serving, model, context_tokens)
    )
    lines = ["#!/bin/sh", f"# {model.name} on {server.name}; MODEL is a path or a name of a hub."]
    if form == LLAMA_CPP:
        lines[1] = f"# {model.name} on {server.name}; MODEL is a GGUF file."
        lines.append(f"# Quantisation of the experts: {_GGUF.get(int(serving.expert_bits), '?')}.")
    files = {"serve.sh": "\n".join([*lines, command]) + "\n"}
    notes = _notes(form, serving, design, stated)
    return {**files, "NOTES.md": notes} if notes else files


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


def _command(program: str, options: list[tuple[str, ...]]) -> str:
    parts = [program, *(shlex.join(option) for option in options)]
    return " \\\n  ".join(parts)


def _vllm(serving: Serving, model: MoeModel, context_tokens: int) -> tuple[str, set[str]]:
    """Return the command of vLLM, and the parameters that it states."""
    options: list[tuple[str, ...]] = [
        ("--tensor-parallel-size", str(serving.tensor)),
        ("--data-parallel-size", str(serving.data)),
        ("--max-num-seqs", str(serving.max_sequences)),
        ("--max-num-batched-tokens", str(serving.max_tokens)),
        ("--max-model-len", str(context_tokens)),
    ]
    stated = {"tensor", "data", "max_sequences", "max_tokens", "chunk_tokens", "spread", "kv_bits"}
    stated |= {"clients", "servers"}
    if serving.spreads_experts:
        options.append(("--enable-expert-parallel",))
        if serving.redundant:
            config = f'{{"num_redundant_experts": {serving.redundant}}}'
            options += [("--enable-eplb",), ("--eplb-config", config)]
        stated |= {"redundant", "placement"}
    if serving.chunk_tokens:
        options.append(("--enable-chunked-prefill",))
        options.append(("--long-prefill-token-threshold", str(serving.chunk_tokens)))
    else:
        options.append(("--no-enable-chunked-prefill",))
    if serving.kv_bits == 8:
        options.append(("--kv-cache-dtype", "fp8"))
    if serving.expert_bits == 16:
        options.append(("--dtype", "bfloat16"))
        stated.add("expert_bits")
    elif serving.expert_bits == 8:
        options.append(("--quantization", "fp8"))
        stated.add("expert_bits")
    if serving.scheduler == Scheduler.DECODE_FIRST:
        stated.add("scheduler")  # vLLM's own order
    return _command('vllm serve "$MODEL"', options), stated


def _llama_cpp(serving: Serving, model: MoeModel, context_tokens: int) -> tuple[str, set[str]]:
    """Return the command of llama.cpp, and the parameters that it states."""
    options: list[tuple[str, ...]] = [
        ("--n-gpu-layers", "999"),
        ("--parallel", str(serving.max_sequences)),
        ("--ctx-size", str(context_tokens * serving.max_sequences)),
        ("--batch-size", str(serving.max_tokens)),
        ("--ubatch-size", str(min(serving.max_tokens, serving.chunk_tokens or serving.max_tokens))),
    ]
    stated = {"max_sequences", "max_tokens", "chunk_tokens", "expert_bits", "kv_bits", "host_gb"}
    if serving.cache_experts is not None:
        # Whole layers of experts stay on the host, where they are computed.
        held = serving.cache_experts / (model.moe_layers * model.experts)
        on_host = model.moe_layers - int(held * model.moe_layers)
        if on_host:
            options.append(("--n-cpu-moe", str(on_host)))
        stated.add("cache_percent")
        if serving.cpu_rule != CpuRule.NEVER:
            stated.add("cpu_rule")
    if serving.kv_bits in _LLAMA_CACHE and serving.kv_bits != 16:
        kind = _LLAMA_CACHE[int(serving.kv_bits)]
        options += [("--cache-type-k", kind), ("--cache-type-v", kind)]
    if serving.n_gpus > 1:
        options.append(("--split-mode", "row"))
    return _command('llama-server --model "$MODEL"', options), stated


def _notes(form: str, serving: Serving, design: Mapping[str, Any], stated: set[str]) -> str:
    """Return the parameters of a design that the engine has no option for; empty if none."""
    neutral = {"low_bits": 0, "skip_in_64": 0, "rounds": 1, "redundant": 0, "prefetch": "off"}
    neutral |= {"cpu_rule": "never", "tensor": 1, "data": 1, "spread": "no", "cache_percent": 100}
    if serving.prefetch == Prefetch.OFF:
        neutral |= {name: design.get(name) for name in ("depth", "width", "target", "link_order")}
        neutral["chunk_kib"] = design.get("chunk_kib")
    if serving.cache_experts is None or design.get("cache_percent") == 100:
        held = ("scope", "admission", "replacement", "staging_experts")
        neutral |= {name: design.get(name) for name in held}
    left = {
        name: value
        for name, value in design.items()
        if name not in stated and neutral.get(name, object()) != value
    }
    if not left:
        return ""
    lines = [f"{form} has no option for these parameters of the design:", ""]
    lines += [f"- {name} = {value}" for name, value in left.items()]
    if form == LLAMA_CPP and "replacement" in left:
        lines += ["", "It keeps whole layers of experts in place instead of caching single ones."]
    return "\n".join(lines) + "\n"
