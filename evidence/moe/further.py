"""Rows S7 to S10: long prompts, MLPerf, single measurements, experts on the processor.

Nothing here was fitted: constants are those that ship, and published settings that the rows do not
report stand in the table as `chosen:`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.machine.clock import kernels
from archgym.simulators.moe.machine.engines import BITS
from archgym.simulators.moe.machine.hardware import CORE_GB_PER_S, HOST_MEMORY
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.presets import model
from evidence.moe.measured import (
    closed_loop_metrics,
    find_gpu,
    find_model,
    known_gpus,
    known_models,
)
from evidence.moe.row import Progress, Row, read_table, reading
from evidence.moe.serving import summary_row

Floats = npt.NDArray[np.float64]
Cells = Mapping[str, str]

_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9
# Bars of whole tables that nothing was fitted to: those of a model, GPU or engine left out.
_BARS: Final = {"TPOT": 15.0, "TTFT": 35.0, "output/s": 15.0}
# Published acceptance of one multi-token prediction module (DeepSeek-V3, 2024, section 5.4.3).
_MTP_ACCEPTANCE: Final = 0.85
# chosen: attention in more groups than this has experts of its own on each GPU.
_WIDE: Final = 8
_WAVES: Final = 10  # requests of each client, as in InferenceX's client
_NETWORK_GB_S: Final = 50.0  # AIConfigurator: one GPU's network card of 400 Gb/s

_LONG_NOTE: Final = (
    "prompts run at some 20,000 tokens/s on 8 GPUs here, a quarter of the rate of the same model "
    "and GPU in serving.csv: a development build with a profiler set up and whole experts on each "
    "GPU; GLM-5's sparse attention is taken as dense, and drafts for random tokens as for text"
)
_MLPERF_NOTE: Final = (
    "batch, engine and lengths are not told (lengths here are the data sets' means, from memory); "
    "submissions tune kernels beyond public releases; gpt-oss summarises texts (MLPerf 6.0), whose "
    "prompts are longer than the 900 tokens assumed"
)
_COMMUNITY_NOTE: Final = (
    "single measurements of 2023 to 2025 with engines older than those fitted; offline runs of 200 "
    "requests; on A100, 4,096 tokens in 75 ms are more than the peak allows (87 ms): cached prompts"
)
_HYBRID_NOTE: Final = (
    "host bandwidth follows from the processor's name; llama.cpp's NUMA placement is not told, and "
    "weights of 1.6 bits (DeepSeek-R1 on 12 threads, 3.3 tokens/s) are bound by instructions, not "
    "by memory"
)


def _cells(cells: Cells, *names: str, otherwise: float = math.nan) -> float:
    for name in names:
        text = cells.get(name, "")
        if text:
            return float(text)
    return otherwise


def _rows_of(
    row_id: str, name: str, pairs: Mapping[str, list[tuple[float, float]]], note: str
) -> list[Row]:
    """Return a summary row for each metric of predicted and measured pairs."""
    found = []
    for metric, values in pairs.items():
        if not values:
            continue
        predicted, measured = np.array(values, dtype=np.float64).T
        row = summary_row(
            row_id, f"{name}, {metric}", predicted, measured, _BARS[metric], note=note
        )
        if row is not None:
            found.append(row)
    return found


# ---- long prompts


def long_prompt_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return rows S7: medians of prompts of 1,024 to 32,768 tokens."""
    path = reference / "measured" / "serving_long_prompts.csv"
    progress("S7: long prompts")
    models, gpus = known_models(reference), known_gpus(reference)
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    n_left_out = 0
    with reading(path):
        for cells in read_table(path):
            gpu = find_gpu(cells["gpu"].split(" ")[0], gpus)
            speculates = cells["spec_decoding"].startswith("mtp")
            found_metrics = closed_loop_metrics(
                find_model(cells["model"], models), gpu, cells["engine"], cells["precision"],
                tensor=int(_cells(cells, "tp")), data=int(_cells(cells, "dp")),
                spread=int(_cells(cells, "ep")) > 1, clients=int(_cells(cells, "conc")),
                prompt=int(_cells(cells, "isl")), output=int(_cells(cells, "osl")),
                options={"draft_tokens": str(int(speculates)), "acceptance": str(_MTP_ACCEPTANCE)},
            )  # fmt: skip
            if found_metrics is None:
                n_left_out += 1
                continue
            found = groups.setdefault(cells["model"], {"TPOT": [], "TTFT": []})
            found["TPOT"].append((found_metrics["tpot_p50_ms"], _cells(cells, "tpot_median_ms")))
            found["TTFT"].append((found_metrics["ttft_p50_ms"], _cells(cells, "ttft_median_ms")))
    if n_left_out:
        progress(f"S7: {n_left_out} rows are left out, which do not fit the memory here")
    return [
        row
        for key in sorted(groups)
        for row in _rows_of("S7", f"long prompts, {key} on 8 H200", groups[key], _LONG_NOTE)
    ]


