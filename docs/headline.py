"""Draw the README's first picture: `python docs/headline.py`, the search of `make demo`."""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import archgym as ag

PICTURE = Path(__file__).resolve().parent / "pictures" / "headline.svg"
WORKLOAD, METRIC, LIMIT, BUDGET = "recorded-kmer-count", "mean_latency_ns", "total_time_ns", 200


def main() -> None:
    """Search and draw; the file is the same at each run."""
    task = ag.Task.make("dram", WORKLOAD, minimise=METRIC)
    default = dict(zip([spec.name for spec in task.metrics], task.reference[0], strict=True))
    limit = f"{LIMIT} <= {np.ceil(default[LIMIT] / 100) * 100:.0f}"
    with tempfile.TemporaryDirectory() as folder:
        result = ag.search(
            "dram",
            workload=WORKLOAD,
            minimise=METRIC,
            subject_to=limit,
            budget=BUDGET,
            folder=Path(folder) / "study",
        )
        frame = result.to_dataframe()
    met = frame[METRIC].where(frame["feasible"])
    best = np.fmin.accumulate(np.fmin(met.to_numpy(), default[METRIC]))
    plt.rcParams["svg.hashsalt"] = "archgym"
    figure, axes = plt.subplots(figsize=(7.2, 3.0), layout="constrained")
    axes.scatter(
        np.arange(1, BUDGET + 1), met, s=9, color="#9db4d3", label="design within the limit"
    )
    axes.step(
        np.arange(1, BUDGET + 1), best, where="post", color="#1d4f91", lw=2, label="best so far"
    )
    axes.axhline(default[METRIC], color="#a33", lw=1, ls="--", label="default design")
    axes.set_ylim(0, 1.5 * default[METRIC])
    axes.set_xlim(0, BUDGET)
    axes.set_xlabel("evaluations")
    axes.set_ylabel("mean latency [ns]")
    axes.set_title(
        f"Memory controller for a k-mer count: {default[METRIC]:.0f} → {best[-1]:.0f} ns latency\n"
        f"at no more total time, after {BUDGET} simulated designs",
        fontsize=11,
    )
    axes.legend(loc="upper right", fontsize=8)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
