"""Data, picture and tables of experiments/lottery.md from its sweep.

`python experiments/lottery.py runs/lottery tables/*.parquet`; several sweeps are read as one.
"""

import csv
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from lottery_analysis import KINDS, expected_best_of, lots, lottery_tables

from archgym.analysis.statistics import scores, stratified_bootstrap
from archgym.report import Evidence, Findings, find, read_evidence
from archgym.report.evidence import TaskEvidence, has_defaults

EXPERIMENTS = Path(__file__).resolve().parent
# Okabe and Ito, Color Universal Design, 2008, without the yellow that a white page hides; the last
# are of Paul Tol's muted scheme.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#AA4499",
    "#999933", "#882255",
)  # fmt: skip
RESAMPLES = 2000
TRIAL_SEEDS = 3
"""Seeds by which the best setting is chosen; the others judge it."""
SHOWN = {
    "scores": ("agent", "runs", "IQM score", "low", "high", "optimality gap"),
    "lottery": (
        "agent",
            "draws",
            "seeds",
            "best draw",
            "median draw",
            "worst draw",
            "P90 - P10",
            "by chance",
        "hyperparameters [%]", "task [%]", "draw x task [%]", "seed [%]",
    ),
    "tuning": (
        "agent",
        *(f"{kind}{end}" for kind in KINDS for end in ("", ", low", ", high")),
    ),
}  # fmt: skip
"""Columns of a report's tables that the page shows."""


class Scores:
    """Scores of one agent's settings, the defaults first: (n_settings, n_tasks, n_seeds)."""

    def __init__(self, evidence: Evidence, findings: Findings, agent: str) -> None:
        """Take an agent's runs, on the seeds that all its settings have on all tasks."""
        by_label: dict[str, dict[tuple[int, int], float]] = {}
        self.hyperparameters: dict[str, str] = {}
        defaults = []
        for place, task in enumerate(evidence.tasks):
            scale = findings.protocol.tasks[task.recipe["digest"]]
            for run in task.runs:
                if run.agent != agent or run.seed is None:
                    continue
                reward = np.array([run.at(findings.protocol.budget)])
                score = scores(reward, scale["average"], scale["best"])[0]
                by_label.setdefault(run.label, {})[place, run.seed] = float(score)
                self.hyperparameters[run.label] = run.hyperparameters
                if has_defaults(agent, run.hyperparameters):
                    defaults.append(run.label)
        self.labels = sorted(by_label, key=lambda label: (label not in defaults, label))
        shared = set.intersection(*(set(own) for own in by_label.values()))
        seeds = sorted({seed for _, seed in shared})
        tasks = range(len(evidence.tasks))
        self.table = np.array(
            [[[by_label[each][t, s] for s in seeds] for t in tasks] for each in self.labels]
        )

    @property
    def draws(self) -> np.ndarray:
        """Scores of the settings that are not the defaults."""
        return np.asarray(self.table[1:])


def main(paths: Sequence[Path]) -> None:
    """Read sweeps and tables and write everything."""
    tables = [path for path in paths if path.suffix == ".parquet"]
    evidence = read_evidence([path for path in paths if path not in tables], tables)
    findings = find(evidence, is_evaluating=False)
    agents = list(dict.fromkeys(run.agent for task in evidence.tasks for run in task.runs))
    found = {agent: Scores(evidence, findings, agent) for agent in agents}
    write_data(evidence, found)
    drawn = {agent: own for agent, own in found.items() if len(own.draws) > 1}
    draw(found, drawn)
    for line in findings.verdict:
        print(f"- {line}")
    own = lottery_tables(lots(evidence, findings.protocol), findings.protocol)
    for table in (*findings.tables, *own):
        if table.name in SHOWN:
            places = [
                place for place, name in enumerate(table.columns) if name in SHOWN[table.name]
            ]
            columns = [table.columns[place] for place in places]
            print_table(columns, [[row[place] for place in places] for row in table.rows])
    print_table(
        ("agent", "evaluations", "optimum found on", "by chance", "chosen by 3 seeds", "interval"),
        [
            (agent, *in_hindsight(own.table, evidence, findings.protocol.budget))
            for agent, own in drawn.items()
        ],
    )
    print_table(
        ("a draw of … beats one of", *drawn),
        [
            (a, *("" if a == b else beats(own.draws, other.draws) for b, other in drawn.items()))
            for a, own in drawn.items()
        ],
    )
    print_table(("agent", *(task.label for task in evidence.tasks)), by_task(found))


def by_task(found: Mapping[str, Scores]) -> list[tuple[str, ...]]:
    """Mean scores on each task of the defaults, and of the setting that is best there."""
    rows = []
    for agent, own in found.items():
        means = own.table.mean(axis=2)
        pairs = zip(means[0], means.max(axis=0), strict=True)
        rows.append((agent, *(f"{default:.3f} / {best:.3f}" for default, best in pairs)))
    return rows