# ---- MLPerf


# Mean tokens of prompts and outputs of the data sets, from memory: OpenOrca, GSM8K and MBXP;
# reasoning tasks of MLPerf 5.1. Outputs of gpt-oss: MLCommons, language/gpt-oss-120b, TEST09.
_MLPERF: Final[Mapping[str, tuple[str, int, int]]] = {
    "mixtral-8x7b": ("mixtral-8x7b", 290, 145),
    "deepseek-r1": ("deepseek-r1", 800, 3880),
    "gpt-oss-120b": ("gpt-oss-120b", 900, 1278),
}
_MLPERF_GPUS: Final = (
    ("MI355X", "mi355x"), ("MI300X", "mi300x"), ("B200", "b200"), ("GB200", "gb200"),
    ("H200", "h200"), ("H100-SXM", "h100-sxm"), ("RTX PRO 6000", "rtx-pro-6000"),
)  # fmt: skip
# chosen: requests in flight per GPU where latency does not count.
_OFFLINE_CLIENTS: Final = 512


def mlperf_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return rows S8: offline rates of MLPerf submissions."""
    path = reference / "measured" / "mlperf.csv"
    progress("S8: MLPerf")
    groups: dict[str, list[tuple[float, float]]] = {}
    cache: dict[tuple[str, str], float] = {}
    with reading(path):
        for cells in read_table(path):
            name = next((gpu for word, gpu in _MLPERF_GPUS if word in cells["accelerator"]), None)
            n_gpus = _cells(cells, "nodes") * _cells(cells, "accelerators_or_per_node")
            if name is None or cells["scenario"] != "Offline" or cells["model"] not in _MLPERF:
                continue
            if cells["unit"] == "Samples/s" or _cells(cells, "nodes") > 1 or n_gpus < 1:
                continue
            if (cells["model"], name) not in cache:
                cache[cells["model"], name] = _offline(cells["model"], name)
            groups.setdefault(cells["model"], []).append(
                (cache[cells["model"], name], _cells(cells, "value") / n_gpus)
            )
    return [
        row
        for key in sorted(groups)
        for row in _rows_of(
            "S8", f"MLPerf offline, {key}, tokens/s and GPU", {"output/s": groups[key]},
            _MLPERF_NOTE,
        )
    ]  # fmt: skip


def _offline(name: str, gpu_name: str) -> float:
    """Return output tokens a second and GPU where latency does not count."""
    served, prompt, output = _MLPERF[name]
    gpu = find_gpu(gpu_name, {})
    precision = "mxfp4" if name.startswith("gpt-oss") else "fp8"
    if gpu.fp4_tflops and not name.startswith("gpt-oss"):
        precision = "nvfp4" if gpu.vendor == "nvidia" else "mxfp4"
    # Where latency does not count, attention of DeepSeek is data parallel and experts are spread
    # (DeepSeek-V3, 2024, section 3.4.2).
    groups = 8 if name == "deepseek-r1" else 1
    found = closed_loop_metrics(
        model(served), gpu, "trt-llm" if gpu.vendor == "nvidia" else "vllm", precision,
        data=groups, spread=groups > 1, clients=_OFFLINE_CLIENTS * groups, prompt=prompt,
        output=output,
    )  # fmt: skip
    return math.nan if found is None else found["output_per_s"] / groups


# ---- single measurements


def community_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return rows S9: single measurements from threads."""
    path = reference / "measured" / "serving_community.csv"
    progress("S9: single measurements")
    models, gpus = known_models(reference), known_gpus(reference)
    pairs: dict[str, list[tuple[float, float]]] = {"TPOT": [], "TTFT": [], "output/s": []}
    n_left_out = 0
    with reading(path):
        for cells in read_table(path):
            found = re.fullmatch(r"(conc|offline) (\d+)", cells["conc_or_rate"])
            precision = "w4a16" if cells["precision"].startswith("q") else cells["precision"]
            if found is None or precision not in BITS:
                n_left_out += 1
                continue
            try:
                gpu = find_gpu(cells["gpu"].removesuffix(" WS").replace(" ", "-"), gpus)
                served = find_model(cells["model"], models)
            except ValueError:
                n_left_out += 1
                continue
            clients = int(found[2])
            offline = {"requests": str(clients)} if found[1] == "offline" else {}
            metrics = closed_loop_metrics(
                served, gpu, cells["engine"], precision, tensor=int(_cells(cells, "gpus")),
                clients=clients, prompt=max(1, int(_cells(cells, "isl"))),
                output=int(_cells(cells, "osl")), options=offline,
            )  # fmt: skip
            if metrics is None:
                n_left_out += 1
                continue
            tpot = _cells(cells, "tpot_mean_ms", "itl_mean_ms")
            pairs["TPOT"].append((metrics["tpot_mean_ms"], tpot))
            pairs["TTFT"].append((metrics["ttft_mean_ms"], _cells(cells, "ttft_mean_ms")))
            pairs["output/s"].append((metrics["output_per_s"], _cells(cells, "out_tok_s")))
    if n_left_out:
        progress(f"S9: {n_left_out} rows are left out, whose load, GPU or model is not known")
    return _rows_of("S9", "single measurements", pairs, _COMMUNITY_NOTE)


