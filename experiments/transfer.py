"""Evaluations to 1 % with and without priors from other workloads, each workload left out once.

    python experiments/transfer.py run experiments/data/transfer.csv --seeds 5
    python experiments/transfer.py page experiments/data/transfer.csv

The tasks are all 22 workloads of the DRAM simulator, with space `default` and objective
`balanced`. The recorded runs had a cheaper order of events, `fast`. Each has one earlier study:
`auto`, seed 900, 60 evaluations. A workload is
then searched by `auto`, cold or with a prior of the other 21 workloads:

- `near` starts with the best designs of the two most similar workloads, and learns from their
  studies. Similarity is that of `trace_similarity.py`, which needs no evaluation.
- `portfolio` starts with four designs of a portfolio of all 21 studies, and learns from the studies
  of the two most similar workloads.
- `default first` does the same after the default design.
- `misleading` starts with the worst designs of the four least similar workloads' studies, and
  learns from two of these. It shows what a useless prior of the same size costs.

Starts are charged.

The best known of a workload is the best of all runs, studies and portfolios. A run that does not
come within 1 % counts as one evaluation more than its budget.
"""

import argparse
import csv
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from trace_similarity import nearest_traces

from archgym.analysis.statistics import improvement_p_value
from archgym.simulators.dram.workloads.shipped import SHIPPED, shipped_trace
from archgym.simulators.dram.workloads.trace import Trace
from archgym.studies.portfolio import Portfolio, portfolio
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "experiments" / "warm-start.md"
START, END = "<!-- transfer: begin -->", "<!-- transfer: end -->"
WITHIN = math.log(1.01)
"""Reward that 1 % of the objective's metrics is worth, in their weighted geometric mean."""
AGENT, EARLIER_SEED, EARLIER = "auto", 900, 60
SOURCES = 2
LARGEST = 8
"""Largest size of a portfolio."""
LOOKED_AT = (5, 10, 20, 30, 60)
# chosen: the usual level of tests.
LEVEL = 0.05
# chosen: seed of the bootstrap over workloads.
_RESAMPLES, _SEED = 2000, 0
COLUMNS = ("workload", "kind", "seed", "sources", "budget", "steps")
KNOWN = "known"
"""Rows with the best reward of a workload among the designs of all portfolios."""


@dataclass(frozen=True)
class Setting:
    """Priors of a search: start designs and earlier studies to learn from."""

    size: int = 0
    """Designs of a portfolio to start with."""
    default: bool = False
    """True to evaluate the default design first."""
    near: int = 0
    """Most similar workloads, whose best designs are starts unless there is a portfolio."""
    misleading: int = 0
    """Least similar workloads, whose worst designs are starts; it learns from `SOURCES` of them."""


KINDS = {
    "cold": Setting(),
    "near": Setting(near=SOURCES),
    "portfolio": Setting(size=4, near=SOURCES),
    "default first": Setting(size=4, near=SOURCES, default=True),
    "misleading": Setting(misleading=4),
}


class Bench:
    """Workloads with their earlier studies, and searches that start from those of the others."""

    def __init__(self, folder: Path, workloads: dict[str, tuple[str | Path, Trace]]) -> None:
        """Take a folder for studies, and workloads by name with their sources and traces."""
        self._folder = folder
        self.tasks = {
            name: Task.make("dram", source, objective="balanced")
            for name, (source, _) in workloads.items()
        }
        self._traces = {name: trace for name, (_, trace) in workloads.items()}
        self.portfolios: dict[str, Portfolio] = {}
        """Portfolios of all other workloads' studies, by the workload that is left out."""

    def earlier(self, workload: str) -> Path:
        """Return the folder of a workload's earlier study, which is run where it is new."""
        folder = self._folder / f"earlier-{workload.replace(':', '-')}"
        if not folder.exists():
            task = self.tasks[workload]
            Study.create(folder, task, AGENT, seed=EARLIER_SEED, budget=EARLIER).run()
        return folder

    def portfolio(self, workload: str) -> Portfolio:
        """Return the portfolio of all other workloads' studies; a smaller one is its beginning."""
        if workload not in self.portfolios:
            others = [name for name in self.tasks if name != workload]
            self.portfolios[workload] = portfolio(
                [self.earlier(name) for name in others],
                size=LARGEST,
                tasks=[self.tasks[name] for name in others],
            )
        return self.portfolios[workload]

    def similar(self, workload: str) -> list[str]:
        """Return all other workloads, the most similar first."""
        others = [name for name in self.tasks if name != workload]
        traces = [self._traces[name] for name in others]
        return [others[n] for n in nearest_traces(self._traces[workload], traces, len(others))]

    def search(
        self, workload: str, setting: Setting, seed: int, budget: int
    ) -> tuple[np.ndarray, list[str]]:
        """Return the best reward after each evaluation, and the workloads that it starts from."""
        start: list[Any] = ["default"] if setting.default else []
        order = self.similar(workload)
        sources = order[: setting.near]
        near = [self.earlier(name) for name in sources]
        if setting.size:
            found = self.portfolio(workload)
            start += found.designs[: setting.size]
            sources = [name.removeprefix("earlier-") for name in found.sources[: setting.size]]
        else:
            start += near
        if setting.misleading:
            sources = order[-setting.misleading :]
            start += [worst_design(self.earlier(name)) for name in sources]
            near = [self.earlier(name) for name in sources[-SOURCES:]]
        with TemporaryDirectory() as name:
            study = Study.create(
                Path(name) / "study",
                self.tasks[workload],
                AGENT,
                seed=seed,
                budget=budget,
                start=start,
                warm_start=near,
            )
            return study.run().log.curve(), sources


