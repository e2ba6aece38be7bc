"""Rows V8, V12 and V18: accelerators that hold all experts, and compositions of models."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.simulators.cluster.kernel.fabric import contention
from archgym.simulators.moe.machine.columns import COSTS
from archgym.simulators.moe.machine.composition import composition_plan
from archgym.simulators.moe.machine.eplb import place
from archgym.simulators.moe.machine.hardware import NodePreset, node
from archgym.simulators.moe.machine.plan import Plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.composition import LLAMA_2_7B_PARAMETERS, llama_composition
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.routing import popularity
from evidence.moe.row import Progress, Row, read_json, reading
from evidence.moe.runs import (
    at_once,
    relative_row,
    routed,
    serve_at_once,
    with_memory,
)

_NS_PER_MS: Final = 1e6
_LAUNCH: Final = ("time of a kernel's launch", "share of the peak of dense products")


def estimate_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V8: AIConfigurator's estimates of Qwen3-30B-A3B on H100; one batch at once."""
    path = reference / "aiconfigurator" / "h100_qwen3_30b.json"
    served = model("qwen3-30b-a3b")
    # The estimate of the largest batch asks for more memory than there is.
    server = with_memory(node("h100"), 200.0)
    rows = []
    with reading(path):
        cases = [_case(entry) for entry in read_json(path)]
    # Documents as long as the requests, or a prompt would ask for few experts again and again.
    routing = routed(served, 8, 1280)
    for n, prompt, output, ttft, tpot in cases:
        progress(f"V8: {n} requests at once")
        serving = Serving(
            max_sequences=n, max_tokens=n * prompt, chunk_tokens=0, layer_software_ns=0.0
        )
        result = serve_at_once(served, server, serving, at_once(n, prompt, output), routing)
        for name, wanted, came, tolerance in (
            ("TTFT", ttft, result.ttft_ns.mean() / _NS_PER_MS, 30.0),
            ("TPOT", tpot, result.tpot_ns.mean() / _NS_PER_MS, 20.0),
        ):
            what = f"{name}, Qwen3-30B on H100, batch {n}"
            rows.append(relative_row("V8", what, wanted, float(came), "ms", tolerance, _LAUNCH))
    return rows


def _case(entry: Any) -> tuple[int, int, int, float, float]:
    n, prompt, output = (int(entry[key]) for key in ("bs", "isl", "osl"))
    if not (1 <= n <= 1024 and 1 <= prompt <= 8192 and 1 <= output <= 4096):
        raise ValueError(f"a batch of {n} with {prompt} and {output} tokens")
    return n, prompt, output, float(entry["ttft_ms"]), float(entry["tpot_ms"])


def composition_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V12: model switches and capacities of SN40L against GPU nodes."""
    progress("V12: model switches")
    del reference
    switch = {
        name: _switch_ms(server)
        for name, server in (
            ("dgx-a100", _shared_link("dgx-a100", 32.0)),
            ("dgx-h100", _shared_link("dgx-h100", 64.0)),
            ("sn40l-node", node("sn40l-node")),
        )
    }
    model_gb = 2.0 * LLAMA_2_7B_PARAMETERS / 1e9
    held = float(math.floor(640.0 / model_gb))
    return [
        relative_row("V12", "switch of Llama 2 7B, DGX A100", 421.0, switch["dgx-a100"], "ms", 5.0),
        relative_row("V12", "switch of Llama 2 7B, DGX H100", 211.0, switch["dgx-h100"], "ms", 5.0),
        relative_row("V12", "switch of Llama 2 7B, SN40L", 13.75, switch["sn40l-node"], "ms", 5.0),
        relative_row(
            "V12",
            "switch, DGX A100 over SN40L",
            31.0, switch["dgx-a100"] / switch["sn40l-node"], "x", 5.0,
        ),
        relative_row(
            "V12",
            "switch, DGX H100 over SN40L",
            15.5, switch["dgx-h100"] / switch["sn40l-node"], "x", 5.0,
        ),
        relative_row("V12", "models in a DGX's 640 GB", 47.0, held, "models", 5.0),
        relative_row("V12", "DGX nodes for 850 models", 19.0, math.ceil(850 / held), "nodes", 5.0),
    ]  # fmt: skip


def _shared_link(name: str, gb_per_s: float) -> NodePreset:
    """Return a server of eight whose accelerators share one link from the host, as in the paper."""
    server = node(name)
    link = replace(server.host_to_gpu, gb_per_s=gb_per_s / server.n_gpus)
    return replace(server, host_to_gpu=link)


def _switch_ms(server: NodePreset) -> float:
    """Return the kernel's time for a model's transfer [ms]."""
    serving = Serving(tensor=8, cache_experts=8)
    ready = composition_plan(llama_composition(150), server, serving, at_once(1, 8, 8))
    costs = dict(zip(COSTS, ready.costs.tolist(), strict=True))
    return float((costs["load_ns"] + costs["load_fixed_ns"]) / _NS_PER_MS)


# DeepSeek-AI, *DeepSeek-V3/R1 inference system overview*, 2025: 18 servers of 8 decode with 32
# copies of experts, 4 prefill; 4,989 tokens of context on average.
_DECODE_SERVERS, _PREFILL_SERVERS, _CONTEXT = 18, 4, 4_989
# chosen: sequences of an accelerator that decode at about the published 20 to 22 tokens/s each.
_SEQUENCES_PER_GPU: Final = 96
# Likewise: 56.3 % of a prompt's tokens hit the cache on disk.
_UNCACHED: Final = 1.0 - 0.563


def deepseek_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V18: tokens per second of DeepSeek's servers: 0.5 to 1.2 of the model's."""
    del reference
    progress("V18: decoding on 144 accelerators")
    ratio_out = 14_800.0 / _decoding_per_server()
    progress("V18: prefilling on 32 accelerators")
    ratio_in = 73_700.0 * _UNCACHED / _prefilling_per_server()
    return [
        _within("output tokens/s of a server, over the model's", ratio_out),
        _within("computed prompt tokens/s of a server, over the model's", ratio_in, _BUSY_NOTE),
    ]