# ---- experts on the processor

# Peak of the host's memory by the processor's name [GB/s]: channels times 8 bytes times rate.
_HOSTS: Final[tuple[tuple[str, float], ...]] = (
    ("2x Xeon Gold 6454S", 614.4),  # 16 channels DDR5-4800
    ("2x Xeon Platinum 8488C", 614.4),  # 16 channels DDR5-4800
    ("2x EPYC 9135", 1228.8),  # 24 channels DDR5-6400
    ("Xeon 6 + MRDIMM-8800", 844.8),  # 12 channels MRDIMM-8800, one socket
    ("EPYC 9654", 460.8),  # 12 channels DDR5-4800
    ("Core i9-14900K", 89.6),  # 2 channels DDR5-5600
    ("Core i9-10900X", 93.9),  # 4 channels DDR4-2933
)
# Peaks of cards' memory [GB/s], from their datasheets; others are taken as RTX 3090.
_CARDS: Final = (("4090", 1008.0), ("2080", 448.0))
# Bits of a weight in llama.cpp's formats (its README): with scales.
_FORMATS: Final[Mapping[str, float]] = {
    "q4_k_m": 4.85, "q4": 4.5, "fp8": 8.0, "mxfp4": 4.25, "iq1_s": 1.56, "q3_k_m": 3.9,
    "int8 host / int4 GPU": 8.0,
}  # fmt: skip
# Software of a layer [ns]: KTransformers' is that of row V17; llama.cpp launches small kernels one
# by one where experts are on the host: chosen, 8 us each.
_LAYER_NS: Final[Mapping[str, float]] = {"ktransformers": 0.36e6, "ktransformers+sglang": 0.36e6}
_KERNEL_NS: Final = 8_000.0


def hybrid_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return rows S10: decode rates with experts on the processor."""
    path = reference / "measured" / "offload_hybrid.csv"
    progress("S10: experts on the processor")
    models = known_models(reference)
    groups: dict[str, list[tuple[float, float]]] = {}
    n_left_out = 0
    with reading(path):
        for cells in read_table(path):
            rate = _hybrid_rate(cells, models)
            if rate is None:
                n_left_out += 1
                continue
            groups.setdefault(cells["system"], []).append((rate, _cells(cells, "decode_tok_s")))
    progress(
        f"S10: {n_left_out} rows are left out: prompts alone, no processor named, paging, or "
        "experts that cross the link"
    )
    return [
        row
        for key in sorted(groups)
        for row in _rows_of(
            "S10", f"experts on the processor, {key}", {"output/s": groups[key]}, _HYBRID_NOTE
        )
    ]


def _hybrid_rate(cells: Cells, models: Mapping[str, MoeModel]) -> float | None:
    """Return tokens a second of one request; None if the row does not tell enough."""
    bandwidth = next((peak for name, peak in _HOSTS if cells["cpu"].startswith(name)), None)
    bits = _FORMATS.get(cells["precision"])
    is_told = not math.isnan(_cells(cells, "decode_tok_s")) and cells["batch"] in ("1", "1.0")
    if bandwidth is None or bits is None or not is_told or "paging" in cells["note"]:
        return None
    if cells["gpu"] == "none" or cells["system"] not in (*_LAYER_NS, "llama.cpp"):
        return None
    name = cells["model"].split("/")[0].replace("-0528", "").replace("M2.1", "M2.5")
    served = find_model(name, models)
    if "6 experts" in cells["variant"]:
        served = replace(served, top_k=6)
    if "single socket" in cells["variant"]:
        bandwidth /= 2
    on_host = served.moe_layers
    told = re.search(r"--n-cpu-moe (\d+)|(\d+) layers on GPU", cells["variant"])
    if told is not None:
        on_host = int(told[1]) if told[1] else served.moe_layers - int(told[2])
    gpu_bandwidth = next((peak for name, peak in _CARDS if name in cells["gpu"]), 936.0)
    active = served.top_k * served.expert_bytes(bits)
    host_gb_per_s = HOST_MEMORY * bandwidth
    threads = re.search(r"(\d+) threads", cells["variant"])
    if threads is not None:
        host_gb_per_s = min(host_gb_per_s, int(threads[1]) * CORE_GB_PER_S)
    host_ns = on_host * active / host_gb_per_s
    rest = served.other_parameters - served.embedding_parameters / 2
    rest_bytes = rest * min(8.0, max(bits, 4.85)) / 8 + (served.moe_layers - on_host) * active
    software = _LAYER_NS.get(cells["system"], _KERNEL_NS * (kernels(served, 8) + 5))
    total = host_ns + rest_bytes / (0.8 * gpu_bandwidth) + served.layers * software
    return _NS_PER_S / total
