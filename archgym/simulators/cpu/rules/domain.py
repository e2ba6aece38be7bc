"""Replacement and prefetch of a cache of the core as a domain of rules."""

from pathlib import Path
from typing import Final

from archgym.simulators.kit.rules import Domain, Hook, deferred, templates

_CASE: Final = "archgym.simulators.cpu.rules.case"
_EVENT = ("line", "set", "block", "ip", "kind", "time")
_LOOK_UP = ("block", "ip", "hit", "time")


CACHE: Final[Domain] = Domain(
    name="cache",
    doc="Blocks that stay in a data cache of an out-of-order core, and what it prefetches.",
    hooks={
        "victim": Hook(
            ("line", "set", "time"),
            "Return the way of a full set that is replaced; `line` is that of way 0.",
            has_result=True,
        ),
        "on_hit": Hook(
            _EVENT,
            "Called on a hit of a rule with `victim`; `line` is `set * WAYS + way`, `block` the "
            "address over 64, `kind` one of the constants LOAD, RFO, PREFETCHED, WRITE, "
            "TRANSLATION.",
        ),
        "on_fill": Hook(_EVENT, "Called when a block is put into a line, as `on_hit`."),
        "prefetch": Hook(
            _LOOK_UP,
            "Return a block to prefetch after a look-up of a load, or -1.",
            has_result=True,
        ),
        "stride": Hook(
            _LOOK_UP,
            "Return the stride in blocks of a look-ahead of `DEGREE` (3) prefetches, one a cycle "
            "within a page; 0 leaves the present one.",
            has_result=True,
        ),
    },
    sizes={"line": "blocks of the cache", "set": "sets of the cache"},
    values={
        "SETS": "sets of the cache",
        "WAYS": "ways of a set",
        "LOAD": "kind of a load",
        "RFO": "kind of a read for ownership",
        "PREFETCHED": "kind of a prefetch",
        "WRITE": "kind of a write-back or store",
        "TRANSLATION": "kind of a page walk's read",
    },
    templates=templates(Path(__file__).parent),
    options={
        "cache": "l1d, l2 or llc (default: l2)",
        "instructions": "instructions to run, three eighths as warm-up (default: 80,000)",
        "l2_sets": "sets of the L2, and every other parameter of the simulator's default space",
    },
    built_in=("lru", "srrip", "drrip", "ship", "next-line", "ip-stride"),
    example={
        **{"line": 8192, "set": 1024, "SETS": 1024, "WAYS": 8},
        **{"LOAD": 0, "RFO": 1, "PREFETCHED": 2, "WRITE": 3, "TRANSLATION": 4},
    },
    open_case=deferred(_CASE, "open_case"),
    compile=lambda hooks: deferred("archgym.rules.compilation", "entry_points")(hooks, CACHE.hooks),
    simulate=deferred(_CASE, "simulate_rule"),
    prepare=deferred(_CASE, "prepare"),
    one_of=("victim", "prefetch", "stride"),
    loss="cycles over those with a cache that always hits",
)
DOMAINS: Final = (CACHE,)
"""Domains of the simulator."""
