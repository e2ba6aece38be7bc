"""Metrics and objectives of the CPU simulator."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.evaluation.limits import parse_limits
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.simulators.cpu.physics import (
    CYCLE_NS,
    energy_pj,
    parts,
    total_area_mm2,
)
from archgym.simulators.cpu.run import COUNTERS

AREA_LIMIT_MM2: Final = 12.0
"""chosen: about a fifth above the default design, below a twice as wide core."""
POWER_LIMIT_MW: Final = 4000.0
"""chosen: about a fifth above the default design at its best workload."""

_MPKI: Final = "misses/kinstruction"
_RATE: Final = 1e-3
_LEVELS: Final = {"l1i": "L1I", "l1d": "L1D", "l2": "L2C", "llc": "LLC"}
_TLBS: Final = {"itlb": "ITLB", "dtlb": "DTLB", "stlb": "STLB"}
_TYPES: Final = ("load", "rfo", "prefetch", "write", "translation")
_DEMAND: Final = ("load", "rfo", "write", "translation")
_SLOTS: Final = {
    "retiring_percent": "Dispatch slots that instructions used.",
    "front_end_percent": "Dispatch slots lost as no instruction was there.",
    "bad_speculation_percent": "Dispatch slots lost to a misprediction and its refill.",
    "memory_bound_percent": "Dispatch slots lost behind an instruction that waits for memory.",
    "core_bound_percent": "Dispatch slots lost for want of other resources.",
}


def _rates() -> tuple[MetricSpec, ...]:
    found = [
        MetricSpec("branch_mpki", _MPKI, "none", _RATE, "Mispredicted branches."),
        MetricSpec("conditional_mpki", _MPKI, "none", _RATE, "Mispredicted conditional branches."),
        MetricSpec("indirect_mpki", _MPKI, "none", _RATE, "Mispredicted indirect jumps and calls."),
        MetricSpec("return_mpki", _MPKI, "none", _RATE, "Mispredicted returns."),
    ]
    for level, name in {**_LEVELS, **_TLBS}.items():
        doc = f"Demand misses of the {name}, merged ones included."
        found.append(MetricSpec(f"{level}_mpki", _MPKI, "none", _RATE, doc))
    return tuple(found)


METRICS: Final[tuple[MetricSpec, ...]] = (
    MetricSpec("total_cycles", "cycles", "minimise", 1.0, "Cycles of the counted instructions."),
    MetricSpec("ipc", "instructions/cycle", "maximise", 1e-4, "Instructions per cycle."),
    MetricSpec("energy_per_instruction_pj", "pJ", "minimise", 0.1, "Energy per instruction."),
    MetricSpec("power_mw", "mW", "minimise", 0.1, "Mean power; unvalidated, for ratios only."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-3, "Area; unvalidated, for ratios only."),
    MetricSpec("energy_delay", "pJ ns", "minimise", 0.1, "Energy times delay per instruction."),
    MetricSpec("energy_delay_squared", "pJ ns2", "minimise", 0.1, "Energy times squared delay."),
    MetricSpec("ipc_per_area", "instructions/cycle/mm2", "maximise", 1e-5, "Performance per area."),
    *_rates(),
    MetricSpec(
        "prefetch_accuracy_percent", "%", "none", 1e-2, "Prefetches that a demand access used."
    ),
    MetricSpec(
        "prefetch_coverage_percent",
        "%",
        "none",
        1e-2,
        "Demand misses that prefetches avoided or shortened.",
    ),
    MetricSpec("prefetch_timely_percent", "%", "none", 1e-2, "Used prefetches that came in time."),
    MetricSpec("dram_row_hit_percent", "%", "none", 1e-2, "DRAM transfers from an open row."),
    MetricSpec("dram_bandwidth_gb_per_s", "GB/s", "none", 1e-3, "Mean data rate of the DRAM."),
    MetricSpec("mean_l1d_miss_latency_cycles", "cycles", "none", 0.1, "Mean time of an L1D miss."),
    *(MetricSpec(name, "%", "none", 1e-2, doc) for name, doc in _SLOTS.items()),
)


def measures(
    machine: Mapping[str, int],
    counters: npt.NDArray[np.int64],
    dram_pj: float | None = None,
    core_cycles: Sequence[int] = (),
) -> npt.NDArray[np.float64]:
    """Return the metrics of a run, (n_metrics,).

    Args:
      machine: Every parameter.
      counters: (n_counters,), of `run`.
      dram_pj: Energy of the DRAM, where it was simulated [pJ].
      core_cycles: Cycles of each core, where there are several.
    """
    counts = dict(zip(COUNTERS, counters.tolist(), strict=True))
    n, cycles = counts["instructions"], counts["cycles"]
    kilo = n / 1000.0
    n_cores = max(1, len(core_cycles))
    found = parts(machine, counts, n_cores)
    area = total_area_mm2(machine, found, n_cores)
    energy = energy_pj(machine, counts, found, dram_pj, n_cores)
    per_instruction, delay_ns = energy / n, cycles * CYCLE_NS / n
    values: dict[str, float] = {
        "total_cycles": cycles,
        "ipc": n / cycles,
        "energy_per_instruction_pj": per_instruction,
        "power_mw": energy / (cycles * CYCLE_NS),
        "area_mm2": area,
        "energy_delay": per_instruction * delay_ns,
        "energy_delay_squared": per_instruction * delay_ns**2,
        "ipc_per_area": n / cycles / area,
        "branch_mpki": sum(v for k, v in counts.items() if k.startswith("mp_")) / kilo,
        "conditional_mpki": (counts["mp_conditional"] + counts["mp_other"]) / kilo,
        "indirect_mpki": (counts["mp_indirect"] + counts["mp_indirect_call"]) / kilo,
        "return_mpki": counts["mp_return"] / kilo,
    }
    for level, name in {**_LEVELS, **_TLBS}.items():
        values[f"{level}_mpki"] = sum(counts[f"{name}_{t}_miss"] for t in _DEMAND) / kilo
    values |= _prefetching(counts) | _memory(counts) | _top_down(machine, counts, core_cycles)
    return np.array([values[spec.name] for spec in METRICS])


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole > 0 else 0.0


def _prefetching(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the quality of the prefetchers over all caches; 0 without one."""
    used = sum(counts[f"{name}_pf_useful"] for name in _LEVELS.values())
    late = sum(counts[f"{name}_pf_late"] for name in _LEVELS.values())
    # What was prefetched in the warm-up may be used later, so that used may exceed issued.
    issued = max(used, sum(counts[f"{name}_pf_issued"] for name in _LEVELS.values()))
    prefetching = [name for name in _LEVELS.values() if counts[f"{name}_pf_requested"]]
    missed = sum(
        counts[f"{name}_{t}_miss"] - counts[f"{name}_{t}_merge"]
        for name in prefetching
        for t in _DEMAND
    )
    return {
        "prefetch_accuracy_percent": _percent(used, issued),
        "prefetch_coverage_percent": _percent(used, used + missed),
        "prefetch_timely_percent": _percent(used - late, used),
    }


