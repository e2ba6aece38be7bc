"""Parameters of translation designs, and which of them mean something only under others.

A parameter is inactive where it means nothing: thresholds of Victima's predictor without Victima
or without the predictor, a nested TLB without a virtual machine, and so on. Values and defaults
follow K. Kanellopoulos et al., *Victima: drastically increasing address translation reach by
leveraging underutilized cache resources*, MICRO 2023, and its public artifact.
"""

from archgym.simulators.translation.hardware import FILLS, TLB_POLICIES
from archgym.spaces.design import Condition
from archgym.spaces.expression import Expression, P
from archgym.spaces.parameter import Categorical, Ordinal, Parameter, PowerOfTwo

__all__ = [
    "EXECUTION",
    "FILL",
    "FRAGMENTATION",
    "HUGE_PAGES",
    "L1_ENTRIES",
    "L1_HUGE_ENTRIES",
    "L1_WAYS",
    "L2_CACHE_KIB",
    "L2_CACHE_REPLACEMENT",
    "L2_ENTRIES",
    "L2_WAYS",
    "LATENCY",
    "NESTED_ENTRIES",
    "TLB_REPLACEMENT",
    "WALKERS",
    "WALK_CACHES",
    "conditions",
    "mechanism",
    "mechanism_knobs",
]

