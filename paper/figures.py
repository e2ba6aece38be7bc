"""Make the figures and tables of the paper from the data of the experiments.

    python paper/figures.py           # writes paper/figures/ and paper/artifacts.json
    python paper/figures.py --check   # compares with paper/artifacts.json

Takes seconds: the data are those in experiments/data, which the experiments' own commands make.
`artifacts.json` has the digest of each input and of the numbers behind each figure.
"""

import argparse
import hashlib
import json
import math
import sys
from pathlib import Path

import matplotlib
import pandas as pd
from scipy import stats

matplotlib.use("svg")
from matplotlib import pyplot  # the backend is chosen first

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "experiments" / "data" / "bench-peers.csv"
STARTS = ROOT / "experiments" / "data" / "transfer.csv"
FIGURES = Path(__file__).parent / "figures"
ARTIFACTS = Path(__file__).parent / "artifacts.json"
BUDGETS = (25, 50, 100)
LEAST_TASKS = 6
SHOWN_STARTS = ("cold", "misleading", "near", "portfolio")


def medians(budget: int) -> pd.DataFrame:
    """Return the median reward over seeds, a row for each method and a column for each task.

    Methods that ran on fewer than six tasks are left out, and so are tasks that the others did not
    all run.
    """
    data = pd.read_csv(PEERS).dropna(subset=[f"at_{budget}"])
    found = data.groupby(["method", "task"])[f"at_{budget}"].median().unstack()
    found = found[found.notna().sum(axis=1) >= LEAST_TASKS]
    return found.dropna(axis=1)


def ranks(budget: int) -> pd.DataFrame:
    """Return the rank of each method on each task; 1 is best."""
    return medians(budget).rank(axis=0, ascending=False)


def critical_difference(n_methods: int, n_tasks: int) -> float:
    """Return the difference of mean ranks that is significant at 5 %.

    Source:
      Demšar, *Statistical Comparisons of Classifiers over Multiple Data Sets*, JMLR 7, 2006.
    """
    q = stats.studentized_range.ppf(0.95, n_methods, math.inf) / math.sqrt(2.0)
    return float(q * math.sqrt(n_methods * (n_methods + 1) / (6.0 * n_tasks)))


def diagram(found: pd.DataFrame, path: Path) -> None:
    """Draw the mean ranks on a line, with the critical difference."""
    mean = found.mean(axis=1).sort_values()
    n = len(mean)
    difference = critical_difference(n, found.shape[1])
    figure, axes = pyplot.subplots(figsize=(6.5, 0.9 + 0.22 * n))
    for row, (method, rank) in enumerate(mean.items()):
        axes.plot([rank, rank, n + 0.3], [0, -1 - row, -1 - row], color="0.5", linewidth=0.8)
        axes.plot(rank, 0, "o", color="C0")
        axes.text(n + 0.4, -1 - row, f"{method} {rank:.2f}", va="center", fontsize=8)
    axes.plot([1, 1 + difference], [1, 1], color="black", linewidth=2)
    axes.text(1, 1.3, f"critical difference {difference:.2f}", fontsize=8)
    axes.hlines(0, 1, n, color="black", linewidth=0.8)
    for rank in range(1, n + 1):
        axes.text(rank, 0.25, str(rank), ha="center", fontsize=7)
    axes.set_xlim(0.5, n + 3.5)
    axes.axis("off")
    save(figure, path)


def losses() -> pd.DataFrame:
    """Return the mean loss to the best known design [%], by evaluation and kind of start.

    The mean is over seeds, then over the workloads that were left out.
    """
    runs = pd.read_csv(STARTS)
    curves = {
        tuple(row): _curve(steps, int(budget))
        for *row, budget, steps in runs[["workload", "kind", "seed", "budget", "steps"]].values
    }
    known = runs.assign(best=[curve[-1] for curve in curves.values()])
    best = known.groupby("workload")["best"].max()
    found = {
        kind: pd.DataFrame(
            {
                workload: pd.DataFrame(
                    [c for (w, k, _), c in curves.items() if (w, k) == (workload, kind)]
                ).mean()
                for workload in best.index
            }
        )
        for kind in SHOWN_STARTS
    }
    return pd.DataFrame(
        {kind: (100.0 * (best - mean).map(math.expm1)).mean(axis=1) for kind, mean in found.items()}
    )


def _curve(steps: str, budget: int) -> list[float]:
    """Return the best reward after each evaluation, from the evaluations at which it changed."""
    changes = dict(step.split(":") for step in steps.split())
    curve: list[float] = []
    for n in range(1, budget + 1):
        curve.append(float(changes[str(n)]) if str(n) in changes else curve[-1])
    return curve


def starts_picture(found: pd.DataFrame, path: Path) -> None:
    """Draw the mean loss over evaluations, a line for each kind of start."""
    figure, axes = pyplot.subplots(figsize=(5.0, 2.6))
    for kind in found:
        axes.plot(found.index + 1, found[kind], label=kind)
    axes.set(xlabel="evaluations", ylabel="mean loss (%)", yscale="log")
    axes.legend(fontsize=8)
    save(figure, path)


def save(figure: pyplot.Figure, path: Path) -> None:
    """Write a figure that is the same each time."""
    matplotlib.rcParams["svg.hashsalt"] = "archgym"
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def latex() -> str:
    """Return the table of mean ranks."""
    columns = {budget: ranks(budget).mean(axis=1) for budget in BUDGETS}
    table = pd.DataFrame(columns).sort_values(BUDGETS[-1])
    heads = " & ".join(f"at {budget}" for budget in BUDGETS)
    lines = [r"\begin{tabular}{l" + "r" * len(BUDGETS) + "}", rf"method & {heads} \\", r"\hline"]
    for method, row in table.iterrows():
        cells = " & ".join("" if math.isnan(value) else f"{value:.2f}" for value in row)
        lines.append(rf"{method} & {cells} \\")
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def digest(text: str | bytes) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def artifacts() -> dict[str, dict[str, str]]:
    """Return the digests of inputs and numbers, by what they belong to."""
    found = {
        "table of mean ranks": {
            "command": "python paper/figures.py",
            "minutes": "0.1",
            "input": digest(PEERS.read_bytes()),
            "numbers": digest(latex()),
        }
    }
    for budget in BUDGETS:
        numbers = ranks(budget).mean(axis=1).round(6).to_json()
        found[f"ranks at {budget}"] = {**found["table of mean ranks"], "numbers": digest(numbers)}
    found["losses by start"] = {
        **found["table of mean ranks"],
        "input": digest(STARTS.read_bytes()),
        "numbers": digest(losses().round(6).to_json()),
    }
    return found


def main() -> int:
    """Write the figures, or check their numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Compare with artifacts.json.")
    if parser.parse_args().check:
        kept, now = json.loads(ARTIFACTS.read_text("utf-8")), artifacts()
        changed = [name for name in {**kept, **now} if kept.get(name) != now.get(name)]
        print(f"changed: {', '.join(changed)}" if changed else "all numbers are as recorded")
        return 1 if changed else 0
    FIGURES.mkdir(exist_ok=True)
    for budget in BUDGETS:
        diagram(ranks(budget), FIGURES / f"ranks-{budget}.svg")
    starts_picture(losses(), FIGURES / "starts.svg")
    (FIGURES / "ranks.tex").write_text(latex(), "utf-8")
    ARTIFACTS.write_text(json.dumps(artifacts(), indent=1) + "\n", "utf-8")
    print(latex())
    return 0


if __name__ == "__main__":
    sys.exit(main())
