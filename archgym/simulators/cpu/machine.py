"""Parameters of the modelled machine, with the values of the default design, and its latencies.

Source: the default design of ChampSim, commit 2ff2501 (an Ice-Lake-like core), with its hashed
perceptron. A cache's latency is split into a look-up and a fill: half each, the fill rounded up.
"""

import math
from collections.abc import Mapping
from typing import Final

from archgym.physics.arrays import cache_array, tlb_array
from archgym.simulators.kit import InvalidArgumentError

CHAMPSIM_PREDICTORS: Final = ("bimodal", "gshare", "perceptron", "hashed-perceptron")
PREDICTORS: Final = (*CHAMPSIM_PREDICTORS, "tage", "tage-sc-l")
PREFETCHERS: Final = ("none", "next-line", "ip-stride")
REPLACEMENTS: Final = (
    "lru", "srrip", "drrip", "ship",
    "srrip-as-shipped", "drrip-as-shipped", "ship-as-shipped",
)  # fmt: skip
"""By number. ChampSim's own modules of 4 to 6 never hear of fills; they serve comparison only."""

_DEFAULTS: Final[Mapping[str, str]] = {
    "CPU": (
        "fetch_width=6 decode_width=6 dispatch_width=6 execute_width=4 lq_width=2 "
        "sq_width=2 retire_width=5 dib_inorder_width=5 scheduler=128 ifetch_buffer=64 "
        "decode_buffer=32 dispatch_buffer=32 dib_hit_buffer=32 registers=128 rob=352 "
        "lq=128 sq=72 mispredict_penalty=1 decode_latency=1 dib_hit_latency=1 "
        "dispatch_latency=1 schedule_latency=0 execute_latency=0 dib_sets=32 dib_ways=8 "
        "dib_window=16 branch_predictor=3"
    ),
    "L1I": (
        "sets=64 ways=8 rq=64 wq=64 pq=32 mshr=8 hit_latency=2 fill_latency=2 tag_bw=2 "
        "fill_bw=2 prefetcher=0 replacement=0"
    ),
    "L1D": (
        "sets=64 ways=12 rq=64 wq=64 pq=8 mshr=16 hit_latency=2 fill_latency=3 tag_bw=2 "
        "fill_bw=2 prefetcher=0 replacement=0"
    ),
    "L2C": (
        "sets=1024 ways=8 rq=32 wq=32 pq=16 mshr=32 hit_latency=5 fill_latency=5 "
        "tag_bw=1 fill_bw=1 prefetcher=0 replacement=0"
    ),
    "LLC": (
        "sets=2048 ways=16 rq=32 wq=32 pq=32 mshr=64 hit_latency=10 fill_latency=10 "
        "tag_bw=1 fill_bw=1 prefetcher=0 replacement=0"
    ),
    "ITLB": (
        "sets=16 ways=4 rq=16 wq=16 pq=0 mshr=8 hit_latency=1 fill_latency=1 tag_bw=2 "
        "fill_bw=2 prefetcher=0 replacement=0"
    ),
    "DTLB": (
        "sets=16 ways=4 rq=16 wq=16 pq=0 mshr=8 hit_latency=1 fill_latency=1 tag_bw=2 "
        "fill_bw=2 prefetcher=0 replacement=0"
    ),
    "STLB": (
        "sets=128 ways=12 rq=32 wq=32 pq=0 mshr=16 hit_latency=4 fill_latency=4 "
        "tag_bw=1 fill_bw=1 prefetcher=0 replacement=0"
    ),
    "PTW": "rq=16 mshr=5 max_read=2 max_write=2",
    "VMEM": "fault_penalty=200",
    "DRAM": (
        "data_rate=3200 channels=1 ranks=1 rows=65536 columns=1024 banks=4 bankgroups=8 "
        "rq=64 wq=64 tCAS=24 tRCD=24 tRP=24 tRAS=52 refresh_ms=32 refreshes=8192"
    ),
}
DEFAULTS: Final[Mapping[str, int]] = {
    f"{component}.{pair.partition('=')[0]}": int(pair.partition("=")[2])
    for component, pairs in _DEFAULTS.items()
    for pair in pairs.split()
}
"""By full name, such as `CPU.rob`."""

