"""Area, energy and leakage of a machine: a proposal that nothing was compared with silicon.

Only ratios between designs mean anything. Everything that a design sizes is an array of memory
cells from CACTI's table; the rest is logic that scales with widths.

Sources: arrays, CACTI 7 at 22 nm (`archgym.simulators.translation.cacti`); ports beyond the
first, area with the square and energy with the root of their number, as cells are limited by
wires (V. Zyuban, P. Kogge, *The energy complexity of register files*, ISLPED 1998); a DRAM
transfer, as the translation simulator has it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from archgym.simulators.translation.cacti import Array, cache_array, tlb_array

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
_CHANNEL_MM2, _CHANNEL_MW = 2.0, 150.0
_PREDICTOR_BYTES: Final = (4096.0, 4096.0, 163.0 * 25, 65536.0)
_TARGET_BYTES: Final = 1024.0 * 8 * 8 + 4096 * 6


@final
@dataclass(frozen=True)
class Part:
    """One structure: its array with ports, and how often it is accessed."""

    name: str
    array: Array
    accesses: float

    def times(self, n: int) -> "Part":
        """Return so many such arrays, which share the accesses."""
        a = self.array
        return Part(
            self.name,
            Array(n * a.area_mm2, a.read_pj, n * a.leakage_mw, a.access_ns),
            self.accesses,
        )


def _small(size_bytes: float, ports: int) -> Array:
    """Return an array of the core with so many ports."""
    one = tlb_array(max(1, round(size_bytes / _ENTRY_BYTES)))
    return _ported(one, ports)


def _ported(one: Array, ports: int) -> Array:
    return Array(
        one.area_mm2 * ports * ports,
        one.read_pj * math.sqrt(ports),
        one.leakage_mw * ports,
        one.access_ns,
    )


def parts(machine: Mapping[str, int], counts: Mapping[str, float], n_cores: int = 1) -> list[Part]:
    """Return the structures of a machine with their accesses in a run.

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
        Part("rob", _small(16.0 * cpu["rob"], dispatch + cpu["retire_width"]), 2 * n),
        Part(
            "scheduler",
            _small(8.0 * cpu["scheduler"], execute + dispatch),
            # Every destination is compared with all entries: an eighth of an access each.
            2 * n + counts["CPU_destinations"] * cpu["scheduler"] / 8.0,
        ),
        Part("registers", _small(8.0 * cpu["registers"], 3 * execute), operands),
        Part("rename", _small(90.0, 2 * dispatch), operands),
        Part("load-queue", _small(16.0 * cpu["lq"], cpu["lq_width"]), loads + stores),
        Part("store-queue", _small(16.0 * cpu["sq"], cpu["sq_width"]), stores + loads),
        Part(
            "decoded-buffer",
            _small(2.0 * cpu["dib_sets"] * cpu["dib_ways"] * cpu["dib_window"], 1),
            n + decoded,
        ),
        Part(
            "predictor",
            _small(_PREDICTOR_BYTES[cpu["branch_predictor"]], 1),
            # The hashed perceptron reads sixteen banks at once.
            2 * branches * (4.0 if cpu["branch_predictor"] == 3 else 1.0),
        ),
        Part("targets", _small(_TARGET_BYTES, 1), n / max(1, cpu["fetch_width"]) + branches),
    ]
    for cache in ("L1I", "L1D", "L2C", "LLC"):
        kib = machine[f"{cache}.sets"] * machine[f"{cache}.ways"] / 16.0
        whole = cache_array(max(1, round(kib)))
        # CACTI's smallest caches read all ways, as an L1 does; the L2 and LLC read one.
        ports = machine[f"{cache}.tag_bw"] if cache.startswith("L1") else 1
        found.append(Part(cache, _ported(whole, ports), _looked_up(cache, counts)))
        entries = machine[f"{cache}.mshr"] + machine[f"{cache}.rq"] + machine[f"{cache}.wq"]
        found.append(Part(f"{cache}-queues", _small(16.0 * entries, 1), _missed(cache, counts)))
    for tlb in ("ITLB", "DTLB", "STLB"):
        entries = machine[f"{tlb}.sets"] * machine[f"{tlb}.ways"]
        array = _ported(tlb_array(entries), machine[f"{tlb}.tag_bw"])
        found.append(Part(tlb, array, _looked_up(tlb, counts)))
    return [part if part.name.startswith("LLC") else part.times(n_cores) for part in found]


_TYPES: Final = ("load", "rfo", "prefetch", "write", "translation")


def _missed(cache: str, counts: Mapping[str, float]) -> float:
    return sum(counts[f"{cache}_{kind}_miss"] for kind in _TYPES)


def _looked_up(cache: str, counts: Mapping[str, float]) -> float:
    """Return look-ups and fills."""
    hits = sum(counts[f"{cache}_{kind}_hit"] for kind in _TYPES)
    merges = sum(counts[f"{cache}_{kind}_merge"] for kind in _TYPES)
    return hits + 2 * _missed(cache, counts) - merges


def _logic_mm2(machine: Mapping[str, int], n_cores: int) -> float:
    execute = machine["CPU.execute_width"]
    return n_cores * (
        _DECODE_MM2 * machine["CPU.decode_width"]
        + _BYPASS_MM2 * execute * execute
        + _EXECUTE_MM2 * execute
    )


def total_area_mm2(machine: Mapping[str, int], found: list[Part], n_cores: int = 1) -> float:
    """Return the area of a machine with its DRAM channels [mm2]."""
    arrays = sum(part.array.area_mm2 for part in found)
    return arrays + _logic_mm2(machine, n_cores) + _CHANNEL_MM2 * machine["DRAM.channels"]


def static_mw(machine: Mapping[str, int], found: list[Part], n_cores: int = 1) -> float:
    """Return the power that does not depend on what runs [mW]."""
    arrays = sum(part.array.leakage_mw for part in found)
    rate = machine["DRAM.data_rate"] / 3200.0
    channels = _CHANNEL_MW * rate * machine["DRAM.channels"]
    return arrays + _LOGIC_LEAKAGE_MW_PER_MM2 * _logic_mm2(machine, n_cores) + channels


def energy_pj(
    machine: Mapping[str, int],
    counts: Mapping[str, float],
    found: list[Part],
    dram_pj: float | None = None,
    n_cores: int = 1,
) -> float:
    """Return the energy of a run [pJ].

    Args:
      machine: Every parameter.
      counts: Counters of `run`.
      found: Structures, from `parts`.
      dram_pj: Energy of the DRAM; None for a constant energy per transfer.
      n_cores: Cores.
    """
    arrays = sum(part.array.read_pj * part.accesses for part in found)
    execute = machine["CPU.execute_width"]
    logic = counts["instructions"] * (_DECODE_PJ + _EXECUTE_PJ + _BYPASS_PJ * execute)
    if dram_pj is None:
        dram_pj = _DRAM_TRANSFER_PJ * sum(
            counts[f"DRAM_{queue}_row_{outcome}"]
            for queue in ("rq", "wq")
            for outcome in ("hit", "miss")
        )
    time_ns = counts["cycles"] * CYCLE_NS
    return arrays + logic + dram_pj + static_mw(machine, found, n_cores) * time_ns