L1_ENTRIES = Ordinal(
    name="l1_tlb_entries",
    levels=(16, 32, 64, 96, 128),
    default=64,
    unit="entries",
    doc="Entries of the L1 TLB for data in pages of 4 KiB.",
)
L1_WAYS = Categorical(
    name="l1_tlb_ways",
    choices=("1", "2", "4", "8", "full"),
    default="4",
    doc="Ways of that L1 TLB; `full` makes it fully associative.",
)
L1_HUGE_ENTRIES = PowerOfTwo(
    name="l1_huge_tlb_entries",
    low=8,
    high=32,
    default=32,
    unit="entries",
    doc="Entries of the L1 TLB for data in pages of 2 MiB.",
)
L2_WAYS = Ordinal(
    name="l2_tlb_ways", levels=(4, 8, 12, 16), default=12, unit="ways", doc="Ways of the L2 TLB."
)
LATENCY = Categorical(
    name="l2_tlb_latency",
    choices=("published", "cacti-ratio", "ideal"),
    default="published",
    doc="How the L2 TLB's latency grows with its entries: through two published ones, as its "
    "array's alone does, or not.",
)
TLB_REPLACEMENT = Categorical(
    name="tlb_replacement",
    choices=TLB_POLICIES,
    default="lru",
    doc="Which entry of a set the L1 and L2 TLBs replace.",
)
FILL = Categorical(
    name="l2_tlb_fill",
    choices=FILLS,
    default="both",
    doc="Whether a walk fills both TLBs, or the L2 TLB takes only what the L1 TLBs evict.",
)
WALK_CACHES = Ordinal(
    name="walk_cache_entries",
    levels=(0, 8, 16, 32, 64),
    default=16,
    unit="entries",
    doc="Entries of the page-walk caches of levels 4 and 3 each; level 2 has twice as many.",
)
WALKERS = PowerOfTwo(
    name="walkers",
    low=1,
    high=4,
    default=4,
    unit="walkers",
    doc="Page walks that may be under way at once.",
)
L2_CACHE_REPLACEMENT = Categorical(
    name="l2_cache_replacement",
    choices=("lru", "srrip"),
    default="srrip",
    doc="Which line of a set the L2 cache replaces.",
)
HUGE_PAGES = Ordinal(
    name="huge_page_percent",
    levels=(0, 30, 60, 100),
    default=30,
    unit="%",
    doc="Share of regions of 2 MiB that become one page where memory allows it.",
)
FRAGMENTATION = Ordinal(
    name="fragmentation_percent",
    levels=(0, 50, 90),
    default=0,
    unit="%",
    doc="Share of the blocks of 2 MiB in physical memory that are broken before the run.",
)
PREDICTOR = Categorical(
    name="victima_predictor",
    choices=("box", "always"),
    default="box",
    doc="Whether only pages whose walks were many and costly get a TLB block, or all.",
)
BLOCK_PRIORITY = Categorical(
    name="victima_block_priority",
    choices=("on", "off"),
    default="on",
    doc="Whether SRRIP keeps TLB blocks longer than data while the L2 TLB is under pressure.",
)
MAX_BLOCK_WAYS = Ordinal(
    name="victima_max_block_ways",
    levels=(4, 8, 16),
    default=16,
    unit="ways",
    doc="TLB blocks that a set of the L2 cache may hold; 16 are all of its ways.",
)
L2_ENTRIES = Ordinal(
    name="l2_tlb_entries",
    levels=(512, 1024, 1536, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
    default=1536,
    unit="entries",
    doc="Entries of the L2 TLB, for pages of both sizes.",
)
L2_CACHE_KIB = PowerOfTwo(
    name="l2_cache_kib",
    low=512,
    high=8192,
    default=2048,
    unit="KiB",
    doc="Capacity of the L2 cache; its latency follows.",
)
EXECUTION = Categorical(
    name="execution",
    choices=("native", "virtualised"),
    default="native",
    doc="Whether the program runs in a virtual machine, whose walks have two dimensions.",
)
NESTED_ENTRIES = PowerOfTwo(
    name="nested_tlb_entries",
    low=16,
    high=256,
    default=64,
    unit="entries",
    doc="Entries of the nested TLB, from guest-physical to physical pages.",
)


def mechanism(choices: tuple[str, ...]) -> Parameter:
    """What meets a miss in the L2 TLB, of these mechanisms."""
    return Categorical(
        name="mechanism",
        choices=choices,
        default="radix",
        doc="What a miss in the L2 TLB meets before, or in place of, a walk of the page table.",
    )


def mechanism_knobs() -> tuple[Parameter, ...]:
    """Return the knobs of mechanisms, all of them conditional."""
    numbers = (
        # The box's lower and upper bounds do not overlap, so that each of them is one.
        ("victima_min_walks", (0, 1, 2, 3), 1, "walks", "Fewest walks of a costly page."),
        ("victima_max_walks", (3, 5, 7), 7, "walks", "Most walks of one; 7 stands for any."),
        (
            "victima_min_memory_walks",
            *((0, 1, 2, 4), 1, "walks", "Fewest walks of a costly page that reached memory."),
        ),
        (
            "victima_max_memory_walks",
            *((4, 7, 12, 15), 12, "walks", "Most of them; 15 stands for any."),
        ),
        (
            "victima_bypass_mpki",
            *((1, 5, 10), 5, "misses/kinstruction"),
            "Every page gets a block while the L2 cache's misses of data are above this.",
        ),
    )
    return (
        Categorical(
            name="victima_insertion",
            choices=("walk", "eviction", "both"),
            default="both",
            doc="Whether a walk makes a TLB block, an eviction from the L2 TLB, or both.",
        ),
        Categorical(
            name="pom_tlb_insertion",
            choices=("eviction", "walk"),
            default="eviction",
            doc="What the TLB in memory takes: what the L2 TLB evicts, or what was walked for.",
        ),
        Ordinal(
            name="far_tlb_entries",
            levels=(16384, 65536, 262144),
            default=65536,
            unit="entries",
            doc="Entries of the TLB in memory, or of the L3 TLB.",
        ),
        Ordinal(
            name="l3_tlb_latency_cycles",
            levels=(15, 20, 25, 30, 35, 40),
            default=15,
            unit="cycles",
            doc="Latency of the L3 TLB.",
        ),
        Ordinal(
            name="cluster_pages",
            levels=(4, 8, 16),
            default=8,
            unit="pages",
            doc="Neighbouring pages that a TLB block, or an entry of a clustered TLB, covers.",
        ),
        PREDICTOR,
        *(
            Ordinal(name=knob, levels=levels, default=default, unit=unit, doc=doc)
            for knob, levels, default, unit, doc in numbers
        ),
        BLOCK_PRIORITY,
        Ordinal(
            name="victima_pressure_mpki",
            levels=(1, 5, 10),
            default=5,
            unit="misses/kinstruction",
            doc="Blocks have priority while the L2 TLB's misses are above this.",
        ),
        MAX_BLOCK_WAYS,
        Categorical(
            name="victima_probe",
            choices=("overlapped", "serial"),
            default="overlapped",
            doc="Whether the L2 cache is probed while the L2 TLB is, or after it missed.",
        ),
    )


def conditions(parameters: tuple[Parameter, ...]) -> tuple[Condition, ...]:
    """Return the conditions of those parameters that have one."""
    victima = P("mechanism") == "victima"
    boxed = victima & (P("victima_predictor") == "box")
    prioritised = victima & (P("l2_cache_replacement") == "srrip")
    when: dict[str, Expression] = {
        # All models go through the latency of the default size.
        "l2_tlb_latency": P("l2_tlb_entries") != 1536,
        "victima_insertion": victima,
        "pom_tlb_insertion": P("mechanism") == "pom_tlb",
        "far_tlb_entries": P("mechanism").is_in("pom_tlb", "l3_tlb"),
        "l3_tlb_latency_cycles": P("mechanism") == "l3_tlb",
        "cluster_pages": P("mechanism").is_in("victima", "cluster"),
        "victima_predictor": victima,
        "victima_min_walks": boxed,
        "victima_max_walks": boxed,
        "victima_min_memory_walks": boxed,
        "victima_max_memory_walks": boxed,
        "victima_bypass_mpki": boxed,
        "victima_block_priority": prioritised,
        "victima_pressure_mpki": prioritised & (P("victima_block_priority") == "on"),
        "victima_max_block_ways": victima,
        "victima_probe": victima,
        "nested_tlb_entries": P("execution") == "virtualised",
    }
    names = [parameter.name for parameter in parameters]
    return tuple(Condition(name, when[name]) for name in names if name in when)
