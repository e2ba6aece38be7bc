"""Evaluations to 1 % with and without priors from other workloads, each workload left out once.

`python benchmarks/transfer.py run FILE.csv [--seeds N] [--budget N]`, then
`python benchmarks/transfer.py page FILE.csv` writes the table into docs/warm-start.md.

The tasks are all 22 workloads of the DRAM simulator, with space `default`, objective `balanced`
and fidelity `fast`. Each has one earlier study: `auto`, seed 900, 60 evaluations. A workload is
then searched by `auto` cold, and with a prior of the two most similar other workloads, whose own
studies are all that the search learns: it starts with the best design of each, and draws from
their best designs. Similarity is that of `archgym.simulators.dram.similarity`, which needs no
evaluation. For comparison, `far` takes the two least similar workloads. Starts are charged.

The best known of a workload is the best of all runs and studies. A run that does not come within
1 % counts as one evaluation more than its budget.
"""

import argparse
import csv
import math
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import archgym as ag
from archgym.evaluation.task import Task
from archgym.simulators.dram.similarity import nearest_traces
from archgym.simulators.dram.workloads import SHIPPED, shipped_trace
from archgym.studies.study import Study

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "warm-start.md"
START, END = "<!-- transfer: begin -->", "<!-- transfer: end -->"
KINDS = ("cold", "near", "far")
WITHIN = math.log(1.01)
"""Reward that 1 % of the objective's metrics is worth, in their weighted geometric mean."""
AGENT, EARLIER_SEED, EARLIER = "auto", 900, 60
SOURCES = 2
LOOKED_AT = (5, 10, 20, 30)
# chosen: seed of the bootstrap over workloads.
_RESAMPLES, _SEED = 2000, 0


def task_of(workload: str) -> Task:
    """Return the task on a workload."""
    return Task.make("dram", workload, objective="balanced", fidelity="fast")


def run(
    path: Path, seeds: int, first: int, budget: int, kinds: list[str], workloads: list[str]
) -> None:
    """Append a row for each run that the file lacks, with its best reward after each evaluation."""
    names = list(SHIPPED)
    done = set()
    if path.exists():
        with path.open() as handle:
            done = {(r["workload"], r["kind"], r["seed"]) for r in csv.DictReader(handle)}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for workload in workloads or names:
            others = [other for other in names if other != workload]
            traces = [shipped_trace(other) for other in others]
            order = nearest_traces(shipped_trace(workload), traces, len(others))
            chosen = {
                "near": [others[n] for n in order[:SOURCES]],
                "far": [others[n] for n in order[-SOURCES:]],
            }
            for kind in kinds:
                sources = chosen.get(kind, [])
                for seed in range(first, first + seeds):
                    if (workload, kind, str(seed)) in done:
                        continue
                    folders = [_earlier(path, folder, source, done) for source in sources]
                    study = Study.create(
                        folder / f"{kind}-{workload}-{seed}",
                        task_of(workload),
                        AGENT,
                        seed=seed,
                        budget=budget,
                        start=folders,
                        warm_start=folders,
                    )
                    curve = study.run().log.curve()
                    write(path, workload, kind, seed, " ".join(sources), curve)
            print(workload, chosen, flush=True)


def _earlier(path: Path, folder: Path, workload: str, done: set[tuple[str, str, str]]) -> Path:
    """Return the folder of a workload's earlier study, which is run where it is new."""
    earlier = folder / f"earlier-{workload}"
    if not earlier.exists():
        Study.create(earlier, task_of(workload), AGENT, seed=EARLIER_SEED, budget=EARLIER).run()
        if (workload, "earlier", str(EARLIER_SEED)) not in done:
            write(path, workload, "earlier", EARLIER_SEED, "", ag.read_study(earlier).curve())
    return earlier


def write(path: Path, workload: str, kind: str, seed: int, sources: str, curve: np.ndarray) -> None:
    """Append a row: steps are `evaluations:reward` where the best changes."""
    steps = [f"{n + 1}:{r!r}" for n, r in enumerate(curve.tolist()) if n == 0 or r > curve[n - 1]]
    is_new = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if is_new:
            writer.writerow(["workload", "kind", "seed", "sources", "budget", "steps"])
        writer.writerow([workload, kind, seed, sources, len(curve), " ".join(steps)])


