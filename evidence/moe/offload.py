"""Rows V9, V10, V11 and V17: systems whose experts lie outside the accelerator's memory.

Constants are what software adds to a layer, one for each system and set on one of its rows, and
link bandwidths that the papers' own arithmetic gives; all else is predicted.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from archgym.simulators.moe.kernel.run import Run
from archgym.simulators.moe.machine.columns import CpuRule, Prefetch, Replacement, Scope
from archgym.simulators.moe.machine.hardware import Host, Link, NodePreset, gpu, node
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.routing import RoutingPreset
from evidence.moe.row import Progress, Row
from evidence.moe.runs import (
    at_once,
    relative_row,
    routed,
    serve_at_once,
    with_memory,
)

_NS_PER_S: Final = 1e9


def _tokens_per_s(result: Run) -> float:
    return _NS_PER_S / float(result.tpot_ns.mean())


# ---- Mixtral-offloading


def mixtral_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V9: Mixtral-offloading on A100, one request, experts of 65 MB.

    Source:
      Eliseev & Mazur, *Fast Inference of MoE with Offloading*, 2023, table 2. Four experts of a
      layer stay; the speculative gate looks one layer ahead and loads up to two experts.
    """
    del reference
    progress("V9: Mixtral with experts outside the memory")
    served = model("mixtral-8x7b")
    base = Serving(
        expert_bits=65e6 * 8 / served.expert_parameters,
        attention_bits=4,
        layer_software_ns=_MIXTRAL_SOFTWARE_NS,
        staging_experts=4,
        max_sequences=1,
    )
    server = replace(node("a100"), host_to_gpu=Link(_MIXTRAL_GB_PER_S, 10_000.0))
    routing = routed(served, 1, 400)
    requests = at_once(1, 32, 320)

    def rate(parameters: Serving, asked: MoeModel = served) -> float:
        chosen = routing if asked is served else routed(asked, 1, 400)
        return _tokens_per_s(serve_at_once(asked, server, parameters, requests, chosen))

    held = 4 * served.moe_layers
    full = rate(
        replace(base, cache_experts=held, prefetch=Prefetch.GATE, width=2, accuracy=_SPECULATION)
    )
    cached = rate(replace(base, cache_experts=held))
    bare = rate(replace(base, cache_experts=0))
    # Whole layers stream through while the layer before runs: all eight experts of each.
    streams = replace(
        base, cache_experts=0, prefetch=Prefetch.PATH, accuracy=1.0, staging_experts=16
    )
    naive = rate(streams, replace(served, top_k=served.experts))
    rows: tuple[tuple[str, float, float, tuple[str, ...], str], ...] = (
        ("all of it", 3.061, full, (), _SPECULATION_NOTE),
        ("no prefetch", 2.918, cached, (), ""),
        ("no LRU, no prefetch", 2.265, bare, ("software per layer",), ""),
        ("whole layers", 1.392, naive, ("link bandwidth",), ""),
    )
    return [
        relative_row(
            "V9", f"Mixtral-offloading on A100, {what}", wanted, ours, "tokens/s", 15.0, by, note
        )
        for what, wanted, ours, by, note in rows
    ]


# 16.6 GB in 0.718 s, and 0.26 s of 32 layers: the row without a cache less its transfers.
_MIXTRAL_GB_PER_S, _MIXTRAL_SOFTWARE_NS = 23.0, 0.26e9 / 32
# chosen: as the spaces have it for the gate of the layer before.
_SPECULATION: Final = 0.85
_SPECULATION_NOTE: Final = (
    "speculation gains 5 % there; here it hides behind all of a layer's software, which in Python "
    "waits for the copies"
)


# ---- MoE-Infinity


