"""Row V5: fused experts kernels that were measured on H100 and L40S."""

from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np

from archgym.simulators.moe.machine.efficiency import Efficiency
from archgym.simulators.moe.machine.hardware import gpu
from archgym.simulators.moe.machine.measured import GPU_OF_SYSTEM, read_kernels, tokens_by_expert
from archgym.simulators.moe.machine.timing import experts_kernel_ns
from evidence.moe.row import Progress, Row, reading

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
