"""Metrics and objectives of the CPU simulator.

Area, energy and leakage are a proposal that nothing was compared with silicon: only ratios between
designs mean anything. Everything that a design sizes is an array of memory cells from CACTI's
table; the rest is logic that scales with widths.

Sources: arrays, CACTI 7 at 22 nm (`archgym.physics.arrays`); ports beyond the first,
area with the square and energy with the root of their number, as cells are limited by wires
(V. Zyuban, P. Kogge, *The energy complexity of register files*, ISLPED 1998); a DRAM transfer, as
the translation simulator has it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.physics.arrays import Array, cache_array, tlb_array
from archgym.physics.thermal import hottest_c
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import COUNTERS, TYPES, Core, Ideal
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.power import (
    NOMINAL_GHZ,
    NOMINAL_VOLTS,
    PREDICTOR_ARRAYS,
    PREDICTOR_BYTES,
    Structure,
    at_operating_point,
    hits_of,
    misses_of,
    structures,
)
from archgym.simulators.cpu.workloads.programs import InstructionTrace
from archgym.simulators.kit import MetricSpec, Objective, Term, parse_limits

AREA_LIMIT_MM2: Final = 12.0
"""chosen: about a fifth above the default design, below a twice as wide core."""
POWER_LIMIT_MW: Final = 4000.0
"""chosen: about a fifth above the default design at its best workload."""

CYCLE_NS: Final = 0.25
"""The model's clock is 4 GHz."""

# CACTI's TLB entries: 8 bytes of data and a tag of 49 bits.
_ENTRY_BYTES: Final = 14.0
# chosen: of the order of published 22 nm cores, where decode takes about 5 % of 8 mm2, four
# integer clusters about as much, and a bypass network half of it; only its growth matters.
_DECODE_MM2, _BYPASS_MM2, _EXECUTE_MM2 = 0.06, 0.006, 0.1
# chosen: some 10 pJ for an integer operation with its control at 22 nm (M. Horowitz, ISSCC 2014,
# gives 70 pJ for a whole instruction at 45 nm, of which arrays here are the larger part).
_DECODE_PJ, _EXECUTE_PJ, _BYPASS_PJ = 4.0, 5.0, 0.5
# chosen: leakage of logic per mm2 is that of CACTI's dense arrays at the same node.
_LOGIC_LEAKAGE_MW_PER_MM2: Final = 250.0
_DRAM_TRANSFER_PJ: Final = 15_000.0
# chosen: a DDR4 PHY and controller take about 2 mm2 and 150 mW per channel at 3200 MT/s.
CHANNEL_MM2, _CHANNEL_MW = 2.0, 150.0
_TARGET_BYTES: Final = 1024.0 * 8 * 8 + 4096 * 6

_MPKI: Final = "misses/kinstruction"
_RATE: Final = 1e-3
_LEVELS: Final = {"l1i": "L1I", "l1d": "L1D", "l2": "L2C", "llc": "LLC"}
_TLBS: Final = {"itlb": "ITLB", "dtlb": "DTLB", "stlb": "STLB"}
_DEMAND: Final = ("load", "rfo", "write", "translation")
_RATES: Final = {
    "branch": "Mispredicted branches.",
    "conditional": "Mispredicted conditional branches.",
    "indirect": "Mispredicted indirect jumps and calls.",
    "return": "Mispredicted returns.",
    **{
        level: f"Demand misses of the {name}, merged ones included."
        for level, name in {**_LEVELS, **_TLBS}.items()
    },
}
_SHARES: Final = {
    "prefetch_accuracy": "Prefetches that a demand access used.",
    "prefetch_coverage": "Demand misses that prefetches avoided or shortened.",
    "prefetch_timely": "Used prefetches that came in time.",
    "dram_row_hit": "DRAM transfers from an open row.",
}
_SLOTS: Final = {
    "retiring_percent": "Dispatch slots that instructions used.",
    "front_end_percent": "Dispatch slots lost as no instruction was there.",
    "bad_speculation_percent": "Dispatch slots lost to a misprediction and its refill.",
    "memory_bound_percent": "Dispatch slots lost behind an instruction that waits for memory.",
    "core_bound_percent": "Dispatch slots lost for want of other resources.",
}


