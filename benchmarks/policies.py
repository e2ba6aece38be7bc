"""Equality and speed of policies as code against the built-in kernels.

    python benchmarks/policies.py

Each row replays the same events with a built-in policy and with the same policy written in the
language, with the smallest of several times.
"""

import argparse
import time

from archgym.policies.domain import domain
from archgym.policies.sandbox import PolicyRunner
from archgym.simulators.moe.policy_traces import open_case
from archgym.simulators.moe.replay import replay_events

POLICIES = ("lru", "lfu", "lfru")


def main() -> None:
    """Print the table; exit with 1 if a count differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trace", default="olmoe:1")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    templates = domain("expert-cache").templates
    is_equal = True
    print("policy  capacity  misses (built-in)  misses (written)  built-in ms  written ms  speed")
    with PolicyRunner(600) as runner:
        for name in POLICIES:
            for share in ("10%", "25%", "50%"):
                case = open_case(options.trace, {"capacity": share})
                arguments = case.arguments(0)
                written = [runner.run(templates[name], arguments) for _ in range(options.repeats)]
                built_in_s = []
                for _ in range(options.repeats):
                    started = time.perf_counter()
                    built_in = replay_events(case.events, name, case.capacity)
                    built_in_s.append(time.perf_counter() - started)
                ours, theirs = min(each["seconds"] for each in written), min(built_in_s)
                is_equal &= built_in.misses == written[0]["misses"]
                print(
                    f"{name:6}  {share:>8}  {built_in.misses:17}  {written[0]['misses']:16}"
                    f"  {1e3 * theirs:11.1f}  {1e3 * ours:10.1f}  {theirs / ours:5.2f}"
                )
    raise SystemExit(0 if is_equal else 1)


if __name__ == "__main__":
    main()
