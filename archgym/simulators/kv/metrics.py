"""Metrics and objectives of prefix caches."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from archgym.simulators.kit import Limit, MetricSpec, Objective, Term

_HALF: Final = 2**32

_share = partial(MetricSpec, unit="%", goal="maximise", resolution=0.01, highest=100.0)
_set = partial(MetricSpec, goal="minimise", resolution=0.001, exact=True)
_HELD: Final = "Prompt tokens that the cache holds."

HITS: Final = (
    _share("hit_percent", doc=_HELD, below="optimum_hit_percent"),
    MetricSpec("hit_tokens", "", "maximise", 1.0, _HELD, tied="hit_percent"),
    MetricSpec(
        "optimum_hit_percent", "%", "none", 0.01,
        "Prompt tokens that the best possible eviction finds in as much memory.",
    ),
    MetricSpec(
        "gap_closed_percent", "%", "maximise", 0.1,
        "Share of the way from LRU to the optimum that the policy goes; 100 if LRU is optimal.",
        signed=True, highest=100.0,
    ),
    _set("cache_gib", "GiB", doc="Memory of the GPU for keys and values."),
    _set("host_gib", "GiB", doc="Memory of the tiers below."),
)  # fmt: skip
"""Metrics of all spaces without time."""


def _count(name: str, doc: str) -> MetricSpec:
    return MetricSpec(name, "", "none", 1.0, doc)


def _sums(name: str, of: str) -> tuple[MetricSpec, ...]:
    return tuple(
        _count(f"{name}_checksum_{part}", f"Checksum of {of}: {part} 32 bits.")
        for part in ("high", "low")
    )


COUNTS: Final = (
    _count("requests", "Requests of the stream."),
    _count("rejected", "Requests that need more blocks than the cache has."),
    _count("prompt_blocks", "Full blocks of prompts."),
    _count("eligible_blocks", "Blocks that can be hits: all but the one with the last token."),
    _count("distinct_blocks", "Different blocks of the stream."),
    _count("hit_blocks", "Blocks that were hits."),
    _count("optimum_blocks", "Most blocks that any eviction finds."),
    _count("evictions", "Blocks that lost their content to others."),
    _count("allocated", "Blocks that were not hits."),
    *_sums("hits", "the hits of each request"),
)
POOL_COUNTS: Final = (
    _count("peak_running", "Most requests that ran at a time."),
    _count("waited", "Requests that waited."),
    MetricSpec("wait_ms", "ms", "none", 1.0, "Sum of the times that requests waited."),
    MetricSpec("max_wait_ms", "ms", "none", 1.0, "Longest time that a request waited."),
    *_sums("wait", "the wait of each request"),
    _count("steps", "Steps that the scheduler ran."),
    _count("scheduled_tokens", "Tokens that were computed."),
    _count("preemptions", "Requests that lost their blocks while they ran."),
    _count("last_step", "Step at which the last request ended."),
    *_sums("first", "the first step of each request"),
    *_sums("finish", "the last step of each request"),
)
HOST_COUNTS: Final = (
    _count("host_hit_blocks", "Blocks that were hits in host memory."),
    _count("host_stored", "Blocks that were stored in host memory."),
    _count("host_evicted", "Blocks that host memory gave up."),
    _count("store_failed", "Offers that host memory had no room for."),
    _count("host_offered", "Blocks that were offered to host memory."),
    *_sums("host_hits", "the hits in host memory of each request"),
)
TREE_COUNTS: Final = (
    _count("evicted_nodes", "Leaves that were evicted."),
    _count("used_at_end", "Pages of the tree at the end."),
)
TIMED: Final = (
    HITS[0],
    _share("loaded_percent", doc="Prompt tokens that the tiers gave back."),
    _share("found_percent", doc="Prompt tokens that are not computed."),
    MetricSpec("saved_prefill_s", "s", "maximise", 0.001, "Time of prefill that hits saved."),
    MetricSpec("ttft_p50_ms", "ms", "minimise", 0.1, "Time to the first token, median."),
    MetricSpec("ttft_p90_ms", "ms", "minimise", 0.1, "Time to the first token, 90th percentile."),
    MetricSpec("ttft_p99_ms", "ms", "minimise", 0.1, "Time to the first token, 99th percentile."),
    MetricSpec("tpot_p50_ms", "ms", "minimise", 0.01, "Time of an output token, median."),
    MetricSpec("tpot_p90_ms", "ms", "minimise", 0.01, "Time of an output token, 90th percentile."),
    MetricSpec("goodput_per_s", "1/s", "maximise", 1e-4, "Requests a second within both limits."),
    MetricSpec(
        "output_per_s", "1/s", "maximise", 0.1, "Output tokens a second.", tied="-duration_s"
    ),
    MetricSpec("duration_s", "s", "minimise", 0.01, "Time until the last request has ended."),
    MetricSpec("busy_percent", "%", "none", 0.01, "Time that workers compute."),
    _count("preemptions", "Requests that lost their blocks while they ran."),
    _count("peak_running", "Most requests that one worker ran at a time."),
    _count("rejected", "Requests that need more blocks than a worker has."),
    MetricSpec("cache_gib", "GiB", "none", 0.001, "Memory of accelerators for keys and values."),
    *(
        MetricSpec(
            f"{name}_moved_gb", "GB", "none", 0.001,
            f"Loads from and stores to {name} until the last request ends.",
        )
        for name in ("dram", "cxl", "flash", "remote")
    ),
    MetricSpec("handed_gb", "GB", "none", 0.001, "Keys and values from prefill workers to others."),
    MetricSpec(
        "joules_per_mtoken", "J", "minimise", 0.1, "Energy of a million prompt and output tokens."
    ),
    _set("usd_per_hour", "$", doc="Rent of accelerators and price of tiers."),
    MetricSpec(
        "usd_per_mtoken", "$", "minimise", 1e-5, "Cost of a million prompt and output tokens.",
        tied="usd_per_hour * duration_s",
    ),
)  # fmt: skip
"""Metrics of the space `serving`."""
METRICS: Final[Mapping[str, tuple[MetricSpec, ...]]] = {
    "vllm": (*HITS, *COUNTS, *POOL_COUNTS),
    "sglang": (*HITS, *COUNTS, *TREE_COUNTS),
    "offload": (*HITS, *COUNTS, *HOST_COUNTS),
    "serving": TIMED,
}
"""Metrics by space."""

_COUNTED: Final = (
    Objective(
        "hits-per-memory",
        (
            Term("hit_percent", "maximise"),
            Term("cache_gib", "minimise", weight=0.25),
            Term("host_gib", "minimise", weight=0.05),
        ),
        "Many hits in little memory; that of the GPU weighs five times as much as the host's.",
    ),
    Objective("hits", (Term("hit_percent", "maximise"),), "Most hits."),
    Objective("gap", (Term("gap_closed_percent", "maximise"),), "Policy closest to the best."),
    Objective(
        "memory-for-half",
        (Term("cache_gib", "minimise"),),
        "Least memory that finds half of the prompt tokens.",
        limits=(Limit("hit_percent", ">=", 50.0),),
    ),
)
_SERVED: Final = (
    Objective(
        "cost",
        (Term("usd_per_mtoken", "minimise"),),
        "Least cost with first tokens within two seconds for nine of ten requests.",
        limits=(Limit("ttft_p90_ms", "<=", 2000.0),),
    ),
    Objective("latency", (Term("ttft_p90_ms", "minimise"),), "Quickest first tokens."),
    Objective("goodput", (Term("goodput_per_s", "maximise"),), "Most requests within limits."),
    Objective("energy", (Term("joules_per_mtoken", "minimise"),), "Least energy of a token."),
)


def objectives(space: str) -> dict[str, Objective]:
    """Return the objectives of a space; the first is the default."""
    return {each.name: each for each in (_SERVED if space == "serving" else _COUNTED)}


def gap_share(hits: int, of_lru: int, optimum: int) -> float:
    """Return the share of the gap from LRU to the optimum that hits close.

    Where LRU is optimal it is 1 for as many hits, and below 0 for fewer.
    """
    if hits == optimum:
        return 1.0
    return (hits - of_lru) / (optimum - of_lru or optimum)


def values_of(counts: Mapping[str, Any], names: tuple[str, ...]) -> list[float]:
    """Return metrics in order; a checksum of 64 bits is given as two numbers of 32."""
    found = []
    for name in names:
        stem, _, part = name.rpartition("_checksum_")
        if not stem:
            found.append(float(counts.get(name, 0.0)))
        else:
            whole = counts.get(f"{stem}_checksum", 0)
            found.append(float(whole // _HALF if part == "high" else whole % _HALF))
    return found
