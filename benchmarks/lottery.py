"""Writes the data, picture and tables of docs/lottery.md from the sweep that it tells of.

`python benchmarks/lottery.py runs/lottery tables/*.parquet`
"""

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from archgym.report import Evidence, Findings, find, read_evidence
from archgym.report.defaults import has_defaults
from archgym.statistics import expected_best_of, scores

DOCS = Path(__file__).resolve().parent.parent / "docs"
# Okabe and Ito, Color Universal Design, 2008, without the yellow that a white page hides.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#AA4499")
RESAMPLES = 2000
TRIAL_SEEDS = 3
"""Seeds by which the best draw is chosen; the others judge it."""


class Scores:
    """Scores of one agent's settings, the defaults first: (n_settings, n_tasks, n_seeds)."""

    def __init__(self, evidence: Evidence, findings: Findings, agent: str) -> None:
        """Takes the runs of an agent, all of which must have finished."""
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
        seeds = sorted({seed for _, seed in by_label[self.labels[0]]})
        tasks = range(len(evidence.tasks))
        self.table = np.array(
            [[[by_label[each][t, s] for s in seeds] for t in tasks] for each in self.labels]
        )

    @property
    def draws(self) -> np.ndarray:
        """Scores of the settings that are not the defaults."""
        return np.asarray(self.table[1:])


def main(sweep: Path, tables: Sequence[Path]) -> None:
    """Reads the sweep and writes everything."""
    evidence = read_evidence([sweep], tables)
    findings = find(evidence, is_evaluating=False)
    agents = list(dict.fromkeys(run.agent for task in evidence.tasks for run in task.runs))
    found = {agent: Scores(evidence, findings, agent) for agent in agents}
    write_data(evidence, found)
    drawn = {agent: own for agent, own in found.items() if len(own.draws) > 1}
    draw(found, drawn)
    for line in findings.verdict:
        print(f"- {line}")
    for name in ("scores", "lottery", "tuning"):
        for table in findings.tables:
            if table.name == name:
                print_table(table.columns, table.rows)
    print_table(
        (
            "agent",
            "optimum on how many tasks",
            "best draw of each task",
            "chosen by 3 seeds",
            "low",
            "high",
        ),
        [(agent, *tuned_in_hindsight(own.table)) for agent, own in drawn.items()],
    )
    print_table(
        ("a draw of … beats one of", *drawn),
        [
            (a, *("" if a == b else beats(own.draws, other.draws) for b, other in drawn.items()))
            for a, own in drawn.items()
        ],
    )
    print_table(
        ("agent", *(task.label for task in evidence.tasks)),
        [
            (
                agent,
                *(
                    f"{d:.3f} / {b:.3f}"
                    for d, b in zip(
                        own.table[0].mean(axis=1), own.table.mean(axis=2).max(axis=0), strict=True
                    )
                ),
            )
            for agent, own in found.items()
        ],
    )


def tuned_in_hindsight(table: np.ndarray) -> tuple[str | float, ...]:
    """What the best of all settings reaches on each task, and what one chosen by seeds does.

    The first is what the published study looks at; it takes the luckiest of all settings and seeds.
    The second chooses by the first seeds and is judged by the others, so that luck does not count;
    what the choice cost is not charged. Its interval resamples tasks and the judging seeds.
    """
    best = table.max(axis=(0, 2))
    chosen = table[:, :, :TRIAL_SEEDS].mean(axis=2).argmax(axis=0)
    judged = table[chosen, np.arange(table.shape[1]), TRIAL_SEEDS:]
    rng = np.random.default_rng(0)
    n_tasks, n_seeds = judged.shape
    rows = rng.integers(0, n_tasks, (RESAMPLES, n_tasks))[:, :, None]
    columns = rng.integers(0, n_seeds, (RESAMPLES, n_tasks, n_seeds))
    low, high = np.quantile(judged[rows, columns].mean(axis=(1, 2)), [0.025, 0.975])
    n_proven = int((best > 1 - 1e-9).sum())
    return f"{n_proven} of {n_tasks}", float(best.mean()), float(judged.mean()), low, high


def beats(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Chance that a draw of one agent has a better mean score than a draw of another."""
    a, b = ours.mean(axis=(1, 2)), theirs.mean(axis=(1, 2))
    gap = a[:, None] - b[None, :]
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())


def write_data(evidence: Evidence, found: dict[str, Scores]) -> None:
    """Every run's score, a line for each setting on each task; and the settings."""
    with (DOCS / "data" / "lottery.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        n_seeds = next(iter(found.values())).table.shape[2]
        writer.writerow(("setting", "task", *(f"seed_{n}" for n in range(n_seeds))))
        for own in found.values():
            for label, by_task in zip(own.labels, own.table, strict=True):
                for task, row in zip(evidence.tasks, by_task, strict=True):
                    writer.writerow((label, task.label, *(f"{score:.5g}" for score in row)))
    with (DOCS / "data" / "lottery-settings.csv").open("w", newline="") as handle:
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(3, 2))
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
    right.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(DOCS / "pictures" / "lottery.png", dpi=90)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints Markdown."""
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
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
