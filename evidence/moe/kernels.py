"""Row V5: fused experts kernels that were measured on H100 and L40S."""

import csv
import io
import zlib
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.errors import FileFormatError
from archgym.files.storage import storage_errors
from archgym.simulators.moe.machine.hardware import ACTIVATION_BYTES, Efficiency, Gpu, gpu
from evidence.moe.row import Progress, Row, reading

GPU_OF_SYSTEM: Final[Mapping[str, str]] = {"h100_sxm": "h100-sxm", "l40s": "l40s"}
"""AIConfigurator's names of accelerators and ours; other names are taken as ours."""
_MAX_BYTES: Final = 2**26
_GZIP: Final = 31  # zlib's window of 2**15 bytes, with the heading of gzip
_COLUMNS: Final = (
    "system", "hidden_size", "inter_size", "topk", "num_experts", "moe_dtype", "moe_tp_size",
    "moe_ep_size", "distribution", "num_tokens", "latency_ms",
)  # fmt: skip
_BITS_PER_BYTE: Final = 8
_MAX_TOKENS: Final = 4096  # the specification's range
_MEDIAN, _P90 = 15.0, 35.0  # its tolerances [%]
_NS_PER_MS: Final = 1e6
# CUTLASS through FlashInfer at 8 bits is another kernel: on H100 it reads weights at a sixth of the
# bandwidth with one scale a tensor, and at near the usual with one a block.
_CUTLASS: Final = {
    "fp8": Efficiency(memory=0.17, experts=0.50),
    "fp8_block": Efficiency(),
}
_WHY_NOT: Final = {
    (
        "l40s",
        "bfloat16",
    ): "the benchmark repeats one layer, whose slices of up to 96 MB stay in the "
    "L40S's second-level cache; a server's layers never do",
    ("l40s", "fp8"): "as with bfloat16: slices stay in the second-level cache",
    ("l40s", "fp8_block"): "as with bfloat16: slices stay in the second-level cache",
    ("h100_sxm", "fp8"): "the kernel's time falls with more tokens, from 1272 us for 16 to 946 us "
    "for 1024; no roofline does",
    ("h100_sxm", "fp8_block"): "rows of DeepSeek-V3 on one accelerator are faster than its memory "
    "can be read (128 experts of 44 MB in 1.03 ms are 5.5 TB/s)",
}


def kernel_rows(reference: Path, progress: Progress) -> list[Row]:
    """Return V5: median and 90th percentile of errors by accelerator, type and kernel."""
    progress("V5: 8,694 measured kernels")
    path = reference / "kernels" / "moe_kernel_latency.csv.gz"
    errors: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with reading(path):
        for cells in read_kernels(path):
            if int(cells["num_tokens"]) <= _MAX_TOKENS:
                kind = "CUTLASS" if "cutlass" in cells["kernel_source"] else "Triton"
                key = (cells["system"], cells["moe_dtype"], kind)
                errors[key].append(_error(cells, kind))
    rows = []
    for (system, dtype, kind), found in sorted(errors.items()):
        what = f"{GPU_OF_SYSTEM[system]}, {dtype}, {kind}, {len(found)} rows"
        set_here = ("share of memory bandwidth",) if (kind, dtype) == ("CUTLASS", "fp8") else ()
        for name, value, tolerance in (
            ("median error", float(np.median(found)), _MEDIAN),
            ("90 % of errors", float(np.quantile(found, 0.9)), _P90),
        ):
            note = _WHY_NOT.get((system, dtype), "") if value > tolerance else ""
            rows.append(
                Row(
                    "V5", f"{name}: {what}", 0.0, value, "%", value, tolerance, "percent",
                    set_here, note,
                )
            )  # fmt: skip
    return rows


def _error(cells: dict[str, str], kind: str) -> float:
    """Return the error of one kernel [%]."""
    tokens, n_experts = int(cells["num_tokens"]), int(cells["num_experts"])
    top_k, n_groups = int(cells["topk"]), int(cells["moe_ep_size"])
    slices, dtype = int(cells["moe_tp_size"]), cells["moe_dtype"]
    hidden, inner = int(cells["hidden_size"]), int(cells["inter_size"]) / int(cells["moe_tp_size"])
    if not 1 <= top_k <= n_experts <= 4096 or slices < 1 or not 1 <= n_groups <= n_experts:
        raise ValueError(f"{n_experts} experts of which {top_k} are used, in {n_groups} groups")
    loads = tokens_by_expert(tokens, n_experts, top_k, n_groups, cells["distribution"])
    is_wide = dtype == "bfloat16"
    modelled = experts_kernel_ns(
        gpu(GPU_OF_SYSTEM[cells["system"]]),
        _CUTLASS[dtype] if kind == "CUTLASS" else Efficiency(),
        loads,
        3.0 * hidden * inner,
        bits=16 if is_wide else 8,
        hidden=hidden,
        inner=inner,
        routed=float(tokens * top_k),
        eight_bit_math=not is_wide,
    )
    return 100.0 * abs(modelled / (float(cells["latency_ms"]) * _NS_PER_MS) - 1.0)


