"""A scripted client with and without the adviser, and `auto` alone.

    python experiments/advise.py [SEEDS]

The client knows nothing of the models. It changes one or two parameters of one of its three best
designs, as a person would. Both begin with the default design, three such ideas and four random
designs. Alone, it evaluates two such ideas at a time. With the adviser it has
sixteen ideas and four of `auto`'s models ranked by `study.advise`, and evaluates the first two.
Development tasks, 60 evaluations; seeds count from 0.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import archgym as ag
from archgym.bench import bench_task
from archgym.errors import BudgetExhausted

TASKS = ("soc-small-edp", "dram-burst-power", "accelerator-edp-area-front")
BUDGET, AT_ONCE, IDEAS, FIRST = 60, 2, 16, 8


def ideas(study: ag.Study, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return new designs that differ from one of the best three in one or two parameters."""
    log, space = study.read(), study.task.space
    best = log.records.indices[log.top_rows(3)]
    if not len(best):
        return space.sample(n, rng)
    known = {row.tobytes() for row in space.canonical(log.records.indices)}
    found: dict[bytes, np.ndarray] = {}
    for _ in range(50 * n):
        design = best[rng.integers(len(best))].copy()
        for place in rng.choice(space.n_parameters, size=int(rng.integers(1, 3)), replace=False):
            design[place] = rng.integers(space.sizes[place])
        design = space.canonical(design[None, :])
        key = design[0].tobytes()
        if key not in known and space.feasible(design)[0]:
            found[key] = design[0]
        if len(found) == n:
            break
    return np.array(list(found.values()))


def client(task: ag.Task, seed: int, folder: Path, has_adviser: bool) -> float:
    """Return the best reward that the client finds."""
    rng = np.random.default_rng(seed)
    study = ag.Study.create(folder, task, None, budget=BUDGET)
    try:
        study.evaluate(task.space.default_indices[None, :])
        for number in range(1, FIRST):
            draw = task.space.sample(1, rng) if number % 2 else ideas(study, 1, rng)
            study.evaluate(draw)
        while True:
            if has_adviser:
                own = task.space.designs(ideas(study, IDEAS, rng))
                advice = study.advise(4, own, seed)
                chosen = [each.design for each in advice.suggestions[:AT_ONCE]]
                study.evaluate(np.array([task.space.indices_of(design) for design in chosen]))
            else:
                study.evaluate(ideas(study, AT_ONCE, rng))
    except BudgetExhausted:
        pass
    best = study.best_reward
    study.close()
    return -25.0 if best is None else best


def main(seeds: int) -> None:
    """Print the median of the best reward of each."""
    print("| task | auto alone | client alone | both |")
    print("|---|---|---|---|")
    for label in TASKS:
        task = bench_task(label).plan.make()
        found: dict[str, list[float]] = {"auto": [], "client": [], "both": []}
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                study = ag.Study.create(folder / "auto", task, "auto", seed=seed, budget=BUDGET)
                best = study.run().log.best()
                found["auto"].append(-25.0 if best is None else best.reward)
                found["client"].append(client(task, seed, folder / "client", False))
                found["both"].append(client(task, seed, folder / "both", True))
        cells = " | ".join(f"{np.median(values):.4f}" for values in found.values())
        print(f"| {label} | {cells} |", flush=True)


if __name__ == "__main__":
    main(int((sys.argv[1:2] or ["3"])[0]))
