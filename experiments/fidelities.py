"""Searches at two fidelities against searches at one, charged by measured cost.

`python experiments/fidelities.py cost`, `... run FILE.jsonl [--seeds N]`, `... page FILE.jsonl`

`cost` asks for random designs, one at a time. It prints the processor time at the cheaper fidelity
over that at the task's own, of all designs that can be built and of the best quarter of those that
meet the limits, and the rank correlations of their rewards. Useful is a fidelity that costs a
sixth at most and ranks the best quarter as the task does, with a correlation of 0.7 or more.

`run` searches each task of the suite `fidelity` that has a cheaper one, and the mixes below: `auto`
alone for 80 evaluations; at two fidelities for a cost of 20 `screened_search` and the methods of
`fidelity_peers.py`, which need syne-tune and SMAC3. `page` writes the table in
experiments/fidelities.md. The bar: after a cost of 20, the search at two fidelities is as good as
`auto` alone after 80.
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
from archgym.evaluation.limits import violations
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.studies.study import Study
from archgym.sweep.plan import TaskPlan
from archgym.tasks.task import Task

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "experiments" / "fidelities.md"
START, END = "<!-- fidelities: begin -->", "<!-- fidelities: end -->"
WHOLE, QUARTER = 80, 20
AGENT = "auto"
# chosen: the usual level of tests.
LEVEL = 0.05
PEERS = tuple(METHODS)
OURS = ("screened", "joint")
KINDS = ("whole", "screened", "joint", *PEERS)
NAMES = {
    "screened": "`auto`, screened",
    "joint": "`few`, joint",
    "asha": "ASHA",
    "bohb": "BOHB",
    "smac": "SMAC3",
}

# Tasks whose cheaper fidelity ranked the best quarter of random designs with a correlation of 0.95
# or more in each sample. Three quarters of the cost pay for it there, and half elsewhere; chosen on
# cluster-llama-parallel, where three quarters were better (seeds 100 and 101).
FAITHFUL = ("cluster-gpt3-dollars", "cluster-llama-parallel", "translation-mix-hardware")

SYNTHETIC = (
    "cloud-1", "cloud-2", "stream", "random", "strided", "pointer-chase", "mixed-rw",
    "bursty-rw", "sparse-rw", "copy-rw", "multicore-rw",
)  # fmt: skip
RECORDED = (
    "weight-stream", "kv-cache-gather", "expert-load", "expert-misses", "gups",
    "recorded-graph-search", "recorded-hash-join", "recorded-kmer-count",
    "recorded-moe-gather", "recorded-random-access", "recorded-sort",
)  # fmt: skip
NETWORKS = (
    "resnet-18",
    "alexnet",
    "mobilenet-v2",
    "mobilenet-v3",
    "efficientnet-b0",
    "vgg-16",
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
    **options: str,
) -> BenchTask:
    """Return a task on many workloads, whose cheaper way to ask takes few of them, or parts."""
    plan = TaskPlan(label, simulator, space, dict.fromkeys(workloads, 1.0), objective)
    weights = dict.fromkeys(few, 1.0)
    cheaper = replace(plan, workloads=weights, fidelity=fidelity, options=options)
    return BenchTask(plan, (), split, (), "", cheaper=Cheaper(cheaper, relative_cost))


# Parts of a workload cost little, and so do few workloads. Workloads were added one by one, each
# time the one with which they rank the best quarter of 80 random designs most like the mix does
# (seed 5). No search was looked at. Mixes without a useful fidelity are left out: eight programs of
# the CPU, where the best single one costs 0.03 (correlation of the best quarter: 0.38), and six of
# translation, where four with 20,000 records cost 0.12 (0.61).
MIXES = (
    _mix(
        "dram-synthetic-mix", "development", "dram", "default", "balanced",
        SYNTHETIC, ("stream", "bursty-rw", "random"), 0.055,
        requests="500",
    ),
    _mix(
        "dram-mix", "verdict", "dram", "dramsys", "balanced",
        (*SYNTHETIC, *RECORDED),
        ("cloud-2", "gups", "expert-load", "recorded-kmer-count"),
        0.054,
        requests="500",
    ),
    _mix(
        "accelerator-mix", "verdict", "accelerator", "default", "edp",
        NETWORKS, NETWORKS, 0.042, "fast",
        layers="2",
    ),
)  # fmt: skip


def tasks() -> list[BenchTask]:
    """Return the tasks of the study, those that settings were chosen on first."""
    found = [b for b in bench_tasks("fidelity") if b.cheaper is not None]
    return sorted([*found, *MIXES], key=lambda bench: bench.split)


def cost(designs: int, seed: int, labels: list[str]) -> None:
    """Print the relative cost of each cheaper fidelity, and how alike both rank designs."""
    for bench in tasks():
        if labels and bench.label not in labels:
            continue
        assert bench.cheaper is not None
        task, cheaper = bench.plan.make(), bench.cheaper.plan.make()
        drawn = task.space.sample(designs, np.random.default_rng(seed))
        (own, own_s, meets), (other, other_s, _) = (_timed(each, drawn) for each in (task, cheaper))
        built = own > INFEASIBLE_REWARD
        good = built & meets
        best = good & (own >= np.quantile(own[good], 0.75))
        texts = [
            f"relative cost {other_s[rows].sum() / own_s[rows].sum():.3f}, "
            f"rank correlation {spearmanr(own[rows], other[rows]).statistic:.3f}"
            for rows in (built, best)
        ]
        print(
            f"{bench.label}: {1000 * own_s.mean():.1f} ms, {texts[0]}; "
            f"best {best.sum()}: {texts[1]}",
            flush=True,
        )


def _timed(task: Task, designs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return reward and processor time [s] of each design, and true where it meets the limits."""
    task.evaluate(designs[:1])
    rewards, seconds = np.empty(len(designs)), np.empty(len(designs))
    meets = np.empty(len(designs), dtype=bool)
    for row in range(len(designs)):
        begun = time.process_time()
        found = task.evaluate(designs[row : row + 1])
        seconds[row] = time.process_time() - begun
        rewards[row] = found.reward[0]
        meets[row] = violations(task.limits, found.values, task.metrics)[0] == 0.0
    return rewards, seconds, meets


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
            agent="few" if kind == "joint" else AGENT,
            seed=seed,
            screening_share=0.75 if bench.label in FAITHFUL else 0.5,
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
    kinds = [kind for kind in NAMES if any(run["kind"] == kind for run in runs)]
    lines = [
        f"| task | relative cost | seeds | `auto` | {' | '.join(NAMES[k] for k in kinds)} "
        f"| `auto`, cost {WHOLE} | p, best of ours against {QUARTER} | p, against {WHOLE} |",
        "|---" * (7 + len(kinds)) + "|",
    ]
    met: dict[str, list[bool]] = {"development": [], "verdict": []}
    for bench in tasks():
        assert bench.cheaper is not None
        own = _with_common_seeds([run for run in runs if run["task"] == bench.label])
        quarter, whole = (_best_at(own, "whole", n) for n in (QUARTER, WHOLE))
        found = {kind: _best_at(own, kind, QUARTER) for kind in kinds}
        ours = [found[kind] for kind in OURS if len(found.get(kind, ()))]
        if not len(whole) or not ours:
            continue
        best = max(ours, key=lambda values: float(values.mean()))
        met[bench.split].append(bool(best.mean() >= whole.mean()))
        cells = [_cell(values) for values in (quarter, *found.values(), whole)]
        tests = [f"{improvement_p_value([best], [other]):.2f}" for other in (quarter, whole)]
        lines += [
            f"| {bench.label} ({bench.split}) | {bench.cheaper.relative_cost} | {len(whole)} "
            f"| {' | '.join(cells)} | {' | '.join(tests)} |"
        ]
    counts = " and ".join(f"{sum(each)} of {len(each)} {split}" for split, each in met.items())
    n_met = sum(map(sum, met.values()))
    lines += [
        "",
        f"Best reward after a cost of {QUARTER} unless stated: mean over seeds [lowest, highest]. "
        f"Our better method counts. Equal reward at a quarter of the cost: {counts} tasks, so the "
        f"bar of four tasks is {'met' if n_met >= 4 else 'not met'}.",
    ]
    return "\n".join(lines)


def _with_common_seeds(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs with seeds that every kind has."""
    kinds = {run["kind"] for run in runs}
    seeds = [{run["seed"] for run in runs if run["kind"] == kind} for kind in kinds]
    common = set.intersection(*seeds) if seeds else set()
    return [run for run in runs if run["seed"] in common]


def _best_at(runs: list[dict[str, Any]], kind: str, limit: float) -> np.ndarray:
    """Return the best reward within a cost of each seed, by seed."""
    found = {
        run["seed"]: max(
            (r for c, r in run["steps"] if c <= limit + 1e-9), default=INFEASIBLE_REWARD
        )
        for run in runs
        if run["kind"] == kind
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
    parser.add_argument("--designs", type=int, default=60, help="random designs of `cost`")
    given = parser.parse_args()
    if given.verb == "cost":
        cost(given.designs, 5 + given.first, given.tasks)
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
