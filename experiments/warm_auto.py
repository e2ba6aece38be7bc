"""Searches that begin with the best designs of alike studies, over left-out DRAM workloads.

    python experiments/warm_auto.py [EVALUATIONS]

Each of the shipped DRAM workloads is left out in turn. Earlier studies are those of the other
workloads, of `auto` with seed 0. The search with `--warm-start auto` and seed 1 is compared with
one without. The last column is the evaluations that the warm search takes to the best reward of
the cold one, as a share of those that the cold one took.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import archgym as ag
from archgym.studies.portfolio import earlier_designs


def main(budget: int) -> None:
    """Print a row for each workload, and the means."""
    print("| workload | best, cold | best, warm | evaluations, warm over cold |")
    print("|---|---|---|---|")
    names = ag.Task.make("dram").simulator.workload_names()
    ratios, losses = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = {each: ag.Task.make("dram", workload=each) for each in names}
        for each, task in tasks.items():
            ag.Study.create(folder / each, task, "auto", seed=0, budget=budget).run()
        for each, task in tasks.items():
            curves = []
            for start in ((), earlier_designs(task, folder)):
                study = ag.Study.create(
                    folder / "new" / f"{each}-{len(start)}",
                    task,
                    "auto",
                    seed=1,
                    budget=budget,
                    start=start,
                )
                curves.append(study.run().log.curve())
            cold, warm = curves
            best = cold.max()
            reached = np.flatnonzero(warm >= best)
            share = (reached[0] + 1 if len(reached) else budget) / (
                1 + int(np.argmax(cold >= best))
            )
            ratios.append(share)
            losses.append(best - warm.max())
            print(f"| {each} | {best:.4f} | {warm.max():.4f} | {share:.2f} |", flush=True)
    print(
        f"Mean share of evaluations {np.mean(ratios):.2f}, median {np.median(ratios):.2f}; mean "
        f"loss of reward {np.mean(losses):.4f}; {sum(r > 1.1 for r in ratios)} of {len(ratios)} "
        "above 1.1."
    )


if __name__ == "__main__":
    main(int((sys.argv[1:2] or ["60"])[0]))
