"""Design spaces of the CPU simulator, and the machine that a design describes.

A design sizes arrays, queues and widths; latencies follow from the sizes (`latencies`), as a
search would otherwise take everything large and fast. `as-shipped` has ChampSim's own faulty
replacement policies and free latencies, for comparison with published work only.
"""

from collections.abc import Mapping
from typing import Final

from archgym.simulators.cpu.machine import (
    CHAMPSIM_PREDICTORS,
    PREDICTORS,
    PREFETCHERS,
    REPLACEMENTS,
    latencies,
    machine,
)
from archgym.simulators.kit import Categorical, DesignSpace, Ordinal, Parameter, Value, unknown_name

SPACE_NAMES: Final = ("default", "core", "memory", "dvfs", "branch", "as-shipped")
TABLE_SPACE: Final = "core"

_PER_CYCLE: Final = "instructions/cycle"
_PARAMETERS: Final[tuple[Parameter, ...]] = (
    Ordinal("fetch_width", (2, 4, 6, 8), default=6, unit=_PER_CYCLE, doc="Fetched."),
    Ordinal("decode_width", (1, 2, 4, 6, 8), default=6, unit=_PER_CYCLE, doc="Decoded."),
    Ordinal("dispatch_width", (2, 4, 6, 8), default=6, unit=_PER_CYCLE, doc="Dispatched."),
    Ordinal("execute_width", (1, 2, 4, 6, 8), default=4, unit=_PER_CYCLE, doc="Executed."),
    Ordinal("retire_width", (1, 2, 5, 8), default=5, unit=_PER_CYCLE, doc="Retired."),
    Ordinal("load_width", (1, 2, 3, 4), default=2, unit="loads/cycle",
        doc="Loads sent to the L1D."),
    Ordinal("store_width", (1, 2, 3), default=2, unit="stores/cycle", doc="Stores issued or sent."),
    Ordinal("ifetch_buffer", (16, 32, 64), default=64, unit="instructions", doc="Fetch buffer."),
    Ordinal("dispatch_buffer", (2, 4, 8, 32), default=32, unit="instructions",
        doc="Before dispatch."),
    Ordinal("dib_sets", (2, 8, 32, 64), default=32, unit="sets",
        doc="Decoded-instruction buffer, 8 ways."),
    Ordinal("scheduler", (16, 32, 64, 96, 128, 192), default=128, unit="instructions",
        doc="Scheduler."),
    Ordinal("rob", (48, 96, 160, 224, 352, 512), default=352, unit="instructions",
        doc="Reorder buffer."),
    Ordinal("registers", (64, 96, 128, 192, 256), default=128, unit="registers",
        doc="Physical registers."),
    Ordinal("load_queue", (8, 16, 32, 64, 128, 192), default=128, unit="loads", doc="Load queue."),
    Ordinal("store_queue", (8, 16, 32, 72, 114), default=72, unit="stores", doc="Store queue."),
    Ordinal("l1i_sets", (32, 64, 128), default=64, unit="sets",
        doc="L1 instruction cache, 64-byte blocks."),
    Ordinal("l1i_ways", (2, 4, 8), default=8, unit="ways", doc="L1 instruction cache."),
    Ordinal("l1i_mshr", (1, 2, 4, 8), default=8, unit="misses", doc="Misses under way in the L1I."),
    Ordinal("l1d_sets", (32, 64, 128), default=64, unit="sets",
        doc="L1 data cache, 64-byte blocks."),
    Ordinal("l1d_ways", (2, 4, 8, 12, 16), default=12, unit="ways", doc="L1 data cache."),
    Ordinal("l1d_mshr", (2, 4, 8, 16, 24), default=16, unit="misses",
        doc="Misses under way in the L1D."),
    Ordinal("l1d_ports", (1, 2, 4), default=2, unit="accesses/cycle",
        doc="Look-ups that the L1D starts."),
    Ordinal("l1d_queue", (1, 4, 16, 64), default=64, unit="loads",
        doc="Loads waiting for the L1D."),
    # CACTI gives time and area of larger arrays; the core's own latencies end with its ranges.
    Ordinal("l2_sets", (128, 256, 512, 1024, 2048), default=1024, widest=(4096, 8192), unit="sets",
        doc="L2 cache, 64-byte blocks."),
    Ordinal("l2_ways", (4, 8, 16), default=8, unit="ways", doc="L2 cache."),
    Ordinal("l2_mshr", (4, 8, 16, 32, 48), default=32, unit="misses",
        doc="Misses under way in the L2."),
    Ordinal("llc_sets", (512, 1024, 2048, 4096, 8192), default=2048, widest=(16384, 32768),
        unit="sets", doc="Last level, 64-byte blocks."),
    Ordinal("llc_ways", (8, 16), default=16, unit="ways", doc="Last-level cache."),
    Ordinal("llc_mshr", (8, 16, 32, 64), default=64, unit="misses",
        doc="Misses under way in the last level."),
    Ordinal("itlb_sets", (4, 8, 16, 32), default=16, unit="sets", doc="Instruction TLB, 4 ways."),
    Ordinal("dtlb_sets", (4, 8, 16, 32), default=16, unit="sets", doc="Data TLB, 4 ways."),
    Ordinal("dtlb_mshr", (2, 4, 8), default=8, unit="misses",
        doc="Misses under way in the data TLB."),
    Ordinal("stlb_sets", (32, 64, 128, 256), default=128, unit="sets",
        doc="Second-level TLB, 12 ways."),
    Ordinal("stlb_mshr", (2, 4, 8, 16), default=16, unit="misses",
        doc="Misses under way in the STLB."),
    Ordinal("dram_data_rate", (1600, 2400, 3200, 4800, 6400), default=3200, unit="MT/s",
        doc="Of the DRAM."),
    Ordinal("dram_channels", (1, 2, 4), default=1, unit="channels", doc="DRAM channels."),
    Ordinal("dram_queue", (2, 4, 16, 64), default=64, unit="reads",
        doc="Reads waiting in a DRAM channel."),
    Categorical("branch_predictor", CHAMPSIM_PREDICTORS, default="hashed-perceptron",
        doc="Predictor of directions."),
    Categorical("l1i_prefetcher", PREFETCHERS[:2], default="none", doc="Prefetcher of the L1I."),
    Categorical("l1d_prefetcher", PREFETCHERS, default="none", doc="Prefetcher of the L1D."),
    Categorical("l2_prefetcher", PREFETCHERS, default="none", doc="Prefetcher of the L2."),
    Categorical("l2_replacement", REPLACEMENTS, default="lru", doc="Replacement in the L2."),
    Categorical("llc_replacement", REPLACEMENTS, default="lru",
        doc="Replacement in the last level."),
)  # fmt: skip
_OPERATING_POINT: Final[tuple[Parameter, ...]] = (
    Ordinal("clock_ghz", (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0), default=4.0, unit="GHz",
        doc="Clock of cores and caches."),
    Ordinal("voltage", (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1), default=0.8, unit="V",
        doc="Their supply."),
)  # fmt: skip
# ChampSim has no TAGE, so that only the space of branches does.
_PREDICTOR: Final = Categorical("branch_predictor", PREDICTORS, default="hashed-perceptron",
    doc="Predictor of directions.")  # fmt: skip
