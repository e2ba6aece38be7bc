"""Draw the README's first picture: `python docs/headline.py`, the search of `make demo`."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Small models are faster on one thread. Libraries read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import matplotlib.pyplot as plt
import numpy as np

import archgym as ag

PICTURE = Path(__file__).resolve().parent / "pictures" / "headline.svg"
METRIC, LIMIT, BUDGET, SEEDS = "tpot_mean_ms", "degraded_percent <= 0", 100, 10
AGENTS = {"random": "#8a8a8a", "genetic": "#d08a2e", "auto": "#1d4f91"}


def main() -> None:
    """Search and draw; the file is the same at each run."""
    task = ag.Task.make(
        "moe",
        space="edge-offload",
        model="mixtral-8x7b",
        hardware="rtx-4090",
        minimise=METRIC,
        subject_to=LIMIT,
    )
    default = dict(zip([spec.name for spec in task.metrics], task.reference[0], strict=True))
    plt.rcParams["svg.hashsalt"] = "archgym"
    figure, axes = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    evaluations = np.arange(1, BUDGET + 1)
    for agent, colour in AGENTS.items():
        curves = np.array(list(best_so_far(task, agent, default[METRIC])))
        median = np.median(curves, axis=0)
        axes.step(evaluations, curves.T, where="post", color=colour, lw=0.6, alpha=0.3)
        label = f"{agent}: {median[-1]:.0f} ms"
        axes.step(evaluations, median, where="post", color=colour, lw=2.2, label=label)
    axes.axhline(default[METRIC], color="#a33", lw=1, ls="--", label="default design")
    axes.set_yscale("log")
    axes.set_xlim(1, BUDGET)
    axes.set_xlabel("evaluations")
    axes.set_ylabel("time per token [ms]")
    axes.set_title(
        f"Mixtral 8x7B on a 24 GB card: {default[METRIC]:,.0f} → {median[-1]:.0f} ms a token\n"
        f"with its answers intact ({SEEDS} seeds of each agent, and their median)",
        fontsize=11,
    )
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(PICTURE, metadata={"Date": None})


def best_so_far(task: ag.Task, agent: str, default: float) -> Iterator[np.ndarray]:
    """Yield each seed's best value so far among designs that meet the limit, and the default's."""
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            result = ag.search(
                task, agent=agent, seed=seed, budget=BUDGET, folder=Path(folder) / "study"
            )
            frame = result.to_dataframe()
        met = frame[METRIC].where(frame["feasible"] & (frame["degraded_percent"] <= 0))
        yield np.fmin.accumulate(np.fmin(met.to_numpy(), default))


if __name__ == "__main__":
    main()
