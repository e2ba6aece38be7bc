"""Equality and speed of policies as code against the built-in kernels.

    python benchmarks/policies.py                       # prints the table
    python benchmarks/policies.py --write experiments/rules.md

Each row runs the same accesses with a built-in policy and with the same policy written in the
language. Times are the smallest of several, alternated, without compilation.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from archgym.files.storage import write_atomic
from archgym.rules.domain import domain
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.cpu.rules.case import BUILT_IN as CACHE_POLICIES
from archgym.simulators.cpu.rules.case import run_case
from archgym.simulators.dram.rules.case import BUILT_IN as DRAM_POLICIES
from archgym.simulators.moe.kernel.replay import replay_events
from archgym.simulators.translation.rules.case import BUILT_IN as TLB_POLICIES

BEGIN: Final = "<!-- policies:begin -->"
END: Final = "<!-- policies:end -->"
Run = Callable[[], Mapping[str, Any]]
# Domain, case, policy, input of the written one, all results of the built-in one, its timed run.
Row = tuple[str, str, str, Mapping[str, Any], Run, Callable[[], Any]]


def expert_caches() -> Iterator[Row]:
    """Yield rows of expert caches."""
    for share in ("10%", "25%", "50%"):
        case = domain("expert-cache").open_case("olmoe:1", {"capacity": share})
        for name in ("lru", "lfu", "lfru"):

            def run(name: str = name, case: Any = case) -> Mapping[str, Any]:
                return {"misses": replay_events(case.events, name, case.capacity).misses}

            yield "expert-cache", f"olmoe:1 {share}", name, case.arguments(0), run, run


def tlbs() -> Iterator[Row]:
    """Yield rows of TLBs."""
    for trace in ("sort", "graph-search"):
        case = domain("tlb").open_case(trace, {})
        for name in TLB_POLICIES:

            def run(name: str = name, case: Any = case) -> Mapping[str, Any]:
                return dict(case.built_in_counts(name))

            yield "tlb", trace, name, case.input(), run, run


def drams() -> Iterator[Row]:
    """Yield rows of DRAM controllers."""
    for trace, size in (("cloud-1", "32"), ("bursty-rw", "8")):
        case = domain("dram-scheduling").open_case(trace, {"request_buffer_size": size})
        for name in DRAM_POLICIES:

            def run(name: str = name, case: Any = case) -> Mapping[str, Any]:
                return case.built_in_counts(name)

            yield "dram-scheduling", f"{trace} {size}", name, case.arguments, run, run


def caches() -> Iterator[Row]:
    """Yield rows of caches of the core."""
    for trace, cache in (("hash-join-small", "l1d"), ("b-tree", "l2")):
        case = domain("cache").open_case(trace, {"cache": cache})
        for name in CACHE_POLICIES:
            given = case.built_in_input(name)

            def run(name: str = name, case: Any = case) -> Mapping[str, Any]:
                return dict(case.built_in_counts(name))

            def timed(given: Any = given) -> Any:
                return run_case(given)

            yield "cache", f"{trace} {cache}", name, case.input(), run, timed


def measured(repeats: int, only: str) -> Iterator[tuple[list[str], bool]]:
    """Yield cells of the table, and True if the results are equal.

    Args:
      repeats: Runs of each, of which the fastest counts.
      only: Text that a row's domain, case and policy must contain.
    """
    with RuleRunner(600) as runner:
        for place, case, name, arguments, built_in, timed in (
            *expert_caches(),
            *tlbs(),
            *drams(),
            *caches(),
        ):
            if only not in f"{place} {case} {name}":
                continue
            text = domain(place).templates[name]
            expected = built_in()
            found = runner.run(text, arguments)
            is_equal = all(found.get(key) == value for key, value in expected.items())
            theirs, ours = [], []
            for _ in range(repeats):
                started = time.perf_counter()
                timed()
                theirs.append(time.perf_counter() - started)
                ours.append(runner.run(text, arguments).get("seconds", float("nan")))
            cells = [place, case, name, str(len(expected)), "yes" if is_equal else "NO"]
            cells += [f"{1e3 * min(each):.2f}" for each in (theirs, ours)]
            yield [*cells, f"{min(theirs) / min(ours):.2f}"], is_equal


def main() -> None:
    """Print the table; exit with 1 if a result differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--write", type=Path, help="Page whose marked table is replaced.")
    parser.add_argument("--only", default="", help="Text that rows must contain.")
    given = parser.parse_args()
    heads = ["domain", "case", "policy", "results", "equal", "built-in ms", "written ms", "speed"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    print("\n".join(lines), flush=True)
    are_equal = True
    for cells, is_equal in measured(given.repeats, given.only):
        are_equal &= is_equal
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if given.write is not None and given.only:
        page = given.write.read_text("utf-8").split("\n")
        for line in lines[2:]:
            names = line.split(" | ")[:3]
            page = [line if each.split(" | ")[:3] == names else each for each in page]
        write_atomic(given.write, "\n".join(page))
    elif given.write is not None:
        before, _, rest = given.write.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        table = "\n".join(lines)
        write_atomic(given.write, f"{before}{BEGIN}\n{table}\n{END}{after}")
    raise SystemExit(0 if are_equal else 1)


if __name__ == "__main__":
    main()
