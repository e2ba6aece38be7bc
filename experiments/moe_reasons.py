"""Facts behind errors of MoE serving: waits for first tokens, and times of experts' kernels.

    python -m experiments.moe_reasons REFERENCE [ERRORS]

The first table compares mean and median TTFT of measured rows with those of the clock, by release.
The second has what single kernels of experts take, by engine, precision and GPU: a fixed time and a
share of the bandwidth (lines through times of up to 64 tokens), and the share of the peak that
products of 4,096 tokens and more reach (medians). The last columns have the fixed time and the
share by lines of each shape, medians over shapes: of experts that GPUs slice, and of whole ones.

With ERRORS, the file `errors.npz` of `experiments.measurements run`, errors of TTFT come instead,
by what was left out: of all rows, and without the releases whose servers were not warmed up.

Source:
  AIConfigurator, `aic-core/src/aiconfigurator_core/systems/data` @095f58a5 (Apache-2.0), experts
  of SGLang 0.5.14, TensorRT-LLM 1.3 and vLLM 0.24 with balanced routing.
"""

import csv
import gzip
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.machine.engines import BITS
from archgym.simulators.moe.machine.hardware import Gpu, gpu
from evidence.moe.measured import WORKLOAD, read_serving
from evidence.moe.row import reading

Floats = npt.NDArray[np.float64]

# Consumer GPUs are left out: a kernel that is repeated alone finds its weights in their large
# second-level caches.
_GPUS: Final[Mapping[str, str]] = {"H100": "h100-sxm", "H200": "h200", "B200": "b200"}
_ENGINES: Final[Mapping[str, str]] = {"sglang": "sglang", "trtllm": "trt-llm", "vllm": "vllm"}
# Types of the tables for our precisions: scales of blocks, as the models that are served have them.
_PRECISIONS: Final[Mapping[str, str]] = {
    "bfloat16": "bf16",
    "fp8_block": "fp8",
    "nvfp4": "nvfp4",
}
_MXFP4: Final = {True: "w4a8_mxfp4_mxfp8", False: "w4a16_mxfp4"}
_FEW, _MANY = 64, 4096  # tokens: weights decide below, products above
_BYTES, _PASSES, _STREAM = 2, 3, 0.8  # as `machine/clock.py` has them
_ROUNDS: Final = 20
# Releases whose first requests wait while kernels are compiled: means of seconds, medians of less.
_NOT_WARMED_UP: Final = ("sglang 0.5.5", "sglang 0.5.6", "sglang 0.5.7")


class _Kernel(NamedTuple):
    """A measured kernel: its shape, bytes, operations, copies of activations, and time [us]."""

    shape: tuple[int, ...]
    n_tokens: int
    weight_bytes: float
    operations: float
    moved_bytes: float
    time_us: float


def _kernels(path: Path) -> Iterator[tuple[tuple[str, str, str], _Kernel]]:
    """Yield engine, precision and GPU of each kernel, and the kernel."""
    with reading(path), gzip.open(path, "rt", encoding="utf-8") as handle:
        for cells in csv.DictReader(handle):
            if cells["gpu"] not in _GPUS or cells["distribution"] != "balanced":
                continue
            on = gpu(_GPUS[cells["gpu"]])
            precision = _PRECISIONS.get(cells["moe_dtype"], "")
            if cells["moe_dtype"] == _MXFP4[on.fp4_tflops > 0]:
                precision = "mxfp4"
            if not precision:
                continue
            whole = {key: int(cells[key]) for key in _WHOLE}
            rows = whole["num_tokens"] * whole["topk"] / whole["moe_ep_size"]
            experts = min(whole["num_experts"] / whole["moe_ep_size"], max(1.0, rows))
            inner = whole["inter_size"] / whole["moe_tp_size"]
            weights = 3.0 * whole["hidden_size"] * inner
            key = _ENGINES[cells["engine"]], precision, on.name
            yield key, _Kernel(
                tuple(list(whole.values())[1:]), whole["num_tokens"],
                experts * weights * BITS[precision] / 8, 2.0 * weights * rows,
                rows * _BYTES * _PASSES * (whole["hidden_size"] + inner),
                float(cells["latency_us"]),
            )  # fmt: skip


_WHOLE: Final = (
    "num_tokens", "topk", "moe_ep_size", "moe_tp_size", "num_experts", "hidden_size", "inter_size",
)  # fmt: skip
_EP: Final = _WHOLE[1:].index("moe_ep_size")


def _read_time(kernels: list[_Kernel], on: Gpu, rounds: int = _ROUNDS) -> tuple[float, float]:
    """Return the fixed time [us] and the share of the bandwidth of kernels with few tokens.

    A line through relative errors, large ones counted linearly from the second round.
    """
    time = np.array([kernel.time_us for kernel in kernels])
    ideal = np.array([kernel.weight_bytes for kernel in kernels]) / on.memory_gb_per_s / 1e3
    design = np.stack([np.ones(len(time)), ideal], axis=1) / time[:, None]
    found, weight = np.zeros(2), np.ones(len(time))
    for _ in range(rounds):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(design * root[:, None], root, rcond=None)[0]
        weight = 1.0 / np.maximum(0.05, np.abs(design @ found - 1.0))
    return float(found[0]), float(1.0 / found[1])


