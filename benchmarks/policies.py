"""Equality and speed of policies as code against the built-in kernels.

    python benchmarks/policies.py

Each row replays the same accesses with a built-in policy and with the same policy written in the
language. Times are the smallest of several, without compilation.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from archgym.policies.domain import domain
from archgym.policies.sandbox import PolicyRunner
from archgym.simulators.moe.replay import replay_events
from archgym.simulators.translation.policy_replay import built_in_counts

Row = tuple[str, str, str, dict[str, Any], Callable[[], int]]


def expert_caches() -> Iterator[Row]:
    """Yield domain, case, policy, input and built-in replay of expert caches."""
    for share in ("10%", "25%", "50%"):
        case = domain("expert-cache").open_case("olmoe:1", {"capacity": share})
        for name in ("lru", "lfu", "lfru"):

            def built_in(name: str = name, case: Any = case) -> int:
                return int(replay_events(case.events, name, case.capacity).misses)

            yield "expert-cache", f"olmoe:1 {share}", name, case.arguments(0), built_in


def tlbs() -> Iterator[Row]:
    """Yield domain, case, policy, input and built-in replay of TLBs."""
    for trace in ("sort", "graph-search"):
        case = domain("tlb").open_case(trace, {})
        for name in ("lru", "fifo", "srrip"):

            def built_in(name: str = name, case: Any = case) -> int:
                return built_in_counts(name, case)

            yield "tlb", trace, name, case.arguments(), built_in


def main() -> None:
    """Print the table; exit with 1 if a count differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    is_equal = True
    print("domain        case           policy  built-in  written  built-in ms  written ms  speed")
    with PolicyRunner(600) as runner:
        for place, case, name, arguments, built_in in (*expert_caches(), *tlbs()):
            text = domain(place).templates[name]
            built_in()
            runner.run(text, arguments)
            theirs, ours = [], []
            for _ in range(repeats):
                started = time.perf_counter()
                expected = built_in()
                theirs.append(time.perf_counter() - started)
                found = runner.run(text, arguments)
                ours.append(found["seconds"])
            is_equal &= expected == found["misses"]
            print(
                f"{place:12}  {case:13}  {name:6}  {expected:8}  {found['misses']:7}"
                f"  {1e3 * min(theirs):11.2f}  {1e3 * min(ours):10.2f}"
                f"  {min(theirs) / min(ours):5.2f}",
                flush=True,
            )
    raise SystemExit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
