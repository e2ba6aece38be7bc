"""Data, picture and tables of experiments/multi-agent.md from its sweep.

`python experiments/teams.py runs/multi-agent-study tables/*.parquet`
"""

import csv
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archgym.analysis.random_search import random_curve
from archgym.analysis.statistics import (
    Interval,
    improvement_p_value,
    kaplan_meier,
    scores,
    stratified_bootstrap,
)
from archgym.report import Evidence, read_evidence

EXPERIMENTS = Path(__file__).resolve().parent
BUDGETS = (50, 100, 200, 500, 1000, 2000)
ALONG = tuple(np.unique(np.geomspace(10, BUDGETS[-1], 40).astype(int)).tolist())
"""Evenly spread by their logarithm; the mean score over them judges a run as a whole."""
WITHIN = (5.0, 1.0, 0.0)
SINGLE = "single"
TEAMS = ("independent", "shared", "central")
LEVEL = 0.95
COLOURS = {
    "independent": "#0072B2",
    "shared": "#56B4E9",
    "central": "#009E73",
    "single": "#D55E00",
    "genetic": "#CC79A7",
    "random": "#888888",
}


class Study:
    """Runs of all agents that have finished everywhere, scored by proven optima."""

    def __init__(self, evidence: Evidence) -> None:
        """Take what was read, with tables."""
        self.tasks = evidence.tasks
        labels = dict.fromkeys(run.label for task in self.tasks for run in task.runs)
        seeds = max(len(task.of(label)) for task in self.tasks for label in labels)
        self.labels = [
            label
            for label in labels
            if all(
                sum(run.status == "finished" for run in task.of(label)) == seeds
                for task in self.tasks
            )
        ]
        self.scales = []
        for task in self.tasks:
            assert task.known is not None, "every task needs its table"
            average = float(task.known.rewards[task.known.is_feasible].mean())
            self.scales.append((average, task.known.reward))

    def at(self, label: str, budget: int) -> list[np.ndarray]:
        """Scores after so many evaluations, one array a task."""
        return [
            scores(np.array([run.at(budget) for run in task.of(label)]), *scale)
            for task, scale in zip(self.tasks, self.scales, strict=True)
        ]

    def along(self, label: str) -> list[np.ndarray]:
        """Mean scores over the whole run, one array a task."""
        return [
            np.mean(runs, axis=0) for runs in zip(*(self.at(label, n) for n in ALONG), strict=True)
        ]

    def random_at(self, budgets: Sequence[int]) -> np.ndarray:
        """Mean score of random search over the tasks, exactly."""
        rows = []
        for task, scale in zip(self.tasks, self.scales, strict=True):
            assert task.known is not None, "every task needs its table"
            rows.append(scores(random_curve(task.known.rewards, budgets).expected, *scale))
        return np.asarray(np.mean(rows, axis=0))

    def median_to(self, label: str, percent: float) -> float:
        """Return the evaluations until half of all runs are within some percent of the optimum."""
        times, arrived = [], []
        for task, (_, best) in zip(self.tasks, self.scales, strict=True):
            for run in task.of(label):
                hits = np.flatnonzero(run.reward >= best - np.log1p(percent / 100) - 1e-12)
                arrived.append(bool(len(hits)))
                times.append(float(hits[0] + 1) if len(hits) else float(len(run.reward)))
        return kaplan_meier(times, arrived).median


def main(sweep: Path, tables: Sequence[Path]) -> None:
    """Read the sweep and write everything."""
    study = Study(read_evidence([sweep], tables))
    write_data(study)
    print_scores(study)
    pairs = [(team, SINGLE) for team in TEAMS if team in study.labels]
    pairs += [(SINGLE, "genetic"), (SINGLE, "random")]
    found = compare(study, pairs)
    print_pairs(found)
    draw(study, {pair: by_budget for pair, by_budget in found.items() if pair[1] == SINGLE})


def compare(
    study: Study, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[tuple[Interval, float, str]]]:
    """Chance that a run of the first beats one of the second at each budget, and the verdict.

    Intervals and p-values are corrected for the number of comparisons in the table.
    """
    level = 1 - (1 - LEVEL) / (len(pairs) * (len(BUDGETS) + 1))
    found = {}
    for a, b in pairs:
        rows = []
        judged = [(study.at(a, budget), study.at(b, budget)) for budget in BUDGETS]
        for ours, theirs in [*judged, (study.along(a), study.along(b))]:
            chance = stratified_bootstrap("improvement", ours, theirs, level=level)
            p_value = improvement_p_value(ours, theirs)
            is_sure = p_value <= 1 - level and not chance.low <= 0.5 <= chance.high
            better = a if chance.value > 0.5 else b
            rows.append((chance, p_value, f"{better} is better" if is_sure else "no difference"))
        found[a, b] = rows
    return found