_BUSY_NOTE: Final = (
    "the published rate is a day's average, nights included; the model's servers are never idle"
)


def _within(what: str, ratio: float, note: str = "") -> Row:
    """Return met from 0.5 to 1.2: the distance from 0.85."""
    error = abs(ratio - 0.85)
    return Row("V18", what, 0.85, ratio, "x", error, 0.35, "x", (), note if error > 0.35 else "")


def _decoding_per_server() -> float:
    served, server = model("deepseek-v3"), node("hgx-h800")
    n_gpus = 8 * _DECODE_SERVERS
    serving = Serving(
        data=n_gpus,
        spreads_experts=True,
        redundant=32,
        expert_bits=8,
        attention_bits=8,
        eight_bit_math=True,
        pipeline=0,
        max_sequences=_SEQUENCES_PER_GPU * n_gpus,
        max_tokens=_SEQUENCES_PER_GPU * n_gpus,
    )
    routing = routed(served, 48, 6)
    placement = place(
        popularity(routing), served.moe_layers, 32, _DECODE_SERVERS, n_gpus, "balanced"
    )

    def stretch(ready: Plan) -> Plan:
        """Return contexts of a few tokens stand for long ones, which would take long to read in."""
        costs = ready.costs.copy()
        costs[COSTS.index("context_ns")] *= _CONTEXT / 3.5
        return replace(ready, costs=costs, infeasible=None)

    requests = at_once(_SEQUENCES_PER_GPU * n_gpus, 1, 5)
    result = serve_at_once(
        served,
        server,
        serving,
        requests,
        routing,
        placement=placement,
        contention=contention(_DECODE_SERVERS, 8, "split", 1),
        change=stretch,
    )
    return _SEQUENCES_PER_GPU * 8 / (float(result.tpot_ns.mean()) / 1e9)


def _prefilling_per_server() -> float:
    served, server = model("deepseek-v3"), node("hgx-h800")
    n_gpus = 8 * _PREFILL_SERVERS
    prompt, n = _CONTEXT, n_gpus
    serving = Serving(
        data=n_gpus,
        spreads_experts=True,
        redundant=32,
        expert_bits=8,
        attention_bits=8,
        eight_bit_math=True,
        pipeline=0,
        max_sequences=n,
        max_tokens=prompt * n,
        chunk_tokens=0,
    )
    routing = routed(served, 8, 128)
    placement = place(
        popularity(routing), served.moe_layers, 32, _PREFILL_SERVERS, n_gpus, "balanced"
    )
    result = serve_at_once(
        served,
        server,
        serving,
        at_once(n, prompt, 1),
        routing,
        placement=placement,
        contention=contention(_PREFILL_SERVERS, 8, "split", 1),
    )
    seconds = float(np.max(result.finish_ns)) / 1e9
    return n * prompt / seconds / _PREFILL_SERVERS
