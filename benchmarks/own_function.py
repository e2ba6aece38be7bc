"""Time of 1,000 evaluations of a trivial function, here and in Optuna.

    python benchmarks/own_function.py

Both search the same space of two parameters with their default settings for such a problem: here
the agents random, genetic and bayesian, there the random and the TPE sampler, in memory and with a
journal in a file, which is what a study here always has.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

import archgym as ag

SIZES = [4 * 2**n for n in range(16)]
WAYS = list(range(1, 65))


@ag.simulator(
    space=[ag.Ordinal(name="kib", levels=tuple(SIZES)), ag.Integer(name="ways", low=1, high=64)],
    metrics={"amat_ns": "minimise", "area_mm2": "minimise"},
)
def cache(design: Any) -> dict[str, float]:
    """Return two metrics of a cache."""
    return metrics(design["kib"], design["ways"])


def metrics(kib: int, ways: int) -> dict[str, float]:
    """Return the metrics of a cache by two formulas."""
    misses = 0.3 / kib**0.5 / ways**0.2
    return {"amat_ns": 1.0 + 0.1 * ways + 60.0 * misses, "area_mm2": 0.04 * kib + 0.01 * ways}


def ours(agent: str, budget: int, folder: Path) -> float:
    """Return the wall time of a search with an agent [s]."""
    began = time.perf_counter()
    result = ag.search(
        cache,
        minimise="amat_ns",
        subject_to="area_mm2 <= 5",
        agent=agent,
        budget=budget,
        folder=folder / agent,
    )
    wall_s = time.perf_counter() - began
    assert result.evaluations == budget, result
    return wall_s


def theirs(sampler: optuna.samplers.BaseSampler, budget: int, storage: Any) -> float:
    """Return the wall time of a search with a sampler of Optuna [s]."""

    def objective(trial: optuna.Trial) -> float:
        kib = trial.suggest_categorical("kib", SIZES)
        ways = trial.suggest_int("ways", 1, 64)
        found = metrics(kib, ways)
        trial.set_constraint("area", found["area_mm2"] - 5)
        return found["amat_ns"]

    began = time.perf_counter()
    study = optuna.create_study(sampler=sampler, storage=storage)
    study.optimize(objective, n_trials=budget)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=1000, help="Number of evaluations.")
    budget = parser.parse_args().budget
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = optuna.samplers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def journal() -> Any:
            backend = optuna.storages.journal.JournalFileBackend(str(folder / "optuna.log"))
            return optuna.storages.JournalStorage(backend)

        # The first search loads what all of them need.
        ours("random", 5, folder / "first")
        theirs(samplers.RandomSampler(seed=0), 5, None)
        cases: list[tuple[str, Callable[[], float]]] = [
            *(
                (f"archgym, {a}", lambda a=a: ours(a, budget, folder))
                for a in ("random", "genetic", "bayesian")
            ),
            (
                "optuna, random, in memory",
                lambda: theirs(samplers.RandomSampler(seed=0), budget, None),
            ),
            ("optuna, TPE, in memory", lambda: theirs(samplers.TPESampler(seed=0), budget, None)),
            (
                "optuna, random, journal",
                lambda: theirs(samplers.RandomSampler(seed=0), budget, journal()),
            ),
        ]
        print(f"| search of {budget:,} evaluations | wall time [s] | per evaluation [ms] |")
        print("|---|---|---|")
        for label, measure in cases:
            wall_s = measure()
            print(f"| {label} | {wall_s:.2f} | {1000 * wall_s / budget:.2f} |", flush=True)


if __name__ == "__main__":
    main()
