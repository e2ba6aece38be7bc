"""Experts kernels that were measured, in place of their rooflines.

A table has a row for each measurement, with the columns of AIConfigurator's: `system`,
`hidden_size`, `inter_size`, `topk`, `num_experts`, `moe_dtype`, `moe_tp_size`, `moe_ep_size`,
`distribution`, `num_tokens`, `latency_ms`. What is kept is measured over modelled time by tokens of
a step, which runs multiply their kernels by.
"""

import csv
import io
import math
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
from archgym.simulators.moe.machine.efficiency import efficiency
from archgym.simulators.moe.machine.hardware import Gpu
from archgym.simulators.moe.machine.models import MoeModel
from archgym.simulators.moe.machine.timing import experts_kernel_ns

GPU_OF_SYSTEM: Final[Mapping[str, str]] = {"h100_sxm": "h100-sxm", "l40s": "l40s"}
"""AIConfigurator's names of accelerators and ours; other names are taken as ours."""
_MAX_BYTES: Final = 2**26
_GZIP: Final = 31  # zlib's window of 2**15 bytes, with the heading of gzip
_COLUMNS: Final = (
    "system", "hidden_size", "inter_size", "topk", "num_experts", "moe_dtype", "moe_tp_size",
    "moe_ep_size", "distribution", "num_tokens", "latency_ms",
)  # fmt: skip
_BITS: Final = {"bfloat16": 16, "float16": 16, "fp8": 8, "fp8_block": 8}
_NS_PER_MS: Final = 1e6
_MAX_TOKENS: Final = 2**20


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


def measured_ratios(
    path: str | Path, gpu: Gpu, model: MoeModel
) -> Mapping[int, npt.NDArray[np.float64]]:
    """Return measured over modelled time of a model's kernels, by bits of a weight.

    Where several kernels were measured, the fastest counts; distributions are averaged.

    Args:
      path: The table.
      gpu: The accelerator.
      model: The model, whose experts must be whole in the table.

    Returns:
      Bits to (2, n) float64: tokens of a step, rising, and the ratio.

    Raises:
      FileFormatError: It is not such a table, or has no row of both.
      StorageError: It cannot be read.
    """
    path = Path(path)
    best: dict[int, dict[tuple[int, str], float]] = defaultdict(dict)
    for number, row in enumerate(read_kernels(path), start=2):
        if not _is_named(row["system"], gpu):
            continue
        try:
            shape = tuple(int(row[name]) for name in _COLUMNS[1:5])
            slices = (int(row["moe_tp_size"]), int(row["moe_ep_size"]))
            tokens, latency_ns = int(row["num_tokens"]), float(row["latency_ms"]) * _NS_PER_MS
        except ValueError as error:
            raise FileFormatError(path, number, f"a row must hold numbers; {error}") from None
        bits = _BITS.get(row["moe_dtype"])
        wanted = (model.hidden, model.expert_inner, model.top_k, model.experts)
        if shape != wanted or slices != (1, 1) or bits is None:
            continue
        if not (1 <= tokens <= _MAX_TOKENS and 0 < latency_ns < math.inf):
            raise FileFormatError(path, number, "tokens and latency must be above 0; they are not")
        key = (tokens, row["distribution"])
        best[bits][key] = min(latency_ns, best[bits].get(key, math.inf))
    if not best:
        raise FileFormatError(
            path, None, f"it must have kernels of {model.name} on {gpu.name}; it has none"
        )
    return {bits: _ratios(found, gpu, model, bits) for bits, found in best.items()}


def _is_named(system: str, gpu: Gpu) -> bool:
    """Return True if a table's hardware is this GPU, by its own name or a table's spelling."""
    plain = system.strip().lower().replace("_", "-").replace(" ", "-")
    return gpu.name in (system, GPU_OF_SYSTEM.get(system), plain, plain.removesuffix("-sxm"))


def _ratios(
    found: Mapping[tuple[int, str], float], gpu: Gpu, model: MoeModel, bits: int
) -> npt.NDArray[np.float64]:
    by_tokens: dict[int, list[float]] = defaultdict(list)
    for (tokens, distribution), latency_ns in found.items():
        modelled = experts_kernel_ns(
            gpu,
            efficiency(gpu),
            tokens_by_expert(tokens, model.experts, model.top_k, 1, distribution),
            model.expert_parameters,
            bits=bits,
            hidden=model.hidden,
            inner=model.expert_inner,
        )
        by_tokens[tokens].append(latency_ns / modelled)
    rising = sorted(by_tokens)
    return np.array([rising, [float(np.mean(by_tokens[tokens])) for tokens in rising]])


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
