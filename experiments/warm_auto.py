"""Searches that begin with designs of alike studies, over left-out DRAM workloads.

    python experiments/warm_auto.py [EVALUATIONS [SEEDS [FOLDER]]]

Each of the shipped DRAM workloads is left out in turn. Earlier studies are those of the other
workloads, of `auto` with seed 900. Searches with `--warm-start auto` are compared with searches
without, of the same seeds. The best known design of a workload is the best of all its runs. A
search that does not come within 1 % of it counts as one evaluation more than its budget. A FOLDER
keeps studies and rows, so that a run that was stopped continues there.
"""

import json
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import archgym as ag
from archgym.studies.portfolio import earlier_designs

WITHIN = math.log(1.01)
EARLIER_SEED = 900


def steps(curve: np.ndarray, best: float) -> int:
    """Return the evaluations until a search is within 1 % of the best known reward."""
    reached = np.flatnonzero(curve >= best - WITHIN)
    return int(reached[0]) + 1 if len(reached) else len(curve) + 1


def searched(
    path: Path, task: ag.Task, seed: int, budget: int, start: Sequence[object] = ()
) -> np.ndarray:
    """Return the best reward after each evaluation of a study, which is continued if it exists."""
    study = ag.Study.create(
        path, task, "auto", seed=seed, budget=budget, start=start, exists="resume"
    )
    return study.run().log.curve()


def row_of(
    each: str, task: ag.Task, folder: Path, known: float, budget: int, seeds: int
) -> list[float]:
    """Return evaluations cold and warm, their ratio, and the reward that warm searches lack [%]."""
    curves = np.empty((2, seeds, budget))
    with tempfile.TemporaryDirectory() as others:
        for path in (folder / "earlier").iterdir():
            if path.name != each:
                (Path(others) / path.name).symlink_to(path.resolve())
        found = earlier_designs(task, Path(others))
    for warm, start in enumerate(((), found)):
        for seed in range(seeds):
            path = folder / "new" / f"{each}-{warm}-{seed}"
            curves[warm, seed] = searched(path, task, seed, budget, start)
    best = max(known, curves.max())
    cold, warm_steps = (float(np.mean([steps(c, best) for c in part])) for part in curves)
    lost = 100.0 * math.expm1(float(np.mean(curves[0, :, -1] - curves[1, :, -1])))
    return [cold, warm_steps, warm_steps / cold, lost]


def main(budget: int, seeds: int, folder: Path) -> None:
    """Print a row for each workload, and the means."""
    print("| workload | evaluations, cold | warm | warm over cold | reward lost at the end, % |")
    print("|---|---:|---:|---:|---:|")
    names = ag.Task.make("dram").simulator.workload_names()
    found = []
    tasks = {each: ag.Task.make("dram", workload=each) for each in names}
    known = {
        each: searched(folder / "earlier" / each, task, EARLIER_SEED, budget)[-1]
        for each, task in tasks.items()
    }
    for each, task in tasks.items():
        kept = folder / f"{each}.json"
        if not kept.exists():
            kept.write_text(json.dumps(row_of(each, task, folder, known[each], budget, seeds)))
        cold, warm_steps, ratio, lost = json.loads(kept.read_text())
        found.append((cold, warm_steps, ratio, lost))
        cells = f"{cold:.1f} | {warm_steps:.1f} | {ratio:.2f} | {lost:.1f}"
        print(f"| {each} | {cells} |", flush=True)
    table = np.array(found)
    of_means = table[:, 1].sum() / table[:, 0].sum()
    print(
        f"Mean ratio {table[:, 2].mean():.2f}, of the means {of_means:.2f}; "
        f"{(table[:, 2] > 1.1).sum()} of {len(table)} above 1.1; reward lost at the end "
        f"{table[:, 3].mean():.1f} % in the mean, {table[:, 3].max():.1f} % at most."
    )


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:3]]
    with tempfile.TemporaryDirectory() as temporary:
        main(*(given + [60, 3][len(given) :]), Path(*(sys.argv[3:4] or [temporary])))