_POWERS: Final = (
    *(f"{cache}.sets" for cache in ("L1I", "L1D", "L2C", "LLC", "ITLB", "DTLB", "STLB")),
    "CPU.dib_sets", "CPU.dib_window", "DRAM.channels", "DRAM.ranks",
)  # fmt: skip
_CHOICES: Final = {"branch_predictor": PREDICTORS, "prefetcher": PREFETCHERS}
_FIXED: Final = ("rows", "columns", "banks", "bankgroups", "refreshes")
_LATENCIES: Final = ("_latency", "_penalty", ".pq", "PTW.mshr")
# The kernel keeps the slots of the DRAM's queues in one word, registers in one byte.
_LIMITS: Final = {"DRAM.rq": 64, "DRAM.wq": 64, "CPU.registers": 256, "DRAM.ranks": 2}
NOMINAL_MHZ: Final = 4000
"""Clock of a machine that names none."""
# Times of the DRAM's banks [ns]: 24 and 52 clocks of DDR4-3200, kept at other data rates.
_BANK_NS: Final = 15.0
_ACTIVE_NS: Final = 32.5
# An instruction has at most 4 reads, 2 writes and 6 registers; with fewer it never ends.
_LEAST: Final = {"CPU.lq": 4, "CPU.sq": 2, "CPU.registers": 64}


Machine = Mapping[str, int]
"""Every parameter of a machine by full name."""


def machine(changes: Mapping[str, int]) -> dict[str, int]:
    """Return every parameter of a machine: the default's, with changes.

    Args:
      changes: Values by full name.

    Raises:
      InvalidArgumentError: A name is unknown, or the model cannot have the value.
    """
    for name, value in changes.items():
        if name not in DEFAULTS:
            raise InvalidArgumentError(f"`{name}` must be a parameter of the CPU; it is unknown.")
        problem = _problem(name, value)
        if problem:
            raise InvalidArgumentError(f"`{name}` must be {problem}; got {value}.")
    return {**DEFAULTS, **changes}


def _problem(name: str, value: int) -> str:
    """Return the requirement that a value violates; empty if it is valid."""
    short = name.partition(".")[2]
    if short in _FIXED:
        return f"{DEFAULTS[name]}" if value != DEFAULTS[name] else ""
    if short == "replacement" or short in _CHOICES:
        n = len(_CHOICES.get(short, REPLACEMENTS))
        return "" if 0 <= value < n else f"below {n}, 0 or more"
    if name in _POWERS and (value < 1 or value & (value - 1)):
        return "a power of two"
    least = _LEAST.get(name, 0 if name.endswith(_LATENCIES) else 1)
    if short == "hit_latency":
        least = 1
    if value < least:
        return f"{least} or more"
    if value > _LIMITS.get(name, 1 << 20):
        return f"at most {_LIMITS.get(name, 1 << 20)}"
    if name == "DRAM.data_rate" and not 200 <= value <= 8000:
        return "from 200 to 8000 MT/s"
    return ""