_NUMBERS: Final = {parameter.name: parameter for parameter in (*_PARAMETERS, _PREDICTOR)}
# Parameters of the machine whose names are not component and field.
_RENAMED: Final = {
    "load_width": "CPU.lq_width",
    "store_width": "CPU.sq_width",
    "load_queue": "CPU.lq",
    "store_queue": "CPU.sq",
    "l1d_ports": "L1D.tag_bw",
    "l1d_queue": "L1D.rq",
    "dram_queue": "DRAM.rq",
}
_COMPONENTS: Final = {
    **{name.lower(): name for name in ("L1I", "L1D", "LLC", "ITLB", "DTLB", "STLB", "DRAM")},
    "l2": "L2C",
}
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
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
    "operating-point": ("clock_ghz", "voltage"),
}  # fmt: skip
"""Sub-systems, one agent each."""

_TABULATED: Final[Mapping[str, tuple[int | str, ...]]] = {
    "dispatch_width": (2, 4, 6),
    "execute_width": (2, 4, 6),
    "scheduler": (32, 64, 128),
    "rob": (96, 224, 352, 512),
    "registers": (96, 128, 192),
    "load_queue": (32, 64, 128),
    "branch_predictor": CHAMPSIM_PREDICTORS,
}
# Load queues of 32 are in the table only.
_WIDE: Final = {"load_queue": (8, 16, 64, 128, 192)}
_OWN: Final = REPLACEMENTS[:4]
_SHIPPED: Final = (REPLACEMENTS[0], *REPLACEMENTS[4:])


def design_space(name: str) -> DesignSpace:
    """Return the space with this name.

    Raises:
      UnknownNameError: There is no such space.
    """
    if name not in SPACE_NAMES:
        raise unknown_name("space", name, SPACE_NAMES)
    whole = DesignSpace("default", _PARAMETERS, doc="A core, its caches and its DRAM.")
    if name == "core":
        doc = "The core around the default caches; small enough for a table."
        return whole.restricted(_TABULATED, _TABULATED, name, doc)
    if name == "branch":
        doc = "The front end with TAGE and TAGE-SC-L among its predictors."
        return DesignSpace(name, tuple(_NUMBERS[each] for each in GROUPS["front-end"]), doc=doc)
    policies = _SHIPPED if name == "as-shipped" else _OWN
    wide = whole.restricted(
        values={**_WIDE, "l2_replacement": policies, "llc_replacement": policies}
    )
    if name == "memory":
        doc = "Caches, TLBs and DRAM around the default core."
        return wide.restricted((*GROUPS["caches"], *GROUPS["memory"]), name=name, doc=doc)
    if name == "dvfs":
        doc = "The default space with clock and supply, for area and power by structure."
        return DesignSpace("dvfs", (*wide.parameters, *_OPERATING_POINT), doc=doc)
    if name == "as-shipped":
        doc = "ChampSim's faulty replacement and fixed latencies, for comparison only."
        return wide.restricted(name=name, doc=doc)
    return wide


def _full_name(name: str) -> str:
    """Return the machine's name of a parameter, such as `CPU.rob`."""
    component, _, field = name.partition("_")
    if name in _RENAMED:
        return _RENAMED[name]
    return f"{_COMPONENTS[component]}.{field}" if component in _COMPONENTS else f"CPU.{name}"


def machine_of(space: str, design: Mapping[str, Value]) -> dict[str, int]:
    """Return every parameter of the machine that a design describes.

    Args:
      space: Name of its space.
      design: Values by name.
    """
    found = machine(
        {
            # The machine numbers what a design names.
            _full_name(name): _NUMBERS[name].index(v) if isinstance(v, str) else int(str(v))
            for name, v in design.items()
            if name in _NUMBERS
        }
    )
    # Writes wait as reads do. Queues of L2 and last level, walks under way and replacement in the
    # L1D are no parameters: on every program measured they explain below 0.5 % of the variance of
    # log IPC. L2 and last level look up one request a cycle, and misses wait in MSHRs.
    for component in ("L1D", "DRAM"):
        found[f"{component}.wq"] = found[f"{component}.rq"]
    return found if space == "as-shipped" else {**found, **latencies(found)}