def worst_design(study: Path) -> dict[str, Any]:
    """Return the worst feasible design of a study."""
    log = read_study(study)
    row = log.top_rows(len(log.records))[-1]
    return dict(log.outcome(int(row)).design)


def shipped(folder: Path) -> Bench:
    """Return the 22 workloads that ship."""
    return Bench(folder, {name: (name, shipped_trace(name)) for name in SHIPPED})


def run(
    bench: Bench,
    path: Path,
    kinds: dict[str, Setting],
    workloads: Sequence[str],
    seeds: Sequence[int],
    budget: int,
) -> None:
    """Append a row for each run that the file lacks, with its best reward after each evaluation."""
    done = set()
    if path.exists():
        with path.open() as handle:
            done = {(r["workload"], r["kind"], r["seed"]) for r in csv.DictReader(handle)}
    # Seed after seed, so that a run that is stopped has whole ones.
    for seed in seeds:
        for workload in workloads:
            for kind, setting in kinds.items():
                if (workload, kind, str(seed)) in done:
                    continue
                curve, sources = bench.search(workload, setting, seed, budget)
                write(path, workload, kind, seed, " ".join(sources), curve)
        print(f"{time.process_time():.0f} s of CPU, seed {seed}", flush=True)
    for workload in workloads:
        if (workload, "earlier", str(EARLIER_SEED)) not in done:
            curve = read_study(bench.earlier(workload)).curve()
            write(path, workload, "earlier", EARLIER_SEED, "", curve)
    known: dict[str, float] = defaultdict(lambda: -np.inf)
    costs = []
    for left_out, found in bench.portfolios.items():
        others = [name for name in bench.tasks if name != left_out]
        for name, best in zip(others, found.rewards.max(axis=1).tolist(), strict=True):
            known[name] = max(known[name], best)
        costs.append(found.evaluations)
    for name, best in known.items():
        if (name, KNOWN, "0") not in done:
            write(path, name, KNOWN, 0, "", np.array([best]))
    if costs:
        print(f"A portfolio costs {np.mean(costs):.0f} evaluations of known workloads.")


