"""Design spaces of the CPU simulator, and the machine that a design describes.

A design sizes arrays, queues and widths; latencies follow from the sizes (`latencies`), as a
search would otherwise take everything large and fast. `as-shipped` has ChampSim's own faulty
replacement policies and free latencies, for comparison with published work only.
"""

import math
from collections.abc import Mapping
from typing import Final

from archgym.errors import unknown_name
from archgym.simulators.cpu.parameters import (
    DEFAULTS,
    PREDICTORS,
    PREFETCHERS,
    REPLACEMENTS,
    machine,
)
from archgym.simulators.translation.cacti import cache_array, tlb_array
from archgym.spaces.parameter import Categorical, Ordinal, Parameter, Value
from archgym.spaces.space import DesignSpace

SPACE_NAMES: Final = ("default", "core", "memory", "as-shipped")
TABLE_SPACE: Final = "core"

_SPEC: Final[Mapping[str, tuple[str, tuple[int, ...], str, str]]] = {
    # name: parameter of the machine, values, unit, documentation
    "fetch_width": ("CPU.fetch_width", (2, 4, 6, 8), "instructions/cycle", "Fetched."),
    "decode_width": ("CPU.decode_width", (1, 2, 4, 6, 8), "instructions/cycle", "Decoded."),
    "dispatch_width": ("CPU.dispatch_width", (2, 4, 6, 8), "instructions/cycle", "Dispatched."),
    "execute_width": ("CPU.execute_width", (1, 2, 4, 6, 8), "instructions/cycle", "Executed."),
    "retire_width": ("CPU.retire_width", (1, 2, 5, 8), "instructions/cycle", "Retired."),
    "load_width": ("CPU.lq_width", (1, 2, 3, 4), "loads/cycle", "Loads sent to the L1D."),
    "store_width": ("CPU.sq_width", (1, 2, 3), "stores/cycle", "Stores issued or sent."),
    "ifetch_buffer": ("CPU.ifetch_buffer", (16, 32, 64), "instructions", "Fetch buffer."),
    "dispatch_buffer": ("CPU.dispatch_buffer", (2, 4, 8, 32), "instructions", "Before dispatch."),
    "dib_sets": ("CPU.dib_sets", (2, 8, 32, 64), "sets", "Decoded-instruction buffer, 8 ways."),
    "scheduler": ("CPU.scheduler", (16, 32, 64, 96, 128, 192), "instructions", "Scheduler."),
    "rob": ("CPU.rob", (48, 96, 160, 224, 352, 512), "instructions", "Reorder buffer."),
    "registers": ("CPU.registers", (64, 96, 128, 192, 256), "registers", "Physical registers."),
    "load_queue": ("CPU.lq", (8, 16, 64, 128, 192), "loads", "Load queue."),
    "store_queue": ("CPU.sq", (8, 16, 32, 72, 114), "stores", "Store queue."),
    "l1i_sets": ("L1I.sets", (32, 64, 128), "sets", "L1 instruction cache, 64-byte blocks."),
    "l1i_ways": ("L1I.ways", (2, 4, 8), "ways", "L1 instruction cache."),
    "l1i_mshr": ("L1I.mshr", (1, 2, 4, 8), "misses", "Misses under way in the L1I."),
    "l1d_sets": ("L1D.sets", (32, 64, 128), "sets", "L1 data cache, 64-byte blocks."),
    "l1d_ways": ("L1D.ways", (2, 4, 8, 12, 16), "ways", "L1 data cache."),
    "l1d_mshr": ("L1D.mshr", (2, 4, 8, 16, 24), "misses", "Misses under way in the L1D."),
    "l1d_ports": ("L1D.tag_bw", (1, 2, 4), "accesses/cycle", "Look-ups that the L1D starts."),
    "l1d_queue": ("L1D.rq", (1, 4, 16, 64), "loads", "Loads waiting for the L1D."),
    "l2_sets": ("L2C.sets", (128, 256, 512, 1024, 2048), "sets", "L2 cache, 64-byte blocks."),
    "l2_ways": ("L2C.ways", (4, 8, 16), "ways", "L2 cache."),
    "l2_mshr": ("L2C.mshr", (4, 8, 16, 32, 48), "misses", "Misses under way in the L2."),
    "llc_sets": ("LLC.sets", (512, 1024, 2048, 4096, 8192), "sets", "Last level, 64-byte blocks."),
    "llc_ways": ("LLC.ways", (8, 16), "ways", "Last-level cache."),
    "llc_mshr": ("LLC.mshr", (8, 16, 32, 64), "misses", "Misses under way in the last level."),
    "itlb_sets": ("ITLB.sets", (4, 8, 16, 32), "sets", "Instruction TLB, 4 ways."),
    "dtlb_sets": ("DTLB.sets", (4, 8, 16, 32), "sets", "Data TLB, 4 ways."),
    "dtlb_mshr": ("DTLB.mshr", (2, 4, 8), "misses", "Misses under way in the data TLB."),
    "stlb_sets": ("STLB.sets", (32, 64, 128, 256), "sets", "Second-level TLB, 12 ways."),
    "stlb_mshr": ("STLB.mshr", (2, 4, 8, 16), "misses", "Misses under way in the STLB."),
    "dram_data_rate": ("DRAM.data_rate", (1600, 2400, 3200, 4800, 6400), "MT/s", "Of the DRAM."),
    "dram_channels": ("DRAM.channels", (1, 2, 4), "channels", "DRAM channels."),
    "dram_queue": ("DRAM.rq", (2, 4, 16, 64), "reads", "Reads waiting in a DRAM channel."),
}
_CHOICES: Final[Mapping[str, tuple[str, tuple[str, ...], str]]] = {
    "branch_predictor": ("CPU.branch_predictor", PREDICTORS, "Predictor of directions."),
    "l1i_prefetcher": ("L1I.prefetcher", PREFETCHERS[:2], "Prefetcher of the L1I."),
    "l1d_prefetcher": ("L1D.prefetcher", PREFETCHERS, "Prefetcher of the L1D."),
    "l2_prefetcher": ("L2C.prefetcher", PREFETCHERS, "Prefetcher of the L2."),
    "l2_replacement": ("L2C.replacement", REPLACEMENTS[:4], "Replacement in the L2."),
    "llc_replacement": ("LLC.replacement", REPLACEMENTS[:4], "Replacement in the last level."),
}
_GROUPED: Final[Mapping[str, tuple[str, ...]]] = {
    "front-end": (
        "fetch_width", "decode_width", "dispatch_width", "ifetch_buffer", "dispatch_buffer",
        "dib_sets", "branch_predictor", "l1i_sets", "l1i_ways", "l1i_mshr", "l1i_prefetcher",
        "itlb_sets",
    ),
    "back-end": (
        "execute_width", "retire_width", "load_width", "store_width", "scheduler", "rob",
        "registers", "load_queue", "store_queue",
    ),
    "caches": (
        "l1d_sets", "l1d_ways", "l1d_mshr", "l1d_ports", "l1d_queue", "l1d_prefetcher",
        "l2_sets", "l2_ways", "l2_mshr", "l2_prefetcher",
        "l2_replacement", "dtlb_sets", "dtlb_mshr", "stlb_sets", "stlb_mshr",
    ),
    "memory": (
        "llc_sets", "llc_ways", "llc_mshr", "llc_replacement",
        "dram_data_rate", "dram_channels", "dram_queue",
    ),
}  # fmt: skip
GROUPS: Final = _GROUPED
"""Sub-systems, one agent each."""