def _by_shape(kernels: list[_Kernel], on: Gpu, *, is_spread: bool) -> str:
    """Return fixed time [us] and share of the bandwidth, medians over lines of each shape."""
    shapes: dict[tuple[int, ...], list[_Kernel]] = defaultdict(list)
    for kernel in kernels:
        if (kernel.shape[_EP] > 1) == is_spread:
            shapes[kernel.shape].append(kernel)
    lines = []
    for own in shapes.values():
        read = [kernel.weight_bytes for kernel in own]
        # Else a line has no slope to speak of.
        if len(own) > 3 and max(read) >= 4 * min(read):
            lines.append(_read_time(own, on, rounds=1))
    if not lines:
        return "–"
    fixed, share = np.median(np.array(lines), axis=0).tolist()
    return f"{fixed:.0f} us, {100 * share:.0f} %"


def _product_share(kernels: list[_Kernel], fixed_us: float, on: Gpu, precision: str) -> float:
    """Return the share of the peak of kernels with many tokens, their median."""
    peak = on.tflops(BITS[precision]) * 1e6  # operations a microsecond
    shares = [
        kernel.operations
        / (
            peak
            * (kernel.time_us - fixed_us - kernel.moved_bytes / _STREAM / on.memory_gb_per_s / 1e3)
        )
        for kernel in kernels
    ]
    return float(np.median(shares))


def kernel_table(path: Path) -> list[str]:
    """Return a row for each engine, precision and GPU: fixed time, and shares of both peaks."""
    # Where a table has several kernels of a shape, an engine takes the fastest.
    fastest: dict[tuple[str, str, str], dict[_Kernel, float]] = defaultdict(dict)
    for key, kernel in _kernels(path):
        shape = kernel._replace(time_us=0.0)
        known = fastest[key].get(shape, math.inf)
        fastest[key][shape] = min(known, kernel.time_us)
    heads = "engine | precision | GPU | fixed time [us] | bandwidth | peak | sliced | spread"
    lines = [f"| {heads} |", _RULE.replace("---:|", "---:|---:|---:|", 1)]
    for (engine, precision, name), times in sorted(fastest.items()):
        on = gpu(name)
        kernels = [shape._replace(time_us=time) for shape, time in times.items()]
        few = [kernel for kernel in kernels if kernel.n_tokens <= _FEW]
        fixed, memory = _read_time(few, on)
        flops = _product_share([k for k in kernels if k.n_tokens >= _MANY], fixed, on, precision)
        shares = f"{100 * memory:.0f} % | {100 * flops:.0f} %"
        shares += "".join(f" | {_by_shape(few, on, is_spread=s)}" for s in (False, True))
        lines.append(f"| {engine} | {precision} | {name} | {fixed:.0f} | {shares} |")
    return lines


def first_token_table(reference: Path) -> list[str]:
    """Return a row for each release, GPU and prompt: mean over median of TTFT, and our errors."""
    rows = [row for row in read_serving(reference)[0] if not math.isnan(row.ttft_median_ms)]
    found: dict[tuple[str, str, str], list[tuple[float, ...]]] = defaultdict(list)
    for row in rows[::_STRIDE]:
        simulator = row.simulator()
        metrics = simulator.evaluate(row.design, simulator.workload(WORKLOAD))
        mean, median = metrics["ttft_mean_ms"], metrics["ttft_p50_ms"]
        found[row.options["release"], row.names[2], row.options["lengths"].split("+")[0]].append(
            (
                row.ttft_ms / row.ttft_median_ms, mean / median,
                mean / row.ttft_ms, median / row.ttft_median_ms,
            )
        )  # fmt: skip
    lines = [
        "| release | GPU | prompt | mean over median, measured | here | our mean over the measured "
        "| our median |",
        f"{_RULE}---:|",
    ]
    for (release, name, prompt), of in sorted(found.items()):
        cells = " | ".join(f"{value:.2f}" for value in np.median(of, axis=0))
        lines.append(f"| {release} | {name} | {prompt} | {cells} |")
    return lines


_STRIDE: Final = 2  # chosen: every second row, for half of the time
_RULE: Final = "|---|---|---:|---:|---:|---:|"


def warm_table(folder: Path, errors: Mapping[str, Floats]) -> Iterator[str]:
    """Yield errors of TTFT with and without the servers that were not warmed up.

    Args:
      folder: Reference of `moe`.
      errors: By what was left out, (n_rows, 3) logarithms of measured over predicted, TTFT first.
    """
    rows, _ = read_serving(folder)
    is_warm = np.array([not row.options["release"].endswith(_NOT_WARMED_UP) for row in rows])
    yield "| left out | all, median / p90 % | warmed up | not warmed up |"
    yield "|---|---:|---:|---:|"
    for kind, each in errors.items():
        percent = 100.0 * np.abs(np.expm1(-each[:, 0]))
        parts = (percent, percent[is_warm], percent[~is_warm])
        cells = [f"{np.nanmedian(p):.1f} / {np.nanquantile(p, 0.9):.1f}" for p in parts]
        yield f"| {kind} | {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    folder = Path(sys.argv[1])
    folder = folder / "moe" if (folder / "moe").is_dir() else folder
    if len(sys.argv) > 2:
        with np.load(sys.argv[2]) as stored:
            found = warm_table(folder, {name: stored[name] for name in stored.files})
            sys.stdout.write("\n".join(found) + "\n")
        return
    for lines in (
        first_token_table(folder), kernel_table(folder / "measured" / "kernels_moe.csv.gz"),
    ):  # fmt: skip
        sys.stdout.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
