"""Searches for a DDR5 and an HBM3 memory with limits, against random search, and their hardness.

Run it as `python benchmarks/dram_search.py [--seeds N] [--budget N] [--write]`. `--write` puts the
table into docs/dram.md. Results of a design are shared between agents and seeds.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np

from archgym.evaluation.objective import REWARD_LIMIT
from archgym.evaluation.task import Task
from archgym.search.agent import agent_class

sys.path.insert(0, str(Path(__file__).parent))
from agent_rewards import Bench

PAGE = Path(__file__).parent.parent / "docs" / "dram.md"
BEGIN, END = "<!-- search: begin -->", "<!-- search: end -->"
AGENTS = ("random", "genetic", "extra_trees")
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
    """Search and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=100, help="designs of a run")
    parser.add_argument("--write", action="store_true", help="update docs/dram.md")
    arguments = parser.parse_args()
    lines: list[str] = []
    for title, choices in TASKS.items():
        lines += search(title, choices, arguments.seeds, arguments.budget)
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


def search(title: str, choices: dict[str, str], n_seeds: int, budget: int) -> list[str]:
    """Return the lines of a task: its hardness and a row for each agent."""
    task = Task.make("dram", controller="ramulator", **choices)
    metric = choices["minimise"]
    place = [m.name for m in task.metrics].index(metric)
    bench = Bench(task)
    found: dict[str, list[np.ndarray]] = {}
    for agent in AGENTS:
        found[agent] = []
        for seed in range(n_seeds):
            best, _ = bench.run(agent_class(agent), seed, budget, {})
            found[agent].append(best)
            print(f"{title}: {agent}, seed {seed}: {best[-1]:.4f}", file=sys.stderr, flush=True)
    goal = bench.best_known - 0.01
    best_value = next(
        float(values.reshape(-1)[place])
        for values, _, reward in bench.results()
        if reward == bench.best_known
    )
    sample = task.space.sample(500, np.random.default_rng(1000))
    random_rewards = task.evaluate(sample).reward
    met = float(np.mean(random_rewards >= -REWARD_LIMIT))
    near = float(np.mean(random_rewards >= goal))
    lines = [
        f"**{title}**, limits `{choices['subject_to']}`, space of {task.space.size:,} designs. "
        f"Of 500 random designs {100 * met:.1f} % meet the limits and {100 * near:.1f} % come "
        f"within 1 % of the best known, {metric} = {best_value:.6g}.",
        "",
        f"| agent | median reward after {budget} designs (range of {n_seeds} seeds) "
        "| seeds that met the limits | seeds within 1 % of the best | median designs to that |",
        "|---|---|---:|---:|---:|",
    ]
    for agent, curves in found.items():
        ends = [float(c[-1]) for c in curves]
        times = [int(np.argmax(c >= goal)) + 1 for c in curves if c[-1] >= goal]
        n_met = sum(e >= -REWARD_LIMIT for e in ends)
        middle = f"{statistics.median(times):.0f}" if len(times) > n_seeds / 2 else "–"
        lines.append(
            f"| {agent} | {statistics.median(ends):.3f} ({min(ends):.3f} to {max(ends):.3f}) "
            f"| {n_met} | {len(times)} | {middle} |"
        )
    return [*lines, ""]


if __name__ == "__main__":
    main()
