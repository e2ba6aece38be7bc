"""Searches at two fidelities against searches at one, charged by measured cost.

`python benchmarks/fidelities.py cost`, `... run FILE.jsonl [--seeds N]`, `... page FILE.jsonl`

`cost` prints the processor time of an evaluation at the cheaper fidelity over that at the task's
own, and the rank correlation of rewards, by random designs; tasks.yaml has these costs.

`run` searches each task of the suite `fidelity` that has a cheaper one: `auto` alone for 80
evaluations, and `auto` screened at the cheaper fidelity for a cost of 20. `page` writes the table
in docs/bench.md. The bar: after a cost of 20, the screened search is as good as `auto` alone
after 80.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from archgym.analysis.statistics import improvement_p_value
from archgym.bench import BenchTask, bench_tasks, screened_search
from archgym.bench.suite import Cheaper
from archgym.studies.study import Study
from archgym.sweep.plan import TaskPlan

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "bench.md"
START, END = "<!-- fidelities: begin -->", "<!-- fidelities: end -->"
WHOLE, QUARTER = 80, 20
AGENT = "auto"
# chosen: the usual level of tests.
LEVEL = 0.05
PEERS = ("asha", "bohb", "smac")
KINDS = ("whole", "screened", *PEERS)

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


def run(path: Path, seeds: int, first: int) -> None:
    """Append a line for each run that the file lacks."""
    lines = path.read_text().splitlines() if path.exists() else []
    done = {(r["task"], r["kind"], r["seed"]) for r in map(json.loads, lines)}
    for bench in tasks():
        assert bench.cheaper is not None
        task, cheaper = bench.plan.make(), bench.cheaper.plan.make()
        for seed in range(first, first + seeds):
            with TemporaryDirectory() as name:
                folder = Path(name)
                if (bench.label, "whole", seed) not in done:
                    study = Study.create(folder / "w", task, AGENT, seed=seed, budget=WHOLE)
                    rewards = study.run().log.curve()
                    _append(path, bench.label, "whole", seed, range(1, WHOLE + 1), rewards)
                if (bench.label, "screened", seed) not in done:
                    found = screened_search(
                        folder / "s",
                        task,
                        cheaper,
                        relative_cost=bench.cheaper.relative_cost,
                        cost=QUARTER,
                        agent=AGENT,
                        seed=seed,
                    )
                    _append(path, bench.label, "screened", seed, *found.curve())


def _append(path: Path, task: str, kind: str, seed: int, costs: Any, rewards: np.ndarray) -> None:
    steps = [[round(float(c), 3), float(r)] for c, r in zip(costs, rewards, strict=True)]
    line = {"task": task, "kind": kind, "seed": seed, "steps": steps}
    with path.open("a") as handle:
        handle.write(json.dumps(line) + "\n")


def page(path: Path) -> str:
    """Return the table and the verdict."""
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        f"| task | relative cost | `auto`, cost {QUARTER} | screened, cost {QUARTER} "
        f"| `auto`, cost {WHOLE} "
        f"| p, screened against {QUARTER} | p, {WHOLE} against screened |",
        "|---|---|---|---|---|---|---|",
    ]
    met = 0
    tasks = list(dict.fromkeys(run["task"] for run in runs))
    costs = {bench.label: bench.cheaper for bench in bench_tasks("fidelity")}
    for task in tasks:
        at = {
            (kind, limit): np.array(
                [
                    max(r for c, r in run["steps"] if c <= limit + 1e-9)
                    for run in runs
                    if run["task"] == task and run["kind"] == kind
                ]
            )
            for kind, limit in (("whole", QUARTER), ("screened", QUARTER), ("whole", WHOLE))
        }
        quarter, screened, whole = at.values()
        met += bool(screened.mean() >= whole.mean())
        cheaper = costs[task]
        assert cheaper is not None
        cells = [
            f"{v.mean():.3f} [{v.min():.3f}, {v.max():.3f}]" for v in (quarter, screened, whole)
        ]
        tests = [
            f"{improvement_p_value([a], [b]):.2f}"
            for a, b in ((screened, quarter), (whole, screened))
        ]
        lines += [
            f"| {task} | {cheaper.relative_cost} | {' | '.join(cells)} | {' | '.join(tests)} |"
        ]
    seeds = len({run["seed"] for run in runs})
    lines += [
        "",
        f"Best reward, mean over {seeds} seeds [lowest, highest]. Equal reward at a quarter of the "
        f"cost: {met} of {len(tasks)} tasks, so the bar is "
        f"{'met' if met >= 4 else 'not met'} (four tasks).",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure costs, run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["cost", "run", "page"])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--designs", type=int, default=24)
    given = parser.parse_args()
    if given.verb == "cost":
        cost(given.designs)
        return
    if given.file is None:
        parser.error("FILE is needed")
    if given.verb == "run":
        run(given.file, given.seeds, given.first)
        return
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{page(given.file)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