_TIED: Final = {
    "ipc": "-total_cycles",
    "energy_per_instruction_pj": "power_mw * total_cycles",
    "energy_delay": "power_mw * total_cycles * total_cycles",
    "energy_delay_squared": "power_mw * total_cycles * total_cycles * total_cycles",
    "ipc_per_area": "-total_cycles * -area_mm2",
}
_SPECS: Final = (
    MetricSpec("total_cycles", "cycles", "minimise", 1.0, "Cycles of the counted instructions."),
    MetricSpec("ipc", "instructions/cycle", "maximise", 1e-4, "Instructions per cycle."),
    MetricSpec("energy_per_instruction_pj", "pJ", "minimise", 0.1, "Energy per instruction."),
    MetricSpec("power_mw", "mW", "minimise", 0.1, "Mean power; unvalidated, for ratios only."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-3, "Area; unvalidated, for ratios only."),
    MetricSpec("energy_delay", "pJ ns", "minimise", 0.1, "Energy times delay per instruction."),
    MetricSpec("energy_delay_squared", "pJ ns2", "minimise", 0.1, "Energy times squared delay."),
    MetricSpec("ipc_per_area", "instructions/cycle/mm2", "maximise", 1e-5, "Performance per area."),
    *(MetricSpec(f"{name}_mpki", _MPKI, "none", _RATE, doc) for name, doc in _RATES.items()),
    *(MetricSpec(f"{name}_percent", "%", "none", 1e-2, doc) for name, doc in _SHARES.items()),
    MetricSpec("dram_bandwidth_gb_per_s", "GB/s", "none", 1e-3, "Mean data rate of the DRAM."),
    MetricSpec("mean_l1d_miss_latency_cycles", "cycles", "none", 0.1, "Mean time of an L1D miss."),
    *(MetricSpec(name, "%", "none", 1e-2, doc) for name, doc in _SLOTS.items()),
)
METRICS: Final = tuple(replace(spec, tied=_TIED.get(spec.name, "")) for spec in _SPECS)

_STRUCTURAL_DOCS: Final = {
    "power_mw": "Mean power, by structure.",
    "area_mm2": "Area, by structure.",
}
STRUCTURAL_METRICS: Final[tuple[MetricSpec, ...]] = (
    *(replace(spec, doc=_STRUCTURAL_DOCS.get(spec.name, spec.doc)) for spec in METRICS),
    MetricSpec(
        "giga_instructions_per_s",
        "1e9/s",
        "maximise",
        1e-4,
        "Instructions in a nanosecond.",
        tied="-total_cycles",
    ),
    MetricSpec("dynamic_power_mw", "mW", "none", 0.1, "Switching in cores and caches."),
    MetricSpec("leakage_power_mw", "mW", "none", 0.1, "Leakage of cores and caches."),
)
"""Metrics where the structural model gives area and power."""
# chosen: a window ends at most this many instructions late.
_STEP: Final = 64


@final
@dataclass(frozen=True)
class Operation:
    """Technology and operating point of the structural model of area and power.

    Attributes:
      node: One of `archgym.physics.economics.NODES`.
      ghz: The core's clock.
      volts: Its supply; 0.8 V is nominal.
    """

    node: str
    ghz: float = NOMINAL_GHZ
    volts: float = NOMINAL_VOLTS


def on_and_off_chip(
    machine: Machine,
    counts: Mapping[str, float],
    operation: Operation,
    n_cores: int = 1,
    dram_pj: float | None = None,
) -> tuple[Structure, ...]:
    """Return the structures of a processor at a node, clock and supply, its channels and its DRAM.

    Args:
      machine: Every parameter.
      counts: Counters of `run`, of all cores together.
      operation: Node, clock and supply.
      n_cores: Cores.
      dram_pj: Energy of the DRAM; None for a constant energy per transfer.
    """
    built = structures(machine, counts, n_cores)
    memory = _transfers_pj(counts) if dram_pj is None else dram_pj
    channels = CHANNEL_MM2 * machine["DRAM.channels"]
    return (
        *at_operating_point(built, operation.node, operation.volts),
        Structure("dram-channels", channels, _channels_mw(machine), 0.0),
        Structure("dram", 0.0, 0.0, memory),
    )