def write(path: Path, workload: str, kind: str, seed: int, sources: str, curve: np.ndarray) -> None:
    """Append a row: steps are `evaluations:reward` where the best changes."""
    steps = [f"{n + 1}:{r!r}" for n, r in enumerate(curve.tolist()) if n == 0 or r > curve[n - 1]]
    is_new = not path.exists()
    with path.open("a", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow([workload, kind, seed, sources, len(curve), " ".join(steps)])


Curves = dict[str, dict[str, list[np.ndarray]]]


def read(path: Path) -> tuple[Curves, dict[str, dict[str, str]]]:
    """Return curves by workload and kind, and their sources by workload and kind."""
    curves: Curves = defaultdict(lambda: defaultdict(list))
    sources: dict[str, dict[str, str]] = defaultdict(dict)
    with path.open() as handle:
        for row in csv.DictReader(handle):
            curve = np.full(int(row["budget"]), -np.inf)
            for step in row["steps"].split():
                n, _, reward = step.partition(":")
                curve[int(n) - 1 :] = float(reward)
            curves[row["workload"]][row["kind"]].append(curve)
            sources[row["workload"]][row["kind"]] = row["sources"]
    return curves, sources


def to_within(curves: list[np.ndarray], goal: float) -> np.ndarray:
    """Return the evaluations until the goal is reached; the budget and one where it is not."""
    counts = [int(np.argmax(c >= goal)) + 1 if c[-1] >= goal else len(c) + 1 for c in curves]
    return np.array(counts, dtype=float)


@dataclass(frozen=True)
class Measured:
    """Evaluations to 1 % and losses of kinds, by workload."""

    workloads: tuple[str, ...]
    counts: dict[str, list[np.ndarray]]
    """By kind, for each workload (n_seeds,)."""
    losses: dict[str, np.ndarray]
    """By kind, (n_workloads, budget), mean over seeds [%]."""
    budget: int

    @classmethod
    def of(cls, curves: Curves, kinds: Sequence[str]) -> "Measured":
        """Return the runs of kinds."""
        counts: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
        losses: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
        for found in curves.values():
            best = max(float(c[-1]) for each in found.values() for c in each)
            for kind in kinds:
                counts[kind].append(to_within(found[kind], best - WITHIN))
                gaps = np.mean([best - c for c in found[kind]], axis=0)
                losses[kind].append(100 * np.expm1(gaps))
        budget = len(next(iter(curves.values()))[kinds[0]][0])
        arrays = {kind: np.array(each) for kind, each in losses.items()}
        return cls(tuple(curves), counts, arrays, budget)

    def means(self, kind: str) -> np.ndarray:
        """Return geometric means over seeds, (n_workloads,)."""
        return np.array([math.exp(np.log(c).mean()) for c in self.counts[kind]])

    def p_values(self, kind: str) -> np.ndarray:
        """Return p-values of differences to cold runs by workload, (n_workloads,)."""
        pairs = zip(self.counts[kind], self.counts["cold"], strict=True)
        return np.array([improvement_p_value([-a], [-b]) for a, b in pairs])

    def missed(self, kind: str) -> int:
        """Return the number of runs that were not within 1 % at the end."""
        return int(sum((c > self.budget).sum() for c in self.counts[kind]))


def kind_table(measured: Measured) -> str:
    """Return the ratio of evaluations to 1 % and the losses by kind."""
    heads = ["prior", "evaluations to 1 %, ratio to cold (95 %)", "not reached", "largest ratio"]
    heads += ["above 1.1", "interval above 1.1", "better, p < 0.05"]
    heads += [f"loss at {n} [%]" for n in LOOKED_AT if n <= measured.budget]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    cold = measured.means("cold")
    for kind in measured.counts:
        mean = measured.losses[kind].mean(axis=0)
        losses = [f"{mean[n - 1]:.2f}" for n in LOOKED_AT if n <= measured.budget]
        missed = f"{measured.missed(kind)} of {sum(map(len, measured.counts[kind]))}"
        if kind == "cold":
            lines.append(f"| cold | 1 | {missed} | | | | | {' | '.join(losses)} |")
            continue
        ratios = measured.means(kind) / cold
        low, high = _mean_interval(ratios)
        is_proven = measured.p_values(kind) < LEVEL
        pairs = zip(measured.counts[kind], measured.counts["cold"], strict=True)
        lows = np.array([_interval(ours, theirs)[0] for ours, theirs in pairs])
        cells = [
            kind,
            f"{math.exp(np.log(ratios).mean()):.2f} ({low:.2f} to {high:.2f})",
            missed,
            f"{ratios.max():.2f}",
            f"{int((ratios > 1.1).sum())} of {len(ratios)}",
            f"{int((lows > 1.1).sum())}",
            f"{int(((ratios < 1.0) & is_proven).sum())}",
            *losses,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return the interval of the ratio of geometric means, by the bootstrap over seeds."""
    rng = np.random.default_rng(_SEED)
    draws = [
        np.log(rng.choice(counts, (_RESAMPLES, len(counts)))).mean(axis=1)
        for counts in (ours, theirs)
    ]
    low, high = np.exp(np.quantile(draws[0] - draws[1], [0.025, 0.975]))
    return float(low), float(high)


def _mean_interval(ratios: np.ndarray) -> tuple[float, float]:
    """Return the interval of the geometric mean, by the bootstrap over workloads."""
    rng = np.random.default_rng(_SEED)
    draws = rng.choice(np.log(ratios), (_RESAMPLES, len(ratios))).mean(axis=1)
    low, high = np.exp(np.quantile(draws, [0.025, 0.975]))
    return float(low), float(high)


def page(path: Path) -> str:
    """Return the tables of the page."""
    curves, _ = read(path)
    kinds = [k for k in KINDS if all(k in found for found in curves.values())]
    measured = Measured.of(curves, kinds)
    return kind_table(measured)


def main() -> None:
    """Run, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("verb", choices=["run", "page"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--workloads", nargs="*", default=[], help="all if none is named")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--budget", type=int, default=60)
    given = parser.parse_args()
    if given.verb == "run":
        with TemporaryDirectory() as name:
            kinds = {kind: KINDS[kind] for kind in given.kinds}
            seeds = range(given.first, given.first + given.seeds)
            bench = shipped(Path(name))
            run(bench, given.file, kinds, given.workloads or list(SHIPPED), seeds, given.budget)
    else:
        text = PAGE.read_text()
        before, _, rest = text.partition(START)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{START}\n\n{page(given.file)}\n\n{END}{after}")


if __name__ == "__main__":
    main()