def infinity_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V10: MoE-Infinity on A5000 with 24 GB/s, one request, time per token.

    Source:
      Xue et al., *MoE-Infinity*, its README: 0.735 s for Mixtral, 0.155 s for DeepSeek-V2-Lite.
    """
    del reference
    rows = []
    for name, seconds, set_here in (
        ("deepseek-v2-lite", 0.155, ("software per layer",)),
        ("mixtral-8x7b", 0.735, ()),
    ):
        progress(f"V10: {name}")
        served, server = model(name), node("a5000")
        free = 0.9 * server.gpu.memory_bytes - served.other_bytes() - 2e9
        serving = Serving(
            cache_experts=int(free // served.expert_bytes()),
            scope=Scope.GLOBAL,
            replacement=Replacement.PREDICTOR,
            layer_software_ns=_INFINITY_SOFTWARE_NS,
            max_sequences=1,
        )
        requests = at_once(1, 32, 160)
        result = serve_at_once(served, server, serving, requests, routed(served, 1, 200))
        what = f"MoE-Infinity on A5000, {served.name}"
        rows.append(
            relative_row("V10", what, seconds, 1.0 / _tokens_per_s(result), "s", 20.0, set_here)
        )
    return rows


# What is left of DeepSeek-V2-Lite's 0.155 s once its loads are taken off, by its 27 layers.
_INFINITY_SOFTWARE_NS: Final = 4.2e6


# ---- the toy of moe-lrc


def toy_throughput_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V11: a toy of 8 layers, 64 experts of which 8 are used, LRU at 1 to 3 times 8 slots.

    Source:
      *Not All Models Suit Expert Offloading*, ICLR 2026, the authors' notebook. Its hit rates
      belong to its own router; the generator's persistence is set on the first.
    """
    del reference
    progress("V11: the toy's throughput")
    served = MoeModel(
        name="toy",
        layers=8,
        moe_layers=8,
        hidden=512,
        experts=64,
        top_k=8,
        expert_inner=1024,
        matrices=3,
        heads=8,
        kv_heads=8,
        head_size=64,
        vocabulary=32_000,
    )
    preset = RoutingPreset("toy", 64, 8, 0.0, _TOY_TOPIC, _TOY_PERSISTENCE)
    server = node("a100")
    miss_ns = 0.93e6
    link = Link(served.expert_bytes() / miss_ns, 0.0)
    server = replace(server, host_to_gpu=link)
    base = Serving(
        layer_software_ns=_NS_PER_S / 19.04 / 8 - 60_000.0, max_sequences=1, staging_experts=8
    )
    requests = at_once(1, 16, 480)
    routing = routed(served, 1, 512, preset=preset)
    rows = []
    for name, places, rate, hits, set_here in (
        ("all resident", 64, 19.04, 1.0, ("software per layer",)),
        ("rho 1", 8, 10.57, 0.294, ("cost of a miss", "topic", "persistence")),
        ("rho 2", 16, 12.04, 0.474, ()),
        ("rho 3", 24, 13.02, 0.614, ()),
    ):
        serving = replace(base, cache_experts=places * served.moe_layers)
        result = serve_at_once(served, server, serving, requests, routing)
        hit_rate = result.counters["n_hits"] / result.counters["n_accesses"]
        ours = _tokens_per_s(result)
        rows.append(relative_row("V11", f"toy, {name}", rate, ours, "tokens/s", 8.0, set_here))
        rows.append(
            Row(
                "V11", f"toy, {name}, hit rate", 100 * hits, 100 * hit_rate, "%",
                100 * abs(hit_rate - hits), 3.0, "points", set_here,
            )
        )  # fmt: skip
    return rows


_TOY_TOPIC, _TOY_PERSISTENCE = 0.62, 0.25


# ---- KTransformers and Fiddler: experts on the processor


def processor_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V15 and V17: experts that run on the host's processor."""
    del reference
    progress("V17: DeepSeek-V3 on processors")
    two, one = _xeon(2), _xeon(1)
    published = {(2, 8): 12.2, (1, 8): 8.73, (2, 6): 13.7, (1, 6): 10.3}
    ours = {
        (sockets, experts): _processor_rate(two if sockets == 2 else one, experts)
        for sockets, experts in published
    }
    set_by = {(2, 8): ("software per layer",), (2, 6): ("share of host bandwidth",)}
    rows = [
        relative_row(
            "V17",
            f"KTransformers, DeepSeek-V3, {key[0]} sockets, {key[1]} experts",
            published[key], ours[key], "tokens/s", 15.0, set_by.get(key, ()),
        )
        for key in published
    ]  # fmt: skip
    rows += [
        relative_row(
            "V17",
            f"6 over 8 experts, {sockets} sockets",
            published[sockets, 6] / published[sockets, 8],
            ours[sockets, 6] / ours[sockets, 8],
            "x", 10.0, ("share of host bandwidth",) if sockets == 2 else (),
        )
        for sockets in (1, 2)
    ]  # fmt: skip
    progress("V15: Mixtral with popular experts resident")
    return rows + _fiddler_rows()


# KTransformers' README: two Xeon Gold 6454S, DDR5-4800, 16 channels; 12.2 tokens/s are 82 ms, of
# which 8 experts take 36; what the card's work leaves of the rest, by 61 layers.
_KT_SOFTWARE_NS: Final = 0.36e6