def latencies(found: Machine) -> dict[str, int]:
    """Return the latencies that follow from a machine's sizes; the default's are the default's.

    Args:
      found: Every parameter of the machine.

    Source:
      Arrays: access time of CACTI 7 over the default array's, times the default's cycles. The
      core: S. Palacharla, N. Jouppi, J. Smith, *Complexity-effective superscalar processors*,
      ISCA 1997: wake-up, rename and bypass slow down with window and width; where a stage is
      taken to need one more cycle is chosen: at about 1.5 times the default's sizes.
    """
    result: dict[str, int] = {}
    for cache in ("L1I", "L1D", "L2C", "LLC"):
        cycles = DEFAULTS[f"{cache}.hit_latency"] + DEFAULTS[f"{cache}.fill_latency"]
        # chosen: every doubling of ports adds a fifth to the wires that an access crosses.
        ports = 1.0 + 0.2 * math.log2(found[f"{cache}.tag_bw"] / DEFAULTS[f"{cache}.tag_bw"])
        ratio = _access_ns(found, cache) / _access_ns(DEFAULTS, cache) * ports
        # chosen: a tenth of an L2's or LLC's time is its MSHRs, growing with the logarithm.
        queue = 1.0
        if cache in ("L2C", "LLC"):
            queue += 0.05 * math.log2(found[f"{cache}.mshr"] / DEFAULTS[f"{cache}.mshr"])
        total = max(2, round(cycles * ratio * queue))
        result[f"{cache}.hit_latency"] = total // 2
        result[f"{cache}.fill_latency"] = total - total // 2
    entries = found["STLB.sets"] * found["STLB.ways"]
    default_ns = tlb_array(DEFAULTS["STLB.sets"] * DEFAULTS["STLB.ways"]).access_ns
    total = max(2, round(8 * tlb_array(entries).access_ns / default_ns))
    result["STLB.hit_latency"], result["STLB.fill_latency"] = total // 2, total - total // 2
    for tlb in ("ITLB", "DTLB"):
        result[f"{tlb}.hit_latency"] = 2 if found[f"{tlb}.sets"] > 16 else 1
    width = max(found["CPU.dispatch_width"], found["CPU.execute_width"])
    result["CPU.decode_latency"] = 1 + (found["CPU.decode_width"] > 6)
    result["CPU.dispatch_latency"] = 1 + (found["CPU.registers"] > 192 or width > 6)
    result["CPU.schedule_latency"] = int(found["CPU.scheduler"] > 128)
    result["CPU.execute_latency"] = int(found["CPU.execute_width"] > 6)
    result["CPU.mispredict_penalty"] = 1 + (found["CPU.rob"] > 352) + (found["CPU.fetch_width"] > 6)
    period_ns = 2000.0 / found["DRAM.data_rate"]
    for name in ("tCAS", "tRCD", "tRP"):
        result[f"DRAM.{name}"] = round(_BANK_NS / period_ns)
    result["DRAM.tRAS"] = round(_ACTIVE_NS / period_ns)
    return result


def at_clock(found: Machine, ghz: float, highest_ghz: float) -> dict[str, int]:
    """Return a machine at another clock.

    Times of the DRAM and of page faults stay. Arrays keep their time at a supply, so that a slower
    clock needs fewer cycles for them.

    Args:
      found: Every parameter of the machine at its highest clock.
      ghz: Its clock.
      highest_ghz: Highest clock at its supply, for which latencies in cycles are meant.
    """
    result, mhz = dict(found), round(1000 * ghz)
    if mhz != NOMINAL_MHZ:
        result["CPU.clock_mhz"] = mhz
    for name in ("L1I", "L1D", "L2C", "LLC", "STLB"):
        cycles = found[f"{name}.hit_latency"] + found[f"{name}.fill_latency"]
        total = max(2, math.ceil(cycles * ghz / highest_ghz - 1e-9))
        result[f"{name}.hit_latency"], result[f"{name}.fill_latency"] = (
            total // 2,
            total - total // 2,
        )
    result["VMEM.fault_penalty"] = round(found["VMEM.fault_penalty"] * mhz / NOMINAL_MHZ)
    return result


def cycle_ps(found: Machine) -> int:
    """Return the core's cycle in whole picoseconds, as the tool cuts it [ps]."""
    return 1_000_000 // found.get("CPU.clock_mhz", NOMINAL_MHZ)


def _access_ns(found: Machine, cache: str) -> float:
    kib = found[f"{cache}.sets"] * found[f"{cache}.ways"] / 16
    # chosen: as between direct-mapped and 16-way arrays of CACTI, a few percent per doubling.
    ways = 1.0 + 0.03 * math.log2(found[f"{cache}.ways"] / DEFAULTS[f"{cache}.ways"])
    return cache_array(max(1, round(kib))).access_ns * ways
