"""TLB replacement as a domain of rules."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.simulators.kit.rules import Domain, Hook, deferred, templates
from archgym.simulators.translation.kernel.state import EMPTY

_CASE: Final = "archgym.simulators.translation.rules.case"


def _simulate(replay: Any, storage: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return counts of a rule on the pages of a case."""
    from archgym.simulators.translation.rules.kernel import COUNTS

    counts = np.zeros(len(COUNTS), dtype=np.int64)
    tags = np.full(int(case["entries"]), EMPTY, dtype=np.int64)
    started = time.perf_counter()
    replay(
        case["pages"],
        case["mapped"],
        tags,
        np.zeros(len(tags), dtype=np.int64),
        int(case["ways"]),
        counts,
        storage.memory,
        storage.floats,
    )
    took_s = time.perf_counter() - started
    return {**dict(zip(COUNTS, counts.tolist(), strict=True)), "seconds": took_s}


TLB: Final = Domain(
    name="tlb",
    doc="Entries that stay in a set-associative TLB, and pages that are brought ahead.",
    hooks={
        "on_hit": Hook(
            ("line", "set", "page", "time"), "Called on a hit; `line` is `set * WAYS + way`."
        ),
        "on_fill": Hook(("line", "set", "page", "time"), "Called when a page is put into a line."),
        "victim": Hook(
            ("line", "set", "time"),
            "Return the way of a full set that is replaced; `line` is that of way 0.",
            is_required=True,
            has_result=True,
        ),
        "prefetch": Hook(
            ("page", "hit", "time"),
            "Return a page to bring after an access, or -1; pages that the program does not have "
            "are ignored.",
            has_result=True,
        ),
    },
    sizes={"line": "entries of the TLB", "set": "sets of the TLB"},
    values={"SETS": "sets of the TLB", "WAYS": "ways of a set"},
    templates=templates(Path(__file__).parent),
    options={
        "entries": "entries of the TLB (default: 1536)",
        "ways": "ways of a set (default: 12)",
        "walk_cycles": "cycles of a page walk (default: 100)",
        "prefetch_percent": "share of a miss that a prefetch counts in the loss (default: 100)",
    },
    built_in=("lru", "fifo", "srrip", "next-page"),
    example={"line": 1536, "set": 128, "SETS": 128, "WAYS": 12},
    open_case=deferred(_CASE, "open_case"),
    compile=deferred("archgym.simulators.translation.rules.kernel", "make_replay"),
    simulate=_simulate,
    loss="walks over those of the optimum without prefetch",
)
DOMAINS: Final = (TLB,)
"""Domains of the simulator."""