def _memory(counts: Mapping[str, int]) -> dict[str, float]:
    hits = counts["DRAM_rq_row_hit"] + counts["DRAM_wq_row_hit"]
    transfers = hits + counts["DRAM_rq_row_miss"] + counts["DRAM_wq_row_miss"]
    filled = sum(
        counts[f"L1D_{t}_miss"] - counts[f"L1D_{t}_merge"] for t in ("load", "write", "translation")
    )
    return {
        "dram_row_hit_percent": _percent(hits, transfers),
        "dram_bandwidth_gb_per_s": 64.0 * transfers / (counts["cycles"] * CYCLE_NS),
        "mean_l1d_miss_latency_cycles": counts["L1D_miss_latency"] / filled if filled > 0 else 0.0,
    }


def _top_down(
    machine: Mapping[str, int], counts: Mapping[str, int], core_cycles: Sequence[int]
) -> dict[str, float]:
    """Return where dispatch slots go; the five sum to 100 %."""
    slots = machine["CPU.dispatch_width"] * (sum(core_cycles) or counts["cycles"])
    lost = {
        "front_end_percent": counts["slots_front_end"],
        "bad_speculation_percent": counts["slots_bad_speculation"],
        "memory_bound_percent": counts["slots_memory"],
        "core_bound_percent": counts["slots_core"],
    }
    used = slots - sum(lost.values())
    return {"retiring_percent": _percent(used, slots)} | {
        name: _percent(part, slots) for name, part in lost.items()
    }


def _objectives() -> Mapping[str, Objective]:
    ipc = Term("ipc", "maximise")
    energy = Term("energy_per_instruction_pj", "minimise")
    limits = parse_limits(
        f"area_mm2 <= {AREA_LIMIT_MM2:g}, power_mw <= {POWER_LIMIT_MW:g}", METRICS
    )
    found = (
        Objective(
            "performance-under-limits",
            (ipc,),
            f"IPC within {AREA_LIMIT_MM2:g} mm2 and {POWER_LIMIT_MW:g} mW.",
            limits,
        ),
        Objective("performance", (ipc,), "IPC; over several workloads their geometric mean."),
        Objective("energy", (energy,), "Energy per instruction."),
        Objective("edp", (Term("energy_delay", "minimise"),), "Energy times delay."),
        Objective(
            "ed2p", (Term("energy_delay_squared", "minimise"),), "Energy times squared delay."
        ),
        Objective("performance-per-area", (Term("ipc_per_area", "maximise"),), "IPC per mm2."),
        Objective(
            "performance-energy-area",
            (ipc, energy, Term("area_mm2", "minimise")),
            "IPC, energy and area, alike; see a front.",
        ),
    )
    return {objective.name: objective for objective in found}


OBJECTIVES: Final = _objectives()