def breakdown(
    machine: Machine,
    counters: Ints | None,
    operation: Operation,
    dram_pj: float | None = None,
    core_cycles: Sequence[int] = (),
) -> Mapping[str, Mapping[str, float]]:
    """Return area and power of each structure, and cycles by where dispatch slots go.

    Args:
      machine: Every parameter.
      counters: (n_counters,), of `run`; None for the area alone.
      operation: Node, clock and supply.
      dram_pj: Energy of the DRAM, where it was simulated [pJ].
      core_cycles: Cycles of each core, where there are several.
    """
    values = [0] * len(COUNTERS) if counters is None else counters.tolist()
    counts = dict(zip(COUNTERS, values, strict=True))
    n_cores = max(1, len(core_cycles))
    found = on_and_off_chip(machine, counts, operation, n_cores, dram_pj)
    parts = {"area_mm2": {each.name: each.area_mm2 for each in found if each.area_mm2}}
    if counters is not None:
        time_ns = counts["cycles"] / operation.ghz
        parts["power_mw"] = {
            each.name: each.leakage_mw + each.energy_pj / time_ns for each in found
        }
        parts["total_cycles"] = {
            name.removesuffix("_percent").replace("_", "-"): counts["cycles"] * share / 100.0
            for name, share in _top_down(machine, counts, core_cycles).items()
        }
    return parts