def read(path: Path) -> tuple[dict[str, dict[str, list[np.ndarray]]], dict[str, str]]:
    """Return curves by workload and kind, and the sources of `near`."""
    curves: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    near = {}
    with path.open() as handle:
        for row in csv.DictReader(handle):
            curve = np.full(int(row["budget"]), -np.inf)
            for step in row["steps"].split():
                n, _, reward = step.partition(":")
                curve[int(n) - 1 :] = float(reward)
            curves[row["workload"]][row["kind"]].append(curve)
            if row["kind"] == "near":
                near[row["workload"]] = row["sources"]
    return curves, near


def to_within(curves: list[np.ndarray], goal: float) -> np.ndarray:
    """Return the evaluations until the goal is reached; the budget and one where it is not."""
    counts = [int(np.argmax(c >= goal)) + 1 if c[-1] >= goal else len(c) + 1 for c in curves]
    return np.array(counts, dtype=float)


def page(path: Path) -> str:
    """Return the table and the verdict."""
    curves, near = read(path)
    kinds = [kind for kind in KINDS if any(kind in found for found in curves.values())]
    lines = [
        f"| workload | most similar | {' | '.join(kinds)} | near / cold |",
        "|---" * (len(kinds) + 3) + "|",
    ]
    ratios: dict[str, list[float]] = {kind: [] for kind in kinds if kind != "cold"}
    behind: dict[str, dict[int, list[float]]] = {k: defaultdict(list) for k in kinds}
    for workload, found in curves.items():
        best = max(float(c[-1]) for each in found.values() for c in each)
        counts = {kind: to_within(found[kind], best - WITHIN) for kind in kinds}
        means = {kind: float(np.exp(np.log(counts[kind]).mean())) for kind in kinds}
        for kind, each in ratios.items():
            each.append(means[kind] / means["cold"])
        for kind in kinds:
            for n in LOOKED_AT:
                gap = np.mean([best - float(c[min(n, len(c)) - 1]) for c in found[kind]])
                behind[kind][n].append(100 * math.expm1(float(gap)))
        cells = []
        for kind in kinds:
            budget = len(found[kind][0])
            missed = int((counts[kind] > budget).sum())
            note = f" ({missed} of {len(counts[kind])} not reached)" if missed else ""
            cells.append(f"{means[kind]:.1f}{note}")
        lines += [
            f"| {workload} | {near[workload].replace(' ', ', ')} | {' | '.join(cells)} "
            f"| {ratios['near'][-1]:.2f} |"
        ]
    heads = ["prior", "evaluations to 1 %, ratio to cold (95 %)", "largest ratio", "above 1.1"]
    heads += [f"loss at {n} [%]" for n in LOOKED_AT]
    lines += ["", f"| {' | '.join(heads)} |"]
    lines += ["|---|" + "---|" * (3 + len(LOOKED_AT))]
    rng = np.random.default_rng(_SEED)
    for kind in kinds:
        losses = " | ".join(f"{np.mean(behind[kind][n]):.2f}" for n in LOOKED_AT)
        if kind == "cold":
            lines += [f"| cold | 1 | | | {losses} |"]
            continue
        logs = np.log(ratios[kind])
        draws = rng.choice(logs, (_RESAMPLES, len(logs))).mean(axis=1)
        low, high = np.exp(np.quantile(draws, [0.025, 0.975]))
        worse = sum(r > 1.1 for r in ratios[kind])
        lines += [
            f"| {kind} | {math.exp(logs.mean()):.2f} ({low:.2f} to {high:.2f}) "
            f"| {max(ratios[kind]):.2f} | {worse} of {len(logs)} | {losses} |"
        ]
    half = math.exp(np.log(ratios["near"]).mean()) <= 0.5
    worse = sum(r > 1.1 for r in ratios["near"])
    lines += [
        "",
        f"Half the evaluations to 1 %: {'met' if half else 'not met'}. "
        f"Never more than 10 % worse: {'met' if worse == 0 else f'not met ({worse} workloads)'}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["run", "page"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--workloads", nargs="*", default=[], help="all if none is named")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--budget", type=int, default=30)
    given = parser.parse_args()
    if given.verb == "run":
        kinds = given.kinds.split(",")
        run(given.file, given.seeds, given.first, given.budget, kinds, given.workloads)
        return
    text = PAGE.read_text()
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{page(given.file)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