def in_hindsight(table: np.ndarray, evidence: Evidence, budget: int) -> tuple[str | float, ...]:
    """On how many tasks any setting and seed found the optimum, and what a chosen setting does.

    The first is what the published study looks at, and takes the luckiest of many runs; beside it
    stands what as many evaluations of random search are expected to find. The second chooses by the
    first seeds and is judged by the others, so that luck does not count; what the choice cost is
    not charged. Its interval resamples tasks and the judging seeds.
    """
    n_settings, n_tasks, n_seeds = table.shape
    evaluations = n_settings * n_seeds * budget
    n_proven = int((table.max(axis=(0, 2)) > 1 - 1e-9).sum())
    by_chance = sum(chance_of_optimum(task, evaluations) for task in evidence.tasks)
    found = (f"{evaluations:,}", f"{n_proven} of {n_tasks}", f"{by_chance:.1f}")
    if n_seeds <= TRIAL_SEEDS:
        return *found, "–", ""
    chosen = table[:, :, :TRIAL_SEEDS].mean(axis=2).argmax(axis=0)
    judged = table[chosen, np.arange(n_tasks), TRIAL_SEEDS:]
    rng = np.random.default_rng(0)
    n_judging = n_seeds - TRIAL_SEEDS
    rows = rng.integers(0, n_tasks, (RESAMPLES, n_tasks))[:, :, None]
    columns = rng.integers(0, n_judging, (RESAMPLES, n_tasks, n_judging))
    low, high = np.quantile(judged[rows, columns].mean(axis=(1, 2)), [0.025, 0.975])
    return *found, float(judged.mean()), f"{low:.3f}–{high:.3f}"


def chance_of_optimum(task: TaskEvidence, evaluations: int) -> float:
    """Chance that so many designs drawn without replacement hold an optimum of a task."""
    assert task.known is not None, "every task needs its table"
    n, n_others = len(task.known.rewards), len(task.known.rewards) - task.known.n_ties
    if evaluations > n_others:
        return 1.0
    places = np.arange(evaluations)
    return float(-np.expm1(np.log((n_others - places) / (n - places)).sum()))


def beats(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Chance that a draw of one agent has a better mean score than a draw of another.

    Over the seeds that both have; the interval resamples draws.
    """
    n_seeds = min(ours.shape[2], theirs.shape[2])
    a, b = (table[:, :, :n_seeds].mean(axis=(1, 2)) for table in (ours, theirs))
    chance = stratified_bootstrap("improvement", [a], [b])
    return f"{chance.value:.2f} ({chance.low:.2f}–{chance.high:.2f})"


def write_data(evidence: Evidence, found: dict[str, Scores]) -> None:
    """Every run's score, a line for each setting on each task; and the settings."""
    with (EXPERIMENTS / "data" / "lottery.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        n_seeds = max(own.table.shape[2] for own in found.values())
        writer.writerow(("setting", "task", *(f"seed_{n}" for n in range(n_seeds))))
        for own in found.values():
            for label, by_task in zip(own.labels, own.table, strict=True):
                for task, row in zip(evidence.tasks, by_task, strict=True):
                    writer.writerow((label, task.label, *(f"{score:.5g}" for score in row)))
    with (EXPERIMENTS / "data" / "lottery-settings.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("setting", "agent", "hyperparameters"))
        for agent, own in found.items():
            for label in own.labels:
                writer.writerow((label, agent, own.hyperparameters[label]))


def draw(found: dict[str, Scores], drawn: dict[str, Scores]) -> None:
    """Draws of each agent beside its defaults, and what the best of k draws is expected to be."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    means = {agent: own.draws.mean(axis=(1, 2)) for agent, own in drawn.items()}
    ranked = sorted(means, key=lambda agent: -float(np.median(means[agent])))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5), width_ratios=(3, 2), sharey=True, layout="constrained"
    )
    parts = left.violinplot([means[a] for a in ranked], showextrema=False, widths=0.8)
    jitter = np.random.default_rng(0)
    for place, agent in enumerate(ranked):
        colour = COLOURS[place % len(COLOURS)]
        parts["bodies"][place].set_color(colour)
        spread = place + 1 + jitter.uniform(-0.12, 0.12, len(means[agent]))
        left.plot(spread, means[agent], ".", color=colour, markersize=4)
        left.plot(
            place + 1,
            drawn[agent].table[0].mean(),
            "D",
            color="white",
            markeredgecolor="black",
            label="defaults" if not place else None,
        )
        k = np.arange(1, len(means[agent]) + 1)
        right.plot(
            k, [expected_best_of(means[agent], int(n)) for n in k], color=colour, label=agent
        )
    for axes in (left, right):
        axes.axhline(
            found["random"].table.mean(), color="grey", linestyle=":", label="random search"
        )
        axes.grid(axis="y", alpha=0.3)
    left.set_xticks(range(1, len(ranked) + 1), ranked, rotation=25, ha="right")
    left.set_ylabel("score, mean over tasks and seeds")
    left.set_title("Every dot is a draw of hyperparameters")
    left.legend(loc="lower left")
    right.set_xscale("log", base=2)
    right.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    right.set_xlabel("draws tried")
    right.set_title("Expected score of the best draw")
    right.legend(fontsize=8, ncols=2, loc="lower right")
    figure.savefig(EXPERIMENTS / "pictures" / "lottery.png", dpi=90)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print Markdown."""
    print()
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row) + " |")


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.3f}" if math.isfinite(value) else "–"
    return "–" if value is None else str(value)


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:]])
