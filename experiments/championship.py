"""Rank rules of cache replacement and prefetch, written as code, under a budget in bits.

    python experiments/championship.py replacement|prefetch [FILE.py ...] [--hidden TRACE ...]

The rules are in championship.md. Three templates that ship take part in each track. Whoever holds
a championship names traces that nobody has seen with `--hidden`: they alone decide the order.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from archgym.errors import ArchGymError
from archgym.rules.language import RuleSource, check_rule, read_rule
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.cpu.rules.domain import CACHE

PUBLIC = {
    "replacement": ("b-tree", "graph-search", "hash-join-small", "pointer-chase-small"),
    "prefetch": ("b-tree", "graph-search", "hash-join-small", "k-mer-count", "sparse-matrix"),
}
# An L2 of 128 KiB, which these programs overflow.
MACHINE = {"cache": "l2", "l2_sets": "256", "instructions": "400000"}
BASELINES = {"replacement": ("srrip", "drrip", "ship"), "prefetch": ("next-line", "ip-stride")}
HOOKS = {
    "replacement": ("victim", "on_hit", "on_fill"),
    "prefetch": ("prefetch", "stride"),
}
KIBIBYTES = {"replacement": 32, "prefetch": 64}


def refusal(track: str, source: RuleSource, sizes: dict[str, int]) -> str:
    """Return why a rule may not take part; empty if it may."""
    if source.domain.name != CACHE.name:
        return f"its domain is {source.domain.name!r}, not {CACHE.name!r}"
    others = sorted(set(source.hooks) - set(HOOKS[track]))
    if others:
        return f"this track has no function {others[0]!r}"
    bits, budget = source.state_bits(sizes), KIBIBYTES[track] * 2**13
    return f"{bits:,} bits of state, of at most {budget:,}" if bits > budget else ""


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean of positive numbers; NaN without any."""
    return float(np.exp(np.mean(np.log(values)))) if values else float("nan")


def scores(track: str, sources: dict[str, RuleSource], traces: list[str]) -> list[dict[str, Any]]:
    """Return name, state and speed by trace of each rule, in the order given."""
    cases = {name: CACHE.open_case(name, MACHINE) for name in traces}
    plain = {name: CACHE.evaluate_built_in("lru", case).loss for name, case in cases.items()}
    sizes = next(iter(cases.values())).sizes
    rows = []
    with RuleRunner() as runner:
        for name, source in sources.items():
            problem = refusal(track, source, sizes)
            speed: dict[str, float] = {}
            for trace, case in cases.items():
                if not problem:
                    result = CACHE.evaluate(source, case, runner)
                    problem = result.problem
                    speed[trace] = plain[trace] / result.loss
            bits = source.state_bits(sizes)
            rows.append({"rule": name, "bits": bits, "problem": problem, "speed": speed})
    return rows


def main() -> int:
    """Print the ranking; 0 if every rule took part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("track", choices=sorted(HOOKS))
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.py")
    parser.add_argument("--hidden", nargs="+", default=[], metavar="TRACE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sources = {name: check_rule(CACHE.templates[name]) for name in BASELINES[given.track]}
    sources |= {str(path): read_rule(path) for path in given.files}
    traces = list(dict.fromkeys([*PUBLIC[given.track], *given.hidden]))
    rows = scores(given.track, sources, traces)
    rows.append(
        {"rule": "lru, none", "bits": 0, "problem": "", "speed": dict.fromkeys(traces, 1.0)}
    )
    for row in rows:
        decide = given.hidden or traces
        ran = not row["problem"]
        row["public"] = (
            geometric_mean([row["speed"][t] for t in PUBLIC[given.track]]) if ran else None
        )
        row["score"] = geometric_mean([row["speed"][t] for t in decide]) if ran else None
    rows.sort(key=lambda row: -(row["score"] or 0.0))
    if given.json:
        print(json.dumps(rows, indent=2))
    else:
        by = f"{len(given.hidden)} hidden traces" if given.hidden else "the public traces"
        print(f"{given.track}: geometric mean of the speed against LRU without prefetch, on {by}")
        for row in rows:
            shown = f"refused: {row['problem']}" if row["problem"] else f"{row['score']:.4f}"
            print(f"  {row['rule']:24} {shown:>8}   {row['bits'] / 8192:6.2f} KiB")
    return int(any(row["problem"] for row in rows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ArchGymError as error:
        sys.exit(f"error: {error}")