def _xeon(sockets: int) -> NodePreset:
    """Return sockets of 307 GB/s next to one consumer card."""
    host = Host(512.0 * sockets, 307.2 * sockets, 2_000.0 * sockets, "KTransformers' README")
    return with_memory(replace(node("rtx-4090"), host=host), 48.0)


def _processor_rate(server: NodePreset, top_k: int) -> float:
    served = replace(model("deepseek-v3"), top_k=top_k)
    serving = Serving(
        cache_experts=0,
        cpu_rule=CpuRule.ALWAYS,
        expert_bits=4,
        attention_bits=8,
        layer_software_ns=_KT_SOFTWARE_NS,
        max_sequences=1,
    )
    requests = at_once(1, 4, 24)
    return _tokens_per_s(serve_at_once(served, server, serving, requests, routed(served, 1, 32)))


def _fiddler_rows() -> list[Row]:
    """Return V15: hit rates of the most popular experts, and the rule's crossover.

    Source:
      Kamahori et al., *Fiddler*, ICLR 2025: 56 of 256 experts fit environment 1 and 125
      environment 2; placed by popularity 25.2 and 53.0 % hit, at random 21.9 and 48.8 %.
    """
    served = model("mixtral-8x7b")
    server = replace(
        node("a5000"),
        gpu=replace(gpu("a5000"), bf16_tflops=130.5, memory_gb_per_s=672.0, memory_gb=24.0),
        host_to_gpu=Link(12.0, 10_000.0),
        host=Host(192.0, 128.0, 1_500.0, "Fiddler: one Xeon Gold 6126, six channels DDR4-2666"),
    )
    # Popularity is that of many texts, the requests are four of them.
    routing = routed(served, 28, 128)
    requests = at_once(4, 32, 96)
    rows, rates = [], {}
    for held, best, any_of in ((56, 25.2, 21.9), (125, 53.0, 48.8)):
        base = Serving(
            cache_experts=held,
            scope=Scope.GLOBAL,
            replacement=Replacement.STATIC,
            cpu_rule=CpuRule.FASTER,
            layer_software_ns=_FIDDLER_SOFTWARE_NS,
            max_sequences=1,
        )
        # It fills the card to the brim, and streams through no buffers.
        larger = with_memory(server, 28.0 if held == 56 else 56.0)
        result = serve_at_once(served, larger, base, requests, routing)
        hit = 100.0 * result.counters["n_hits"] / result.counters["n_accesses"]
        rates[held] = _tokens_per_s(result)
        what = f"Fiddler, {held} of 256 experts, most popular"
        off = abs(hit - best)
        note = "the calibrated Mixtral likes some experts more than Fiddler's texts do"
        rows.append(
            Row("V15", what, best, hit, "%", off, 3.0, "points", (), note if off > 3.0 else "")
        )
        share = 100.0 * held / 256
        rows.append(
            Row(
                "V15", f"Fiddler, {held} of 256 experts, any", any_of, share, "%",
                abs(share - any_of), 3.0, "points",
            )
        )  # fmt: skip
    rate = rates[56]
    rows.append(
        Row(
            "V15", "Fiddler, environment 1, over 3 tokens/s", 3.0, rate, "tokens/s",
            max(0.0, 3.0 - rate), 0.0, "tokens/s", ("software per layer",),
        )
    )  # fmt: skip
    rows.append(_crossover_row(served, server))
    return rows


# chosen: PyTorch without graphs, a tenth of Mixtral-offloading's quantised layers.
_FIDDLER_SOFTWARE_NS: Final = 0.5e6


def _crossover_row(served: MoeModel, server: NodePreset) -> Row:
    """Return True if there is a number of tokens from which loading beats the processor."""
    from archgym.simulators.moe.machine.columns import COSTS
    from archgym.simulators.moe.machine.timing import layer_costs

    found = layer_costs(served, server, Serving(cache_experts=56))
    costs = dict(zip(COSTS, found.tolist(), strict=True))
    tokens = np.arange(1, 4097)
    host = np.maximum(costs["cpu_weight_ns"], tokens * costs["cpu_token_ns"])
    tiles = -(-tokens // 16) * 16
    here = costs["load_ns"] + np.maximum(
        costs["expert_weight_ns"], tiles * costs["expert_token_ns"]
    )
    faster = here < host
    crosses = not faster[0] and bool(faster[-1])
    at = int(tokens[np.argmax(faster)]) if crosses else 0
    return Row(
        "V15", f"the processor is faster for few tokens, loading from {at} on", 1.0, float(crosses),
        "holds", 1.0 - float(crosses), 0.0, "holds",
    )  # fmt: skip