_TABULATED: Final[Mapping[str, tuple[int, ...]]] = {
    "dispatch_width": (2, 4, 6),
    "execute_width": (2, 4, 6),
    "scheduler": (32, 64, 128),
    "rob": (96, 224, 352, 512),
    "registers": (96, 128, 192),
    "load_queue": (32, 64, 128),
}
# Times of the DRAM's banks [ns]: 24 and 52 clocks of DDR4-3200, kept at other data rates.
_BANK_NS: Final = 15.0
_ACTIVE_NS: Final = 32.5


def design_space(name: str) -> DesignSpace:
    """Return the space with this name.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name == "default":
        return DesignSpace(name, _all(REPLACEMENTS[:4]), doc="A core, its caches and its DRAM.")
    if name == "core":
        listed = [_ordinal(n, _TABULATED[n]) for n in _TABULATED]
        return DesignSpace(
            name,
            [*listed, _choice("branch_predictor", PREDICTORS)],
            doc="The core around the default caches; small enough for a table.",
        )
    if name == "memory":
        chosen = {*GROUPS["caches"], *GROUPS["memory"]}
        kept = [p for p in _all(REPLACEMENTS[:4]) if p.name in chosen]
        return DesignSpace(name, kept, doc="Caches, TLBs and DRAM around the default core.")
    if name == "as-shipped":
        policies = (REPLACEMENTS[0], *REPLACEMENTS[4:])
        return DesignSpace(
            name,
            _all(policies),
            doc="ChampSim's faulty replacement and fixed latencies, for comparison only.",
        )
    raise unknown_name("space", name, SPACE_NAMES)


def _all(policies: tuple[str, ...]) -> list[Parameter]:
    parameters: list[Parameter] = [_ordinal(name, _SPEC[name][1]) for name in _SPEC]
    for name, (_, choices, _doc) in _CHOICES.items():
        parameters.append(_choice(name, policies if name.endswith("replacement") else choices))
    return parameters


def _ordinal(name: str, levels: tuple[int, ...]) -> Ordinal:
    full, _, unit, doc = _SPEC[name]
    return Ordinal(name=name, levels=levels, default=DEFAULTS[full], unit=unit, doc=doc)


def _choice(name: str, choices: tuple[str, ...]) -> Categorical:
    full, known, doc = _CHOICES[name]
    names = REPLACEMENTS if name.endswith("replacement") else known
    return Categorical(name=name, choices=choices, default=names[DEFAULTS[full]], doc=doc)


def machine_of(space: str, design: Mapping[str, Value]) -> dict[str, int]:
    """Return every parameter of the machine that a design describes.

    Args:
      space: Name of its space.
      design: Values by name.
    """
    changes: dict[str, int] = {}
    for name, value in design.items():
        if name in _CHOICES:
            full, known, _ = _CHOICES[name]
            names = REPLACEMENTS if name.endswith("replacement") else known
            changes[full] = names.index(str(value))
        else:
            changes[_SPEC[name][0]] = int(str(value))
    found = machine(changes)
    # Writes wait as reads do. Queues of L2 and last level, walks under way and replacement in the
    # L1D are no parameters: on every program measured they explain below 0.5 % of the variance of
    # log IPC. L2 and last level look up one request a cycle, and misses wait in MSHRs.
    for component in ("L1D", "DRAM"):
        found[f"{component}.wq"] = found[f"{component}.rq"]
    return found if space == "as-shipped" else {**found, **latencies(found)}


def latencies(found: Mapping[str, int]) -> dict[str, int]:
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


def _access_ns(found: Mapping[str, int], cache: str) -> float:
    kib = found[f"{cache}.sets"] * found[f"{cache}.ways"] / 16
    # chosen: as between direct-mapped and 16-way arrays of CACTI, a few percent per doubling.
    ways = 1.0 + 0.03 * math.log2(found[f"{cache}.ways"] / DEFAULTS[f"{cache}.ways"])
    return cache_array(max(1, round(kib))).access_ns * ways
