"""Design and controller chosen together, against static designs of twice the cost.

Phases of locality on a DRAM controller. A design is the size of the request buffer and what that
limits: the requests of a bank, reads and writes, or all. Its cost is the places that are built.
Within each cost the design is the best of training episodes: once with the best fixed page policy
and scheduler, once with the hand rule. Networks imitate look-ahead on the latter.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from archgym.control.comparison import _interval
from archgym.control.imitation import imitate
from archgym.control.policies import policy_of
from archgym.control.tasks import ControlTask, best_static, roll, static, task_of
from archgym.evaluation.simulator import Workload
from archgym.simulators.dram.control.runs import DramRun
from archgym.simulators.dram.control.tasks import _KINDS, _simulator, in_turns

BASE = task_of("dram-locality")
SIZES = (1, 2, 4, 8, 16, 32, 64)
PLACES = {"Bankwise": 8, "ReadWrite": 2, "Shared": 1}
"""Buffers of the size that are built: DDR3 has eight banks."""


def workload(episode: str) -> Workload:
    """Return the trace of an episode of the task."""
    split, _, seed = episode.rpartition("-")
    first = 10_000 * tuple(BASE.splits).index(split)
    trace = in_turns((_KINDS["stream"], _KINDS["random"]), 20_000, first + int(seed), episode)
    return Workload(episode, trace.digest, trace)


def task_on(size: int, share: str) -> ControlTask:
    """Return the task on another design."""
    design = {"arbiter": "Fifo", "request_buffer_size": size, "scheduler_buffer": share}
    return replace(
        BASE,
        name=f"{BASE.name}-{size}-{share}",
        begin=lambda name: DramRun(_simulator("ddr3-1600"), design, workload(name)),
    )


def main() -> None:
    """Print a row for each cost, and what each saves against static designs of twice its cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=6, help="held out")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="of imitation")
    parser.add_argument("--learned", type=int, nargs="*", default=[], help="costs that learn")
    parser.add_argument("--costs", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="doubling")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    train = BASE.episodes("train")[:3]
    test = BASE.episodes("held-out")[: options.episodes]
    tasks = {
        (size, share): task_on(size, share)
        for size in SIZES
        for share in PLACES
        if PLACES[share] * size <= options.costs[-1]
    }
    known: dict[tuple[int, str], tuple[float, int, float]] = {}
    for design, task in tasks.items():
        action = best_static(task, train)
        fixed = float(np.mean([static(task, name, action).score for name in train]))
        hand = policy_of("hand", task)
        moving = float(np.mean([roll(task, name, hand.act).score for name in train]))
        known[design] = fixed, action, moving
    rows: dict[int, dict[str, list[float]]] = {}
    for cost in options.costs:
        within = [design for design in tasks if PLACES[design[1]] * design[0] <= cost]
        first = min(within, key=lambda design: known[design][0])
        second = min(within, key=lambda design: known[design][2])
        task, hand = tasks[second], policy_of("hand", tasks[second])
        row = {
            "static": [static(tasks[first], name, known[first][1]).score for name in test],
            "hand": [roll(task, name, hand.act).score for name in test],
        }
        for seed in options.seeds if cost in options.learned else ():
            network = imitate(task, seed=seed, rounds=3, episodes=8, horizon=1)
            row[f"imitation-{seed}"] = [roll(task, name, network.act).score for name in test]
        rows[cost] = row
        means = {name: round(float(np.mean(each)), 2) for name, each in row.items()}
        print(cost, first, tasks[first].labels()[known[first][1]], second, means, flush=True)
    options.out.write_text(json.dumps(rows, indent=1) + "\n")
    rng = np.random.default_rng(0)
    for cost in options.costs[:-1]:
        twice = np.array(rows[2 * cost]["static"])
        for name, scores in rows[cost].items():
            saved = 100.0 * (1.0 - np.array(scores) / twice)
            means = saved[rng.integers(len(saved), size=(10_000, len(saved)))].mean(axis=1)
            each = _interval(float(saved.mean()), means)
            print(
                f"{cost:3} {name:12} against static of {2 * cost:3}: saves {each.value:6.1f} % "
                f"({each.low:.1f} to {each.high:.1f})"
            )


if __name__ == "__main__":
    main()
