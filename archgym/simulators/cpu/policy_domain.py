"""Replacement and prefetch of a cache of the core as a domain of policies."""

from collections.abc import Mapping
from typing import Any, Final

from archgym.policies.domain import Domain, Hook
from archgym.simulators.cpu.policy_templates import TEMPLATES

__all__ = ["DOMAINS"]

_EVENT = ("line", "set", "block", "ip", "kind", "time")
_LOOK_UP = ("block", "ip", "hit", "time")


def _prepare() -> None:
    from archgym.simulators.cpu.policy_run import prepare

    prepare()


def _compile(hooks: Mapping[str, Any]) -> Any:
    from archgym.policies.compilation import entry_points

    return entry_points(hooks, CACHE.hooks)


def _simulate(points: Any, storage: Any, case: Mapping[str, Any]) -> dict[str, Any]:
    from archgym.simulators.cpu.policy_run import simulate_policy

    return simulate_policy(points, storage, case)


def _open_case(name: str, options: Mapping[str, str]) -> Any:
    from archgym.simulators.cpu.policy_replay import open_case

    return open_case(name, options)


def _evaluate(source: Any, case: Any, runner: Any, tuned: Mapping[str, int] | None = None) -> Any:
    from archgym.simulators.cpu.policy_replay import evaluate_policy

    return evaluate_policy(source, case, runner, tuned)


def _evaluate_built_in(name: str, case: Any) -> Any:
    from archgym.simulators.cpu.policy_replay import evaluate_built_in

    return evaluate_built_in(name, case)


CACHE: Final = Domain(
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
            "Called on a hit of a policy with `victim`; `line` is `set * WAYS + way`, `block` the "
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
    templates=TEMPLATES,
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
    open_case=_open_case,
    case_input=lambda case: case.arguments(),
    evaluate=_evaluate,
    evaluate_built_in=_evaluate_built_in,
    compile=_compile,
    simulate=_simulate,
    prepare=_prepare,
    one_of=("victim", "prefetch", "stride"),
    loss="cycles over those with a cache that always hits",
)
DOMAINS: Final = (CACHE,)
"""Domains of the simulator."""
