"""Published figures of Megatron-LM, MegaScale and Calculon against the simulator's."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.simulators.cluster.machine.clusters import NPUS, Dimension
from archgym.simulators.cluster.machine.design import Built, split
from archgym.simulators.cluster.machine.parallelism import (
    Parallelism,
    activation_bytes,
    memory_bytes,
)
from archgym.simulators.cluster.machine.system import COLLECTIVES, System
from archgym.simulators.cluster.runs import Result, run
from archgym.simulators.cluster.workloads import LAYER_FIELDS, Model, transformer
from evidence.recorded import Record, read_rows, reading
from evidence.validation import Row

_GIB: Final = 2.0**30
# Fitted on the rows of Megatron-LM 2021 and on no others.
_REACHED: Final = 0.58
_HALF_HIDDEN: Final = 800.0
_SEQUENCE: Final = 2048
_VOCABULARY: Final = 51_200
# Megatron-LM's clusters: eight A100 on NVLink, an HDR link of 25 GB/s for each of them.
_A100: Final = ("a100-80g", 300.0, 25.0)
# Calculon's systems, by name.
_SYSTEMS: Final = {"a100_80g": _A100, "h100_80g_nvl8": ("h100-80g", 450.0, 50.0)}
# Hidden size, blocks and heads of Calculon's models; NeMo's and GPT-3's.
_MODELS: Final[Mapping[str, tuple[int, int, int]]] = {
    "megatron-5B": (4096, 24, 32),
    "gpt3-13B": (5120, 40, 40),
    "megatron-22B": (6144, 48, 64),
    "megatron-40B": (8192, 48, 64),
    "gpt3-175B": (12288, 96, 96),
}
_RECOMPUTE: Final = {"none": "none", "full": "full", "attn_only": "selective"}


def _train(
    hardware: tuple[str, float, float],
    model: Model,
    hidden: int,
    gpus: int,
    tp: int,
    pp: int,
    *,
    microbatch: int = 1,
    interleave: int = 1,
    recompute: str = "full",
    sp: bool = False,
    zero: int = 0,
    inflight: int = 2,
    shared: bool,
) -> Result:
    """Return an iteration on servers of eight GPUs."""
    name, inner, outer = hardware
    inside = min(8, gpus)
    dimensions = [Dimension("Switch", inside, inner, 936.0, "node")]
    if gpus > inside:
        dimensions.append(Dimension("Switch", gpus // inside, outer, 2000.0, "pod"))
    dp = gpus // (tp * pp)
    degrees: dict[str, Any] = {"tp": tp, "dp": dp, "pp": pp}
    places, sizes, roles = split(tuple(d.npus for d in dimensions), degrees)
    npu = NPUS[name]
    system = System(
        topology=("Switch",) * len(sizes),
        npus=sizes,
        bandwidth=tuple(dimensions[place].gb_per_s for place in places),
        latency=tuple(dimensions[place].latency_ns for place in places),
        algorithms=dict.fromkeys(COLLECTIVES, ("ring",) * len(sizes)),
        mem_gb_per_s=npu.memory_gb_per_s,
        peak_tflops=npu.peak_tflops,
        optimization="localBWAware",
        inflight=inflight,
        shared=shared,
        places=places,
    )
    parallelism = Parallelism(
        **degrees,
        roles=roles,
        microbatches=model.global_batch // (dp * microbatch),
        microbatch=microbatch,
        interleave=interleave,
        recompute=recompute,
        sp=sp,
        zero=zero,
        efficiency=gemm_efficiency(hidden),
    )
    return run(Built(system, parallelism, model.layers, npu, tuple(dimensions), places))


def _gpt(hidden: int, blocks: int, heads: int, batch: int, vocabulary: int = _VOCABULARY) -> Model:
    shape = {"hidden": hidden, "blocks": blocks, "heads": heads, "vocabulary": vocabulary}
    return transformer("gpt", batch, sequence=_SEQUENCE, **shape)


def _wholes(cells: Mapping[str, str], *names: str) -> list[int]:
    return [int(cells[name]) for name in names]


def _parts(layers: int, stages: int) -> int:
    """Return the parts of a stage: as many as divide its layers, four at most.

    Narayanan et al. do not say how many; of few layers they are single ones.
    """
    own = layers // stages
    return max(v for v in (1, 2, 3, 4) if own % v == 0) if stages > 1 else 1


def _seconds(result: Result) -> float:
    return float(result.outcome.finish_ns.max()) / 1e9


def _megatron_2021(path: Path, shared: bool) -> list[Row]:
    lines = []
    for row in read_rows(path):
        with reading(row.path, row.line):
            c = row.cells
            h, n, heads, batch = _wholes(c, "hidden", "layers", "heads", "batch")
            gpus, tp, pp = _wholes(c, "gpus", "tensor_parallel", "pipeline_parallel")
            model = _gpt(h, n, heads, batch)
            # The paper gives no microbatches: one sample, or four where nothing waits for them.
            size, parts = 1 if pp > 1 else 4, _parts(n, pp)
            result = _train(
                _A100, model, h, gpus, tp, pp, microbatch=size, interleave=parts, shared=shared
            )
            flops = 96.0 * batch * _SEQUENCE * n * h * h
            flops *= 1 + _SEQUENCE / (6 * h) + _VOCABULARY / (16 * n * h)
            published = float(c["tflops_per_gpu"])
        ours = flops / (_seconds(result) * gpus) / 1e12
        error = 100 * abs(ours / published - 1)
        what = f"Megatron-LM 2021, {c['params_billion']} billion, {gpus} GPUs"
        lines.append(Row("P1", what, published, ours, "TFLOP/s", error, 15, "percent"))
    return lines


def _megatron_2022_times(path: Path, shared: bool) -> list[Row]:
    lines = []
    times: dict[str, dict[str, tuple[float, float]]] = {}
    for row in read_rows(path):
        with reading(row.path, row.line):
            c = row.cells
            shape = _wholes(c, "hidden", "layers", "heads", "batch")
            gpus, tp, pp = _wholes(c, "gpus", "tensor_parallel", "pipeline_parallel")
            is_full = c["mode"] == "full"
            result = _train(
                _A100,
                _gpt(*shape),
                shape[0],
                gpus,
                tp,
                pp,
                microbatch=int(c["microbatch"]),
                interleave=int(c["interleaving"]),
                recompute="full" if is_full else "selective",
                sp=not is_full,
                shared=shared,
            )
            published = float(c["seconds_per_iteration"])
        ours = _seconds(result)
        error = 100 * abs(ours / published - 1)
        what = f"Korthikanti 2022, {c['model']} {c['mode']}"
        lines.append(Row("P3", what, published, ours, "s", error, 15, "percent"))
        times.setdefault(c["model"], {})[c["mode"]] = (published, ours)
    for name, found in times.items():
        if len(found) == 2:
            (full, our_full), (less, our_less) = found["full"], found["seq+selective"]
            error = abs(our_full / our_less - full / less)
            what = f"Korthikanti 2022, {name} gain of seq+selective"
            lines.append(Row("P3", what, full / less, our_full / our_less, "x", error, 0.08, "x"))
    return lines


# Shape and parallelisation of figure 1: hidden, blocks, heads, microbatch, pipeline, parts.
_MEMORY: Final = {"22B": (6144, 48, 64, 4, 1, 1), "175B": (12288, 96, 96, 1, 8, 3)}


def _megatron_2022_memory(path: Path, _: bool) -> list[Row]:
    lines = []
    for row in read_rows(path):
        with reading(row.path, row.line):
            c = row.cells
            h, n, heads, b, pp, v = _MEMORY[c["model"]]
            model = _gpt(h, n, heads, 64 * b)
            published = float(c["GiB"])
            is_lean = c["mode"] == "seq+selective"
            recompute = "selective" if is_lean else "none"
            parallelism = Parallelism(
                tp=8,
                pp=pp,
                microbatch=b,
                microbatches=64,
                interleave=v,
                sp=is_lean,
                recompute=recompute,
            )
            if c["quantity"] == "activations":
                # The figure counts blocks, not embedding and head.
                is_block = model.layers[:, LAYER_FIELDS.index("is_block")] > 0
                ours = max(activation_bytes(model.layers[is_block], parallelism)) / _GIB
                tolerance = 2.0
            else:
                held = memory_bytes(model.layers, parallelism)
                ours = (held - max(activation_bytes(model.layers, parallelism))) / _GIB
                tolerance = 4.0
        error = 100 * abs(ours / published - 1)
        what = f"Korthikanti 2022, {c['model']} {c['quantity']}, {c['mode']}"
        lines.append(Row("P2", what, published, ours, "GiB", error, tolerance, "percent"))
    return lines


def _megascale(path: Path, shared: bool) -> list[Row]:
    lines = []
    series: list[tuple[float, float]] = []
    for row in read_rows(path):
        with reading(row.path, row.line):
            c = row.cells
            if c["system"] != "Megatron-LM":
                continue
            gpus, batch = int(c["gpus"]), int(c["global_batch"])
            model = _gpt(12288, 96, 96, batch, 64_000)
            result = _train(
                _A100,
                model,
                12288,
                gpus,
                8,
                8,
                interleave=6,
                recompute="selective",
                sp=True,
                shared=shared,
            )
            published = float(c["mfu_percent"])
        peak = gpus * result.built.npu.peak_tflops * 1e12
        ours = 100 * 3.0 * model.flops * batch / (_seconds(result) * peak)
        series.append((published, ours))
        what = f"MegaScale 2024, Megatron-LM on {gpus} GPUs"
        error = abs(ours - published)
        lines.append(Row("P4", what, published, ours, "% MFU", error, 6, "points"))
    falls = sum(b[1] < a[1] for a, b in pairwise(series))
    n = max(0, len(series) - 1)
    what = "MegaScale 2024, utilisation falls with GPUs"
    lines.append(Row("P4", what, n, falls, "steps", n - falls, 0, "steps"))
    return lines


_MAKERS: Final = {
    "megatron_2021_table1.csv": _megatron_2021,
    "megatron_2022_memory.csv": _megatron_2022_memory,
    "megatron_2022_times.csv": _megatron_2022_times,
    "megascale_2024.csv": _megascale,
}


def published_lines(folder: Path, tell: Callable[[str], None], shared: bool = False) -> list[Row]:
    """Return a line for each published figure, without or with messages that share links."""
    lines: list[Row] = []
    for name, make in _MAKERS.items():
        path = folder / "published" / name
        if path.is_file():
            tell(f"comparing {name}")
            lines += make(path, shared)
    return lines


def _calculon(row: Record) -> tuple[float, float, float, float]:
    """Return Calculon's seconds and bytes of a run, and the simulator's."""
    c = row.cells
    h, n, heads = _MODELS[c["model"]]
    model = _gpt(h, n, heads, int(c["batch_size"]))
    gpus, tp, pp = _wholes(c, "num_procs", "tensor_par", "pipeline_par")
    result = _train(
        _SYSTEMS[c["system"]],
        model,
        h,
        gpus,
        tp,
        pp,
        microbatch=int(c["microbatch_size"]),
        recompute=_RECOMPUTE[c["activation_recompute"]],
        sp=c["tensor_par_comm_type"] == "rs_ag",
        zero=1 if c["optimizer_sharding"] == "True" else 0,
        inflight=2 if c["data_par_overlap"] == "True" else 1,
        shared=False,
    )
    return (float(c["total_time"]), float(c["mem_total"]), _seconds(result), result.memory_bytes)


def calculon_lines(folder: Path, tell: Callable[[str], None]) -> list[Row]:
    """Return lines for the rank correlation with Calculon over all its runs."""
    path = folder / "calculon.csv"
    if not path.is_file():
        return []
    tell("comparing Calculon's runs")
    rows = read_rows(path)
    found = []
    for row in rows:
        with reading(row.path, row.line):
            found.append(_calculon(row))
    if len(found) < 2:
        return []
    from scipy.stats import spearmanr

    numbers = np.array(found)
    lines = []
    for at, name in enumerate(("time", "memory")):
        theirs, ours = numbers[:, at], numbers[:, at + 2]
        rank = float(spearmanr(theirs, ours).statistic)
        ratio = np.percentile(ours / theirs, (10, 50, 90))
        note = "ratio to Calculon at 10, 50 and 90 % of runs: " + ", ".join(
            f"{value:.2f}" for value in ratio
        )
        what = f"Calculon, rank correlation of {name} over {len(rows)} runs"
        lines.append(Row("C1", what, 1.0, rank, "", 1.0 - rank, 0.05, "", note=note))
    return lines


def gemm_efficiency(hidden: int) -> float:
    """Return the part of an NPU's peak that the products of a model reach.

    Products get more efficient with their size: a saturating law in the hidden size.

    Source:
      The form is chosen; both constants are fitted on table 1 of Narayanan et al. 2021.
    """
    return _REACHED * hidden / (hidden + _HALF_HIDDEN)
