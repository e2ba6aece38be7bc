"""Searches for a DDR5 and an HBM3 memory with limits, against random search, and their hardness.

Run it as `python experiments/dram_search.py [--seeds N] [--budget N] [--designs N] [--only TEXT]
[--write]`. It writes all figures to experiments/data/dram-searches.json; `--write` also puts the
table into experiments/dram.md. Results of a design are shared between agents and seeds.

Hardness is the mean number of designs that random search needs to come within 1 % of the best
known. The best known is that of all runs and of long ones by `genetic`. If k of N random designs
lie within 1 % of it, hardness is about N / k. Where k is below 10, or the best known is one of the
N, only a lower limit is given, as in experiments/bench_hardness.py.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2

from archgym.agent.agent import agent_class
from archgym.evaluation.objective import REWARD_LIMIT
from archgym.tasks.task import Task

sys.path.insert(0, str(Path(__file__).parent))
from agent_rewards import Bench

EXPERIMENTS = Path(__file__).resolve().parent
PAGE, DATA = EXPERIMENTS / "dram.md", EXPERIMENTS / "data" / "dram-searches.json"
BEGIN, END = "<!-- search: begin -->", "<!-- search: end -->"
AGENTS = ("random", "genetic", "extra_trees")
# Rewards are logarithms, so this is 1 % of the metric.
WITHIN = 0.01
# chosen: the standard error of the estimate is then below a third of it.
ENOUGH = 10
# Designs and seeds of the searches that only look for the best known design.
LONG = (400, 2)
BATCH = 1000
# chosen: so that a few of a hundred random designs meet the limits.
TASKS = {
    "DDR5: least mean latency of a gather from the KV cache": {
        "device": "ddr5",
        "workload": "kv-cache-gather",
        "minimise": "mean_latency_ns",
        "subject_to": "total_energy_pj <= 60e6, p99_latency_ns <= 2000",
    },
    "HBM3: least time of a weight stream": {
        "device": "hbm3",
        "workload": "weight-stream",
        "minimise": "total_time_ns",
        "subject_to": "data_pins <= 256, p99_latency_ns <= 4000",
    },
}


def main() -> None:
    """Search, record and print the table."""
    parser = argparse.ArgumentParser(description="Searches for memories with limits.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=100, help="designs of a run")
    parser.add_argument("--designs", type=int, default=4000, help="random designs for hardness")
    parser.add_argument("--only", default="", help="tasks whose title holds this text")
    parser.add_argument("--table", action="store_true", help="only read what is recorded")
    parser.add_argument("--write", action="store_true", help="update experiments/dram.md")
    given = parser.parse_args()
    if not given.table:
        for title, choices in TASKS.items():
            if given.only in title:
                result = search(title, choices, given.seeds, given.budget, given.designs)
                found = json.loads(DATA.read_text()) if DATA.exists() else {}
                DATA.write_text(json.dumps({**found, title: result}, indent=1) + "\n")
    text = "\n".join(line for each in json.loads(DATA.read_text()).items() for line in lines(*each))
    print(text)
    if given.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


def search(
    title: str, choices: dict[str, str], n_seeds: int, budget: int, designs: int
) -> dict[str, Any]:
    """Return the figures of a task: of each run, and of random designs."""
    task = Task.make("dram", **choices)
    place = [m.name for m in task.metrics].index(choices["minimise"])
    bench = Bench(task)
    curves: dict[str, list[np.ndarray]] = {}
    for agent in AGENTS:
        for seed in range(n_seeds):
            curves.setdefault(agent, []).append(bench.run(agent_class(agent), seed, budget, {})[0])
        print(f"{title}: {agent}, {n_seeds} seeds", file=sys.stderr, flush=True)
    for seed in range(LONG[1]):
        bench.run(agent_class("genetic"), n_seeds + seed, LONG[0], {})
    # A seed that no agent has; repeated designs are one in thousands.
    rng = np.random.default_rng(1_000_003)
    parts = [task.space.sample(BATCH, rng) for _ in range(designs // BATCH)]
    evaluations = [task.evaluate(part) for part in parts]
    rewards = np.concatenate([each.reward for each in evaluations])
    values = np.concatenate([each.values.reshape(len(each.reward), -1) for each in evaluations])
    best = max(bench.results(), key=lambda result: result[2])
    is_searched = best[2] > rewards.max()
    reward, value = best[2], float(best[0].reshape(-1)[place])
    if not is_searched:
        reward, value = float(rewards.max()), float(values[int(rewards.argmax()), place])
    n_near = int((rewards >= reward - WITHIN).sum())
    is_exact = is_searched and n_near >= ENOUGH
    # Otherwise the upper limit of a Poisson rate with 95 % confidence.
    rate = n_near if is_exact else float(chi2.ppf(0.95, 2 * (n_near + 1))) / 2
    return {
        "task": choices,
        "space": task.space.size,
        "budget": budget,
        "best_reward": reward,
        "best_value": value,
        "random_designs": len(rewards),
        "random_met": int((rewards >= -REWARD_LIMIT).sum()),
        "random_within_1_percent": n_near,
        "hardness": len(rewards) / rate,
        "hardness_is_at_least": not is_exact,
        "runs": {
            agent: [
                {
                    "reward": float(curve[-1]),
                    "designs_to_1_percent": int(np.argmax(curve >= reward - WITHIN)) + 1
                    if curve[-1] >= reward - WITHIN
                    else None,
                }
                for curve in of_agent
            ]
            for agent, of_agent in curves.items()
        },
    }


def lines(title: str, found: dict[str, Any]) -> list[str]:
    """Return the text of a task: its hardness and a row for each agent."""
    n, task = found["random_designs"], found["task"]
    at_least = "at least " if found["hardness_is_at_least"] else "about "
    result = [
        f"**{title}**, limits `{task['subject_to']}`, space of {found['space']:,} designs. Best "
        f"known: {task['minimise']} = {found['best_value']:.6g}. Of {n:,} random designs "
        f"{found['random_met']:,} meet the limits and {found['random_within_1_percent']} come "
        f"within 1 % of the best known, so hardness is {at_least}{found['hardness']:.3g} "
        "evaluations.",
        "",
        f"| agent | median reward after {found['budget']} designs (range) "
        "| runs that met the limits | runs within 1 % of the best | median designs to that |",
        "|---|---|---:|---:|---:|",
    ]
    for agent, runs in found["runs"].items():
        ends = [run["reward"] for run in runs]
        times = [run["designs_to_1_percent"] or np.inf for run in runs]
        n_near, middle = sum(np.isfinite(times)), statistics.median(times)
        result.append(
            f"| {agent} | {statistics.median(ends):.3f} ({min(ends):.3f} to {max(ends):.3f}) "
            f"| {sum(e >= -REWARD_LIMIT for e in ends)} of {len(runs)} | {n_near} of {len(runs)} "
            f"| {f'{middle:.0f}' if np.isfinite(middle) else '–'} |"
        )
    return [*result, ""]


if __name__ == "__main__":
    main()