def measures(
    machine: Machine,
    counters: Ints,
    dram_pj: float | None = None,
    core_cycles: Sequence[int] = (),
    operation: Operation | None = None,
) -> npt.NDArray[np.float64]:
    """Return the metrics of a run, (n_metrics,).

    Args:
      machine: Every parameter.
      counters: (n_counters,), of `run`.
      dram_pj: Energy of the DRAM, where it was simulated [pJ].
      core_cycles: Cycles of each core, where there are several.
      operation: Node, clock and supply of the structural model, which adds the last metrics of
        `STRUCTURAL_METRICS`; None for arrays alone.
    """
    counts = dict(zip(COUNTERS, counters.tolist(), strict=True))
    n, cycles = counts["instructions"], counts["cycles"]
    kilo = n / 1000.0
    n_cores = max(1, len(core_cycles))
    cycle_ns = CYCLE_NS if operation is None else 1.0 / operation.ghz
    further: dict[str, float] = {}
    if operation is None:
        area, energy = of_arrays(machine, counts, n_cores, dram_pj)
    else:
        built = on_and_off_chip(machine, counts, operation, n_cores, dram_pj)
        area = sum(each.area_mm2 for each in built)
        *chip, channels, memory = built
        dynamic = sum(each.energy_pj for each in chip)
        leakage = sum(each.leakage_mw for each in chip)
        static = (leakage + channels.leakage_mw) * cycles * cycle_ns
        energy = dynamic + static + memory.energy_pj
        further = {
            "giga_instructions_per_s": n / (cycles * cycle_ns),
            "dynamic_power_mw": dynamic / (cycles * cycle_ns),
            "leakage_power_mw": leakage,
        }
    per_instruction, delay_ns = energy / n, cycles * cycle_ns / n
    values: dict[str, float] = {
        "total_cycles": cycles,
        "ipc": n / cycles,
        "energy_per_instruction_pj": per_instruction,
        "power_mw": energy / (cycles * cycle_ns),
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
    values |= _prefetching(counts) | _memory(counts, cycle_ns)
    values |= _top_down(machine, counts, core_cycles)
    return np.array([*(values[spec.name] for spec in METRICS), *further.values()])


def run_in_windows(
    machine: Machine,
    trace: InstructionTrace,
    warmup: int,
    length: int,
    ideal: Ideal | None,
    cycles: int,
) -> tuple[Ints, tuple[Ints, ...]] | None:
    """Return the counters of a whole run as `run` does, and those at the end of each window.

    Args:
      machine: Every parameter.
      trace: Program.
      warmup: Instructions before counting.
      length: Instructions that are counted.
      ideal: Costs that are free; None for none.
      cycles: Cycles of a window, which ends with the first 64 instructions that reach them.

    Returns:
      None if the machine never ends. Less than half a window at the end joins the one before.
    """
    core = Core(machine, trace, warmup, length, ideal)
    ends: list[Ints] = []
    begun = 0
    is_over = False
    while not is_over:
        retired = core.n_retired
        core.advance(retired + _STEP)
        is_over = core.is_over
        if core.n_retired == retired:
            return None
        if is_over or core.n_cycles - begun >= cycles:
            counters = core.finish()
            if counters is None:
                return None
            if is_over and ends and core.n_cycles - begun < cycles // 2:
                ends.pop()
            ends.append(counters)
            begun = core.n_cycles
    return ends[-1], tuple(ends)


def peaks(
    machine: Machine, ends: tuple[Ints, ...], operation: Operation, sink_k_per_w: float
) -> tuple[float, float]:
    """Return the largest power of a window [mW], and the highest temperature of a structure [C].

    The chip has run for long at its mean power before, under HotSpot's default spreader and sink.

    Args:
      machine: Every parameter.
      ends: Counters at the end of each window, as `run_in_windows` returns them.
      operation: Node, clock and supply.
      sink_k_per_w: Resistance from the heat sink to the air [K/W].
    """
    watts, seconds = [], []
    for before, after in pairwise((np.zeros_like(ends[0]), *ends)):
        counts = dict(zip(COUNTERS, (after - before).tolist(), strict=True))
        time_ns = counts["cycles"] / operation.ghz
        found = on_and_off_chip(machine, counts, operation)
        watts.append([1e-3 * (each.leakage_mw + each.energy_pj / time_ns) for each in found])
        seconds.append(1e-9 * time_ns)
    areas = {each.name: each.area_mm2 for each in found}
    lengths = np.full(len(watts), np.mean(seconds))
    hottest = hottest_c(np.array(watts), lengths, areas, sink_k_per_w)
    return 1e3 * float(np.sum(watts, axis=1).max()), hottest


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


def _memory(counts: Mapping[str, int], cycle_ns: float) -> dict[str, float]:
    hits = counts["DRAM_rq_row_hit"] + counts["DRAM_wq_row_hit"]
    transfers = hits + counts["DRAM_rq_row_miss"] + counts["DRAM_wq_row_miss"]
    filled = sum(
        counts[f"L1D_{t}_miss"] - counts[f"L1D_{t}_merge"] for t in ("load", "write", "translation")
    )
    return {
        "dram_row_hit_percent": _percent(hits, transfers),
        "dram_bandwidth_gb_per_s": 64.0 * transfers / (counts["cycles"] * cycle_ns),
        "mean_l1d_miss_latency_cycles": counts["L1D_miss_latency"] / filled if filled > 0 else 0.0,
    }


def _top_down(
    machine: Machine, counts: Mapping[str, int], core_cycles: Sequence[int]
) -> dict[str, float]:
    """Return where dispatch slots go; the five sum to 100 %."""
    slots = machine["CPU.dispatch_width"] * (sum(core_cycles) or counts["cycles"])
    names = list(_SLOTS)[1:]
    lost = {
        name: counts[f"slots_{name.removesuffix('_percent').removesuffix('_bound')}"]
        for name in names
    }
    shares = {"retiring_percent": slots - sum(lost.values()), **lost}
    return {name: _percent(part, slots) for name, part in shares.items()}


_IPC: Final = Term("ipc", "maximise")
_ENERGY: Final = Term("energy_per_instruction_pj", "minimise")
_ENERGY_DELAY: Final = Term("energy_delay", "minimise")
_ENERGY_DELAY_SQUARED: Final = Term("energy_delay_squared", "minimise")
_PER_AREA: Final = Term("ipc_per_area", "maximise")
_AREA: Final = Term("area_mm2", "minimise")
_WITHIN: Final = f"IPC within {AREA_LIMIT_MM2:g} mm2 and {POWER_LIMIT_MW:g} mW."
_LIMITS: Final = parse_limits(
    f"area_mm2 <= {AREA_LIMIT_MM2:g}, power_mw <= {POWER_LIMIT_MW:g}", METRICS
)
_OBJECTIVES: Final = (
    Objective("performance-under-limits", (_IPC,), _WITHIN, _LIMITS),
    Objective("performance", (_IPC,), "IPC; over several workloads their geometric mean."),
    Objective("energy", (_ENERGY,), "Energy per instruction."),
    Objective("edp", (_ENERGY_DELAY,), "Energy times delay."),
    Objective("ed2p", (_ENERGY_DELAY_SQUARED,), "Energy times squared delay."),
    Objective("performance-per-area", (_PER_AREA,), "IPC per mm2."),
    Objective(
        "performance-energy-area",
        (_IPC, _ENERGY, _AREA),
        "IPC, energy and area, alike; see a front.",
    ),
)
OBJECTIVES: Final[Mapping[str, Objective]] = {o.name: o for o in _OBJECTIVES}

STRUCTURAL_AREA_MM2, STRUCTURAL_POWER_MW = 20.0, 8000.0
"""chosen: about a tenth above the default design by the structural model, in area and in power."""
_SPEED: Final = Term("giga_instructions_per_s", "maximise")
_PRICE, _CARBON = Term("dollars", "minimise"), Term("total_kg_co2", "minimise")
_STRUCTURAL: Final = (
    Objective(
        "performance-under-limits",
        (_SPEED,),
        f"Instructions a second within {STRUCTURAL_AREA_MM2:g} mm2 and {STRUCTURAL_POWER_MW:g} mW.",
        parse_limits(
            f"area_mm2 <= {STRUCTURAL_AREA_MM2:g}, power_mw <= {STRUCTURAL_POWER_MW:g}", METRICS
        ),
    ),
    Objective("performance", (_SPEED,), "Instructions a second."),
    Objective(
        "performance-power-price-carbon",
        (_SPEED, Term("power_mw", "minimise"), _PRICE, _CARBON),
        "Speed, power, price and carbon, alike; see a front.",
    ),
    Objective("performance-per-area", (_SPEED, _AREA), "Speed and area, alike."),
    Objective(
        "performance-energy-area",
        (_SPEED, _ENERGY, _AREA),
        "Speed, energy and area, alike; see a front.",
    ),
    Objective("performance-per-dollar", (_SPEED, _PRICE), "Speed and price, alike."),
)
STRUCTURAL_OBJECTIVES: Final[Mapping[str, Objective]] = {
    **{name: OBJECTIVES[name] for name in ("energy", "edp", "ed2p")},
    **{o.name: o for o in _STRUCTURAL},
}
"""Objectives where the structural model gives area and power."""


def _part(name: str, array: Array, accesses: float) -> Structure:
    """Return the structure of an array, with the energy of its accesses."""
    return Structure(name, array.area_mm2, array.leakage_mw, array.read_pj * accesses)


def _small(size_bytes: float, ports: int) -> Array:
    """Return an array of the core with this number of ports."""
    return _ported(tlb_array(max(1, round(size_bytes / _ENTRY_BYTES))), ports)


def _ported(one: Array, ports: int) -> Array:
    """Return an array with several ports instead of one."""
    area, read, leakage, access = one
    return Array(area * ports * ports, read * math.sqrt(ports), leakage * ports, access)


def parts(machine: Machine, counts: Mapping[str, float], n_cores: int = 1) -> list[Structure]:
    """Return the structures of a machine as arrays alone, with the energy of a run.

    Args:
      machine: Every parameter.
      counts: Counters of `run`, of all cores together.
      n_cores: Cores, each with all of it but the last level.
    """
    cpu = {name.removeprefix("CPU."): v for name, v in machine.items() if name.startswith("CPU.")}
    n = counts["instructions"]
    branches = sum(v for name, v in counts.items() if name.startswith("br_"))
    loads, stores = counts["CPU_loads"], counts["CPU_stores"]
    operands = counts["CPU_sources"] + counts["CPU_destinations"]
    decoded = counts["CPU_dib_lookups"] - counts["CPU_dib_hits"]
    execute, dispatch = cpu["execute_width"], cpu["dispatch_width"]
    found = [
        _part("rob", _small(16.0 * cpu["rob"], dispatch + cpu["retire_width"]), 2 * n),
        _part(
            "scheduler",
            _small(8.0 * cpu["scheduler"], execute + dispatch),
            # Every destination is compared with all entries: an eighth of an access each.
            2 * n + counts["CPU_destinations"] * cpu["scheduler"] / 8.0,
        ),
        _part("registers", _small(8.0 * cpu["registers"], 3 * execute), operands),
        _part("rename", _small(90.0, 2 * dispatch), operands),
        _part("load-queue", _small(16.0 * cpu["lq"], cpu["lq_width"]), loads + stores),
        _part("store-queue", _small(16.0 * cpu["sq"], cpu["sq_width"]), stores + loads),
        _part(
            "decoded-buffer",
            _small(2.0 * cpu["dib_sets"] * cpu["dib_ways"] * cpu["dib_window"], 1),
            n + decoded,
        ),
        _part(
            "predictor",
            _small(PREDICTOR_BYTES[cpu["branch_predictor"]], 1),
            # The hashed perceptron reads sixteen arrays at once.
            2 * branches * math.sqrt(sum(map(len, PREDICTOR_ARRAYS[cpu["branch_predictor"]]))),
        ),
        _part("targets", _small(_TARGET_BYTES, 1), n / max(1, cpu["fetch_width"]) + branches),
    ]
    for cache in ("L1I", "L1D", "L2C", "LLC"):
        kib = machine[f"{cache}.sets"] * machine[f"{cache}.ways"] / 16.0
        whole = cache_array(max(1, round(kib)))
        # CACTI's smallest caches read all ways, as an L1 does; the L2 and LLC read one.
        ports = machine[f"{cache}.tag_bw"] if cache.startswith("L1") else 1
        found.append(_part(cache, _ported(whole, ports), _looked_up(cache, counts)))
        entries = machine[f"{cache}.mshr"] + machine[f"{cache}.rq"] + machine[f"{cache}.wq"]
        found.append(_part(f"{cache}-queues", _small(16.0 * entries, 1), misses_of(counts, cache)))
    for tlb in ("ITLB", "DTLB", "STLB"):
        entries = machine[f"{tlb}.sets"] * machine[f"{tlb}.ways"]
        array = _ported(tlb_array(entries), machine[f"{tlb}.tag_bw"])
        found.append(_part(tlb, array, _looked_up(tlb, counts)))
    return [part if part.name.startswith("LLC") else part.times(n_cores) for part in found]


def _looked_up(cache: str, counts: Mapping[str, float]) -> float:
    """Return look-ups and fills."""
    merges = sum(counts[f"{cache}_{kind}_merge"] for kind in TYPES)
    return hits_of(counts, cache) + 2 * misses_of(counts, cache) - merges


def _logic_mm2(machine: Machine, n_cores: int) -> float:
    execute = machine["CPU.execute_width"]
    return n_cores * (
        _DECODE_MM2 * machine["CPU.decode_width"]
        + _BYPASS_MM2 * execute * execute
        + _EXECUTE_MM2 * execute
    )


def _channels_mw(machine: Machine) -> float:
    """Return the power of the DRAM's channels on the chip."""
    return _CHANNEL_MW * machine["DRAM.data_rate"] / 3200.0 * machine["DRAM.channels"]


def _transfers_pj(counts: Mapping[str, float]) -> float:
    """Return the energy of the DRAM's transfers where it was not simulated."""
    return _DRAM_TRANSFER_PJ * sum(
        counts[f"DRAM_{queue}_row_{outcome}"]
        for queue in ("rq", "wq")
        for outcome in ("hit", "miss")
    )


def of_arrays(
    machine: Machine, counts: Mapping[str, float], n_cores: int = 1, dram_pj: float | None = None
) -> tuple[float, float]:
    """Return area [mm2] and energy [pJ] by arrays alone, as `on_and_off_chip`."""
    found, logic_mm2 = parts(machine, counts, n_cores), _logic_mm2(machine, n_cores)
    area = sum(each.area_mm2 for each in found) + logic_mm2
    leakage = sum(each.leakage_mw for each in found) + _LOGIC_LEAKAGE_MW_PER_MM2 * logic_mm2
    used = _DECODE_PJ + _EXECUTE_PJ + _BYPASS_PJ * machine["CPU.execute_width"]
    dynamic = sum(each.energy_pj for each in found) + counts["instructions"] * used
    dynamic += _transfers_pj(counts) if dram_pj is None else dram_pj
    static = (leakage + _channels_mw(machine)) * (counts["cycles"] * CYCLE_NS)
    return area + CHANNEL_MM2 * machine["DRAM.channels"], dynamic + static
