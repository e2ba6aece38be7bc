"""Time of 1,000 evaluations of a trivial function, here and in Optuna.

    python benchmarks/own_function.py

Both search the same space of 65,536 designs with their default settings for such a problem: here
the agents random, genetic, bayesian and auto, there the random and the TPE sampler, in memory and
with a journal in a file, which is what a study here always has.
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


@ag.simulator(
    space=[
        ag.Ordinal(name="kib", levels=tuple(SIZES)),
        ag.Integer(name="ways", low=1, high=64),
        ag.Integer(name="banks", low=1, high=64),
    ],
    metrics={"amat_ns": "minimise", "area_mm2": "minimise"},
)
def cache(design: Any) -> dict[str, float]:
    """Return two metrics of a cache."""
    return metrics(design["kib"], design["ways"], design["banks"])


def metrics(kib: int, ways: int, banks: int) -> dict[str, float]:
    """Return the metrics of a cache by two formulas."""
    misses = 0.3 / kib**0.5 / ways**0.2
    amat_ns = 1.0 + 0.1 * ways + 60.0 * misses + 2.0 / banks
    return {"amat_ns": amat_ns, "area_mm2": 0.04 * kib + 0.01 * ways + 0.02 * banks}


def ours(agent: str, budget: int, folder: Path) -> None:
    """Search with an agent."""
    result = ag.search(
        cache,
        minimise="amat_ns",
        subject_to="area_mm2 <= 5",
        agent=agent,
        budget=budget,
        folder=folder / agent,
    )
    assert result.evaluations == budget, result


def theirs(sampler: optuna.samplers.BaseSampler, budget: int, storage: Any) -> None:
    """Search with a sampler of Optuna."""

    def objective(trial: optuna.Trial) -> float:
        kib = trial.suggest_categorical("kib", SIZES)
        ways = trial.suggest_int("ways", 1, 64)
        found = metrics(kib, ways, trial.suggest_int("banks", 1, 64))
        trial.set_constraint("area", found["area_mm2"] - 5)
        return found["amat_ns"]

    study = optuna.create_study(sampler=sampler, storage=storage)
    study.optimize(objective, n_trials=budget)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=1000, help="Number of evaluations.")
    parser.add_argument("--only", default="", help="Measure searches with this word in their name.")
    given = parser.parse_args()
    budget = given.budget
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
        cases: list[tuple[str, Callable[[], None]]] = [
            *(
                (f"archgym, {a}", lambda a=a: ours(a, budget, folder))
                for a in ("random", "genetic", "bayesian", "auto")
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
        print(f"| search of {budget:,} evaluations | wall time [s] | processor time [s] |")
        print("|---|---|---|")
        for label, measure in cases:
            if given.only not in label:
                continue
            wall, processor = time.perf_counter(), time.process_time()
            measure()
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(f"| {label} | {wall:.2f} | {processor:.2f} |", flush=True)


if __name__ == "__main__":
    main()
