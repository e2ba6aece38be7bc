"""Searches at two fidelities against searches at one, charged by measured cost.

`python benchmarks/fidelities.py cost`, `... run FILE.jsonl [--seeds N]`, `... page FILE.jsonl`

`cost` prints the processor time of an evaluation at the cheaper fidelity over that at the task's
own, and the rank correlation of rewards, by random designs.

`run` searches each task of the suite `fidelity` that has a cheaper one, and the mixes below: `auto`
alone for 80 evaluations; at two fidelities for a cost of 20 `screened_search` and the methods of
`fidelity_peers.py`, which need syne-tune and SMAC3. `page` writes the table in docs/bench.md. The
bar: after a cost of 20, the search at two fidelities is as good as `auto` alone after 80.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fidelity_peers import METHODS, peer_curve
from scipy.stats import spearmanr

from archgym.analysis.statistics import improvement_p_value
from archgym.bench import BenchTask, bench_tasks, screened_search
from archgym.bench.suite import Cheaper
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.studies.study import Study
from archgym.sweep.plan import TaskPlan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "bench.md"
START, END = "<!-- fidelities: begin -->", "<!-- fidelities: end -->"
WHOLE, QUARTER = 80, 20
AGENT = "auto"
# chosen: the usual level of tests.
LEVEL = 0.05
PEERS = tuple(METHODS)
KINDS = ("whole", "screened", *PEERS)
NAMES = {"asha": "ASHA", "bohb": "BOHB", "smac": "SMAC3"}

SYNTHETIC = (
    *("cloud-1", "cloud-2", "stream", "random", "strided", "pointer-chase", "mixed-rw"),
    *("bursty-rw", "sparse-rw", "copy-rw", "multicore-rw"),
)
RECORDED = (
    *("weight-stream", "kv-cache-gather", "expert-load", "expert-misses", "gups"),
    *("recorded-graph-search", "recorded-hash-join", "recorded-kmer-count"),
    *("recorded-moe-gather", "recorded-random-access", "recorded-sort"),
)


def _mix(
    label: str,
    split: Any,
    simulator: str,
    space: str,
    objective: str,
    workloads: Sequence[str],
    few: Sequence[str],
    relative_cost: float,
    fidelity: str | None = None,
) -> BenchTask:
    """Return a task on many workloads, whose cheaper way to ask takes few of them."""
    plan = TaskPlan(label, simulator, space, dict.fromkeys(workloads, 1.0), objective)
    cheaper = replace(plan, workloads=dict.fromkeys(few, 1.0), fidelity=fidelity)
    return BenchTask(plan, (), split, (), "", cheaper=Cheaper(cheaper, relative_cost))


# The few workloads are the one or two that cost a tenth at most and rank random designs most like
# the mix does (16 designs, 10 of the CPU and the accelerator; seed 5). No search was looked at.
MIXES = (
    _mix(
        *("dram-synthetic-mix", "development", "dram", "default", "balanced"),
        *(SYNTHETIC, ("cloud-1", "stream"), 0.079),
    ),
    _mix(
        *("dram-mix", "verdict", "dram", "dramsys", "balanced"),
        *((*SYNTHETIC, *RECORDED), ("stream", "recorded-kmer-count"), 0.068),
    ),
    _mix(
        *("translation-mix", "verdict", "translation", "hardware", "speed-per-area"),
        ("graph-search", "hash-join", "kmer-count", "moe-gather", "random-access", "sort"),
        *(("sort",), 0.095),
    ),
    _mix(
        *("cpu-mix", "verdict", "cpu", "default", "performance-energy-area"),
        ("hash-join", "graph-search", "b-tree", "sort", "interpreter", "k-mer-count",
         "decompress", "rules"),
        *(("rules",), 0.058),
    ),
    _mix(
        *("accelerator-mix", "verdict", "accelerator", "default", "edp"),
        ("resnet-18", "alexnet", "mobilenet-v2", "mobilenet-v3", "efficientnet-b0", "vgg-16"),
        *(("efficientnet-b0",), 0.06, "fast"),
    ),
)  # fmt: skip


def tasks() -> list[BenchTask]:
    """Return the tasks of the study, those that settings were chosen on first."""
    found = [b for b in bench_tasks("fidelity") if b.cheaper is not None]
    return sorted([*found, *MIXES], key=lambda bench: bench.split)


def cost(designs: int) -> None:
    """Print the relative cost of each cheaper fidelity."""
    for bench in tasks():
        assert bench.cheaper is not None
        task, cheaper = bench.plan.make(), bench.cheaper.plan.make()
        drawn = task.space.sample(designs, np.random.default_rng(5))
        rewards, seconds = [], []
        for one in (task, cheaper):
            one.evaluate(drawn[:1])
            begun = time.process_time()
            rewards.append(one.evaluate(drawn).reward)
            seconds.append(time.process_time() - begun)
        alike = spearmanr(rewards[0], rewards[1]).statistic
        print(
            f"{bench.label}: {1000 * seconds[0] / designs:.1f} ms, relative cost "
            f"{seconds[1] / seconds[0]:.3f}, rank correlation {alike:.3f}",
            flush=True,
        )


def run(path: Path, seeds: int, first: int, labels: list[str], kinds: list[str]) -> None:
    """Append a line for each run that the file lacks."""
    lines = path.read_text().splitlines() if path.exists() else []
    done = {(r["task"], r["kind"], r["seed"]) for r in map(json.loads, lines)}
    for bench in tasks():
        if labels and bench.label not in labels:
            continue
        for seed in range(first, first + seeds):
            for kind in kinds:
                if (bench.label, kind, seed) not in done:
                    begun = time.process_time()
                    steps = _steps(bench, kind, seed)
                    seconds = time.process_time() - begun
                    line = {"task": bench.label, "kind": kind, "seed": seed, "steps": steps}
                    with path.open("a") as handle:
                        handle.write(json.dumps(line) + "\n")
                    print(f"{bench.label} {kind} {seed}: {steps[-1:]} {seconds:.1f} s", flush=True)


def _steps(bench: BenchTask, kind: str, seed: int) -> list[list[float]]:
    """Return cost and best reward where the best reward changes."""
    assert bench.cheaper is not None
    if kind in PEERS:
        return best_steps(*peer_curve(kind, bench, seed, QUARTER))
    with TemporaryDirectory() as name:
        folder, task = Path(name) / "s", bench.plan.make()
        if kind == "whole":
            study = Study.create(folder, task, AGENT, seed=seed, budget=WHOLE)
            return best_steps(range(1, WHOLE + 1), study.run().log.curve())
        found = screened_search(
            folder,
            task,
            bench.cheaper.plan.make(),
            relative_cost=bench.cheaper.relative_cost,
            cost=QUARTER,
            seed=seed,
        )
        return best_steps(*found.curve())


def best_steps(costs: Iterable[float], rewards: Iterable[float]) -> list[list[float]]:
    """Return the steps of a curve at which the best reward changes."""
    steps: list[list[float]] = []
    for cost, reward in zip(costs, rewards, strict=True):
        if not steps or reward > steps[-1][1]:
            steps.append([round(float(cost), 3), float(reward)])
    return steps


def page(path: Path) -> str:
    """Return the table and the verdict."""
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    peers = [kind for kind in PEERS if any(run["kind"] == kind for run in runs)]
    lines = [
        f"| task | relative cost | `auto`, cost {QUARTER} | `few` at two fidelities, cost {QUARTER} "
        f"| {' | '.join(f'{NAMES[peer]}, cost {QUARTER}' for peer in peers)} "
        f"| `auto`, cost {WHOLE} | seeds | p, better than cost {QUARTER} "
        f"| p, worse than cost {WHOLE} |",
        "|---" * (8 + len(peers)) + "|",
    ]
    met: dict[str, list[bool]] = {"development": [], "verdict": []}
    for bench in tasks():
        found = {
            (kind, limit): _best_at(runs, bench.label, kind, limit)
            for kind, limit in (
                ("whole", QUARTER),
                ("screened", QUARTER),
                *((peer, QUARTER) for peer in peers),
                ("whole", WHOLE),
            )
        }
        whole, screened = found["whole", WHOLE], found["screened", QUARTER]
        assert bench.cheaper is not None
        if not len(whole) or not len(screened):
            continue
        met[bench.split].append(bool(screened.mean() >= whole.mean()))
        cells = " | ".join(map(_cell, found.values()))
        better = improvement_p_value([screened], [found["whole", QUARTER]])
        worse = improvement_p_value([whole], [screened])
        lines += [
            f"| {bench.label} ({bench.split}) | {bench.cheaper.relative_cost} | {cells} "
            f"| {len(screened)} | {better:.2f} | {worse:.2f} |"
        ]
    counts = {split: f"{sum(each)} of {len(each)} {split} tasks" for split, each in met.items()}
    n_met = sum(map(sum, met.values()))
    lines += [
        "",
        "Best reward, mean over seeds [lowest, highest]; the peers have the number of seeds in "
        f"brackets. Equal reward at a quarter of the cost: {' and '.join(counts.values())}, so the "
        f"bar of four tasks is {'met' if n_met >= 4 else 'not met'}.",
    ]
    return "\n".join(lines)


def _best_at(runs: list[dict[str, Any]], label: str, kind: str, limit: float) -> np.ndarray:
    """Return the best reward within a cost of each seed, by seed."""
    found = {
        run["seed"]: max(
            (r for c, r in run["steps"] if c <= limit + 1e-9), default=INFEASIBLE_REWARD
        )
        for run in runs
        if (run["task"], run["kind"]) == (label, kind)
    }
    return np.array([found[seed] for seed in sorted(found)])


def _cell(values: np.ndarray) -> str:
    if not len(values):
        return "not run"
    return f"{values.mean():.3f} [{values.min():.3f}, {values.max():.3f}]"


def main() -> None:
    """Measure costs, run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["cost", "run", "page"])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--tasks", nargs="*", default=[])
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--designs", type=int, default=24)
    given = parser.parse_args()
    if given.verb == "cost":
        cost(given.designs)
        return
    if given.file is None:
        parser.error("FILE is needed")
    if given.verb == "run":
        run(given.file, given.seeds, given.first, given.tasks, given.kinds.split(","))
        return
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{page(given.file)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
