"""Searches with several designs in flight: evaluations that they need, and how busy workers are.

    python experiments/parallel.py evaluations [SEEDS] [verdict]
    python experiments/parallel.py busy [WORKERS] [SECONDS]

The first command searches six tasks with one and with eight designs in flight, and prints the
evaluations after which eight reach the reward that one has at 100, by seed and in the median over
all pairs of seeds. For comparison it prints the latter of one in flight and rewards of its other
seeds: chance alone needs that many. The second one has a program
that sleeps evaluated by processes, prints the wall time and the idle share of each worker, and
writes experiments/pictures/busy-workers.svg.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

import archgym as ag
from archgym.agent.agent import agent_class, make_agent
from archgym.bench import bench_task
from archgym.errors import BudgetExhausted
from archgym.evaluation.trials import Trials

TASKS = {
    "development": (
        "soc-small-edp",
        "soc-cava-budget",
        "accelerator-mapping",
        "dram-burst-power",
        "soc-vio-edp",
        "accelerator-mapping-stem-energy",
    ),
    "verdict": (
        "soc-energy-latency-front",
        "soc-cava-cost",
        "accelerator-mapping-late-layer",
        "dram-sort-energy",
        "soc-audio-edp",
        "accelerator-maestro",
    ),
}
GOAL, BUDGET, IN_FLIGHT = 100, 150, 8
# Rewards that differ by less are equal in reports.
EQUAL = 5e-4
PICTURE = Path(__file__).parent / "pictures" / "busy-workers.svg"


def curve(task: ag.Task, budget: int, seed: int, in_flight: int) -> np.ndarray:
    """Return the best reward after each evaluation."""
    agent = make_agent(agent_class("auto"), task.space, seed, {"batch_size": in_flight})
    rewards: list[float] = []

    def evaluate(designs: np.ndarray) -> Trials:
        trials = task.trials(designs, task.evaluate(designs), np.zeros(len(designs), dtype=bool))
        rewards.extend(trials.reward.tolist())
        if len(rewards) >= budget:
            raise BudgetExhausted("The budget is used up.")
        return trials

    with contextlib.suppress(BudgetExhausted):
        agent.search(evaluate, task)
    return np.maximum.accumulate(rewards)[:budget]


def evaluations(seeds: int, split: str) -> None:
    """Print how many evaluations eight designs in flight need."""
    print("| task | reward of 1 at 100 | evaluations of 8 to it, by seed | median | pairs | of 1 |")
    print("|---" * 6 + "|")
    for label in TASKS[split]:
        task = bench_task(label).plan.make()
        one = [curve(task, GOAL, seed, 1) for seed in range(seeds)]
        eight = [curve(task, BUDGET, seed, IN_FLIGHT) for seed in range(seeds)]
        goals = [rewards[-1] for rewards in one]
        needed = [reached(*each) for each in zip(eight, goals, strict=True)]
        pairs = [reached(rewards, goal) for rewards in eight for goal in goals]
        others = [reached(one[n], goals[m]) for n, m in permutations(range(seeds), 2)]
        cells = [text(np.median(each), BUDGET) for each in (needed, pairs)]
        cells.append(text(np.median(others or [np.inf]), GOAL))
        texts = ", ".join(text(n, BUDGET) for n in needed)
        print(f"| {label} | {np.median(goals):.4f} | {texts} | {' | '.join(cells)} |", flush=True)


def reached(rewards: np.ndarray, goal: float) -> float:
    """Return the evaluations after which a curve is at a reward; infinite if it never is."""
    places = np.flatnonzero(rewards >= goal - EQUAL)
    return float(places[0]) + 1 if len(places) else np.inf


def text(n: float, budget: int) -> str:
    """Return a number of evaluations."""
    return f"{n:g}" if np.isfinite(n) else f"> {budget}"


def sleeping(design: Mapping[str, Any]) -> dict[str, float]:
    """Sleep as long as the option says, and note when this process was busy."""
    import os

    started = time.time()
    time.sleep(float(os.environ["SLEEP_S"]))
    path = Path(os.environ["SPANS"]) / str(os.getpid())
    with path.open("a", encoding="utf-8") as handle:
        handle.write(f"{started} {time.time()}\n")
    x, y = float(design["x"]), float(design["y"])
    return {"loss": 1.0 + (x - 37.0) ** 2 / 100.0 + (y - 11.0) ** 2 / 50.0}


def busy(workers: int, seconds: float, budget: int = 104) -> None:
    """Search with a program that sleeps, with one worker's time for comparison."""
    import os

    space = [ag.Integer(name="x", low=0, high=99), ag.Integer(name="y", low=0, high=99)]
    program = ag.simulator(space=space, metrics={"loss": "minimise"})(sleeping)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"SLEEP_S": str(seconds), "SPANS": folder}
        task = ag.Task.make(program)
        for old in Path(folder).iterdir():
            old.unlink()
        started = time.perf_counter()
        found = ag.search(
            task, budget=budget, workers=workers, folder=f"{folder}-study", timeout_s=60.0
        )
        wall = time.perf_counter() - started
        spans = [
            np.array([line.split() for line in path.read_text().splitlines()], dtype=float)
            for path in sorted(Path(folder).iterdir())
        ]
    first, last = min(s[0, 0] for s in spans), max(s[-1, 1] for s in spans)
    print(f"{found.evaluations} evaluations of {seconds:g} s by {workers} workers: {wall:.1f} s,")
    print(f"1/{budget * seconds / wall:.1f} of one worker's {budget * seconds:.0f} s.")
    for number, span in enumerate(spans, start=1):
        idle = 1.0 - (span[:, 1] - span[:, 0]).sum() / (last - first)
        print(f"worker {number}: {len(span)} evaluations, idle {100 * idle:.1f} %")
    draw(spans, first)


def draw(spans: list[np.ndarray], first: float) -> None:
    """Write the picture of busy workers."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.0, 2.4))
    for number, span in enumerate(spans, start=1):
        parts = [(start - first, end - start) for start, end in span.tolist()]
        axes.broken_barh(parts, (number - 0.4, 0.8), edgecolor="white", linewidth=0.5)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("worker")
    figure.tight_layout()
    figure.savefig(PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["busy"]:
        busy(int((arguments[1:2] or ["8"])[0]), float((arguments[2:3] or ["1"])[0]))
    else:
        seeds = int(next((a for a in arguments[1:] if a.isdigit()), "5"))
        evaluations(seeds, "verdict" if "verdict" in arguments else "development")