def print_scores(study: Study) -> None:
    """Print what agents reach."""
    columns = [f"{budget:,}" for budget in BUDGETS]
    columns += [f"within {percent:g} %" for percent in WITHIN]
    columns += ["evaluations", "asks"]
    print("| agent | " + " | ".join(columns) + " |")
    print("|" + "---|" * (len(columns) + 1))
    for label in study.labels:
        cells = []
        for budget in BUDGETS:
            iqm = stratified_bootstrap("iqm", study.at(label, budget))
            cells.append(f"{iqm.value:.3f} ({iqm.low:.3f}–{iqm.high:.3f})")
        for percent in WITHIN:
            median = study.median_to(label, percent)
            cells.append(f"{median:g}" if np.isfinite(median) else "most do not")
        runs = [run for task in study.tasks for run in task.of(label)]
        cells.append(f"{np.mean([len(run.reward) for run in runs]):,.0f}")
        cells.append(f"{np.mean([run.asks for run in runs]):,.0f}")
        print(f"| {label} | " + " | ".join(cells) + " |")
    exact = study.random_at(BUDGETS)
    print("| random search, exact mean | " + " | ".join(f"{score:.3f}" for score in exact) + " |")


def print_pairs(found: dict[tuple[str, str], list[tuple[Interval, float, str]]]) -> None:
    """Print the comparisons, with a star where there is a difference."""
    names = [*(f"{budget:,}" for budget in BUDGETS), "along the run"]
    print("\n| chance to be better | " + " | ".join(names) + " |")
    print("|" + "---|" * (len(names) + 1))
    for (a, b), rows in found.items():
        cells = [
            f"{chance.value:.2f} ({chance.low:.2f}–{chance.high:.2f})"
            + ("" if verdict == "no difference" else " *")
            for chance, _, verdict in rows
        ]
        print(f"| {a} against {b} | " + " | ".join(cells) + " |")
    for (a, b), rows in found.items():
        verdicts = "; ".join(
            f"{name}: {verdict}, p = {p_value:.4f}"
            for name, (_, p_value, verdict) in zip(names, rows, strict=True)
        )
        print(f"- {a} against {b}: {verdicts}")


def write_data(study: Study) -> None:
    """Write every run's best reward and score at the budgets."""
    with (EXPERIMENTS / "data" / "multi-agent.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("task", "agent", "seed", "evaluations", "best_reward", "score"))
        for (task, scale), label in itertools.product(
            zip(study.tasks, study.scales, strict=True), study.labels
        ):
            for run in task.of(label):
                rewards = np.array([run.at(budget) for budget in BUDGETS])
                for budget, reward, score in zip(
                    BUDGETS, rewards, scores(rewards, *scale), strict=True
                ):
                    writer.writerow(
                        (task.label, label, run.seed, budget, f"{reward:.6g}", f"{score:.5g}")
                    )


def draw(study: Study, found: dict[tuple[str, str], list[tuple[Interval, float, str]]]) -> None:
    """Draws mean scores over evaluations, and chances that teams beat the single agent."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6))
    for label in study.labels:
        means = [np.mean(np.concatenate(study.at(label, budget))) for budget in ALONG]
        left.plot(ALONG, means, color=COLOURS[label], label=label)
    left.plot(ALONG, study.random_at(ALONG), color="black", linestyle=":", label="random, exact")
    left.set_xscale("log")
    left.set_ylim(0.84, 1.005)
    left.set_xlabel("evaluations")
    left.set_ylabel("score, mean over tasks and seeds")
    left.set_title("0: average random design, 1: proven optimum")
    left.legend()
    for place, ((team, _), rows) in enumerate(found.items()):
        values = np.array([[r.value, r.value - r.low, r.high - r.value] for r, _, _ in rows[:-1]]).T
        right.errorbar(
            np.array(BUDGETS) * (1 + 0.05 * place),
            values[0],
            yerr=values[1:],
            fmt="o",
            color=COLOURS[team],
            label=team,
            capsize=3,
        )
    right.axhline(0.5, color="black", linewidth=0.8)
    right.set_xscale("log")
    right.set_ylim(0, 1)
    right.set_xlabel("evaluations")
    right.set_title("Chance that a team's run beats a single agent's")
    right.legend()
    figure.tight_layout()
    figure.savefig(EXPERIMENTS / "pictures" / "multi-agent-study.png", dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