def read_kernels(path: Path) -> list[dict[str, str]]:
    """Return rows of a table of kernels, plain or gzipped.

    Raises:
      FileFormatError: It is not such a table.
      StorageError: It cannot be read.
    """
    with storage_errors(path, "read"), path.open("rb") as handle:
        content = handle.read(_MAX_BYTES + 1)
    if content[:2] == b"\x1f\x8b" or path.suffix == ".gz":
        # Not `gzip`: what it says of another file is an error of the system's.
        unpacker = zlib.decompressobj(wbits=_GZIP)
        try:
            content = unpacker.decompress(content, _MAX_BYTES)
        except zlib.error as error:
            raise FileFormatError(path, None, f"the file must be gzip; {error}") from None
        if not unpacker.eof:
            raise FileFormatError(path, None, "the file is cut off, or unpacks to too much")
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, None, f"the file must be CSV in UTF-8; {error}") from None
    for number, row in enumerate(rows, start=2):
        if any(row.get(name) is None for name in _COLUMNS):
            raise FileFormatError(
                path, number, f"a row must have the columns {', '.join(_COLUMNS)}; it has not"
            )
    if not rows:
        raise FileFormatError(path, None, "the file must hold measured kernels; it has none")
    return rows


@cache
def tokens_by_expert(
    n_tokens: int, n_experts: int, top_k: int, n_groups: int, distribution: str
) -> npt.NDArray[np.int64]:
    """Return tokens of each expert of the busiest accelerator, as the benchmark draws them.

    `balanced` gives all alike; `power_law_a` takes quantiles of the benchmark's power law with
    exponent a, and of experts dealt at random to `n_groups` accelerators the busiest.

    Source:
      AIConfigurator 0.12, the collector of experts kernels.
    """
    total = n_tokens * top_k
    if distribution == "balanced":
        counts = np.full(n_experts, total // n_experts)
        counts[: total % n_experts] += 1
        # Dealt out in turn, the first accelerator has the most.
        first: npt.NDArray[np.int64] = np.ascontiguousarray(counts[::n_groups], dtype=np.int64)
        return first
    exponent = 1.0 - float(distribution.rsplit("_", 1)[1])
    low, high = (1.0, max(1.001, 0.8 * n_tokens)) if total > n_experts else (0.01, 2.0)
    quantiles = (np.arange(n_experts) + 0.5) / n_experts
    drawn = ((high**exponent - low**exponent) * quantiles + low**exponent) ** (1.0 / exponent)
    share = drawn / drawn.sum() * total
    counts = np.floor(share + 0.5).astype(np.int64)
    # Rounding is made good by the largest, as the benchmark does.
    order = np.argsort(-share, kind="stable")
    missing = total - int(counts.sum())
    for place in range(abs(missing)):
        expert = order[place % n_experts]
        counts[expert] = max(0, counts[expert] + np.sign(missing))
    counts = np.minimum(counts, n_tokens)
    if n_groups == 1:
        return np.asarray(counts, dtype=np.int64)
    dealt = counts[np.random.default_rng(0).permutation(n_experts)].reshape(n_groups, -1)
    return np.asarray(dealt[np.argmax(dealt.sum(axis=1))], dtype=np.int64)


def experts_kernel_ns(
    gpu: Gpu,
    reached: Efficiency,
    tokens_by_expert: npt.NDArray[np.int64],
    expert_parameters: float,
    *,
    bits: float = 16,
    hidden: int,
    inner: float,
    routed: float | None = None,
    eight_bit_math: bool = False,
) -> float:
    """Return the time of a fused experts kernel with all weights in the accelerator's memory [ns].

    Args:
      gpu: The accelerator.
      reached: Its efficiency.
      tokens_by_expert: (n_experts,), how many tokens use each.
      expert_parameters: Weights of one expert, or of the slice of it that is here.
      bits: Bits of a weight.
      hidden: Size of a token's vector.
      inner: Inner size of an expert, or of the slice.
      routed: Routed copies of tokens, also of those that experts elsewhere compute; None for the
        sum of `tokens_by_expert`.
      eight_bit_math: True if matrix products use 8-bit units, twice as fast.
    """
    bandwidth = reached.memory * gpu.memory_gb_per_s
    peak = gpu.bf16_tflops * 1e3 * (2 if eight_bit_math else 1)
    n_active = int(np.count_nonzero(tokens_by_expert))
    tiles = -(-tokens_by_expert // reached.tile) * reached.tile
    weights_ns = n_active * expert_parameters * bits / _BITS_PER_BYTE / bandwidth
    compute_ns = 2.0 * expert_parameters * float(tiles.sum()) / (reached.experts * peak)
    copies = float(tokens_by_expert.sum()) if routed is None else routed
    moved = copies * ACTIVATION_BYTES * (reached.passes * hidden + 3 * inner)
    return reached.kernel_ns + max(weights_ns, compute_ns) + moved / bandwidth
