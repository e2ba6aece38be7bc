"""Accuracy and speed of proxies of the DRAM simulator, against two simulators.

Run it as `python experiments/proxy.py [--rows N] [--workloads NAME ...]`. Errors are root mean
square errors as percent of the mean. Times are CPU times of this process on one thread, so that
other load on the machine weighs less.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from proxy_report import region

from archgym.datasets import Dataset
from archgym.evaluation.specification import Declaration
from archgym.proxy import ProxySimulator, model_kind, train
from archgym.proxy.compiled_trees import predict_trees
from archgym.proxy.fitting import TrainOptions, distinct_rows, fit_part
from archgym.proxy.measures import errors_by_metric, folds, outcome_groups
from archgym.proxy.verified_search import search_on_proxy
from archgym.proxy.workload_model import Part
from archgym.simulators.dram import DramSimulator
from archgym.studies.study import Study
from archgym.tasks.task import Task

# CPU time of a run of DRAMSys 4 on 10,000 requests, mean over 60 random designs: measured in
# another run, on a quiet machine of this kind; and the range that was quoted for it.
REFERENCE_MS = 38.5
REFERENCE_RANGE_MS = (20.0, 46.0)
TARGETS = ("total_energy_pj", "power_mw", "total_time_ns")
WORKLOADS = ("stream", "random", "cloud-1", "cloud-2")
N_POINTS = 5192
N_FOLDS = 5
# Hyperparameters are fixed, so that a run measures one model.
SPLIT_MODEL = TrainOptions(
    "extra-trees",
    fit="each",
    setting={"n_trees": 100, "min_samples_leaf": 1, "max_features": 1.0},
)
FAST_MODEL = TrainOptions("boosting", setting=model_kind("boosting").settings[0])
SEARCH_ROWS = 2000
SEARCH_BUDGET = 2000
N_SEARCHES = 5
VERIFIED = 10
NO_FACTS = np.zeros(0)


def main() -> None:
    """Print both accuracy protocols, then speed, then what a search saves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=25_000, help="distinct designs a workload")
    parser.add_argument("--workloads", nargs="+", default=list(WORKLOADS))
    given = parser.parse_args()
    simulator = DramSimulator("archgym-2023")
    random_split(simulator)
    part, simulator_ms = None, 0.0
    for name in given.workloads:
        part, simulator_ms = unseen_outcomes(simulator, name, given.rows)
    assert part is not None
    speed(simulator, part, simulator_ms)
    saved(simulator, given.workloads[-1])


def evaluated(simulator: DramSimulator, name: str, indices: np.ndarray) -> tuple[Dataset, float]:
    """Return a dataset of designs on a workload, and the milliseconds per design."""
    workload = simulator.workload(name)
    simulator.evaluate_batch(indices[:1], workload)
    start = time.process_time()
    result = simulator.evaluate_batch(indices, workload)
    took_ms = 1e3 * (time.process_time() - start) / len(indices)
    n = len(indices)
    dataset = Dataset(
        Path(name),
        "0" * 64,
        Declaration.of(simulator, simulator.space.name, {name: workload}),
        simulator.space.canonical(indices),
        result.values,
        result.reason == 0,
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        ("random",),
        np.arange(n),
    )
    return dataset, took_ms


def random_split(simulator: DramSimulator) -> None:
    """Protocol A: 5,192 unique random points on `random`, 4,154 to learn from, at random."""
    rng = np.random.default_rng(0)
    sizes = simulator.space.sizes
    points = rng.integers(sizes, size=(2 * N_POINTS, len(sizes)))
    _, first = np.unique(points, axis=0, return_index=True)
    points = points[np.sort(first)][:N_POINTS]
    dataset, _ = evaluated(simulator, "random", points)
    errors = []
    for _ in range(3):
        order = rng.permutation(N_POINTS)
        # Points that are one canonical design stay separate rows here, as in the protocol.
        train, test = order[: N_POINTS * 4 // 5 + 1], order[N_POINTS * 4 // 5 + 1 :]
        rows = distinct_rows(dataset)
        seen = {row.tobytes() for row in dataset.indices[train]}
        is_train = np.array([row.tobytes() in seen for row in rows.indices])
        part = fit_part(dataset, rows[is_train], SPLIT_MODEL, with_intervals=False).part
        predicted = part.predict(dataset.indices[test], NO_FACTS)
        errors.append(percents(dataset, dataset.values[test], predicted))
    print(f"A  random 80/20 split, {N_POINTS} points, {SPLIT_MODEL.model}, mean of 3 splits")
    say("random", np.mean(errors, axis=0), "targets 0.22 / 0.45 / 0.68")


def unseen_outcomes(simulator: DramSimulator, name: str, n: int) -> tuple[Part, float]:
    """Protocol B: designs whose outcome was never seen, in five folds; a region of the space."""
    rng = np.random.default_rng(0)
    sizes = simulator.space.sizes
    raw = simulator.space.canonical(rng.integers(sizes, size=(3 * n, len(sizes))))
    _, first = np.unique(raw, axis=0, return_index=True)
    dataset, took_ms = evaluated(simulator, name, raw[np.sort(first)][:n])
    rows = distinct_rows(dataset)
    names = [spec.name for spec in dataset.metrics]
    groups = outcome_groups(rows.values[:, [names.index(target) for target in TARGETS]])
    fold = folds(groups, N_FOLDS, np.random.default_rng(0))
    predicted = np.empty_like(rows.values)
    for number in range(N_FOLDS):
        part = fit_part(dataset, rows[fold != number], FAST_MODEL, with_intervals=False).part
        predicted[fold == number] = part.predict(rows.indices[fold == number], NO_FACTS)
    print(
        f"B  unseen outcomes, {n * (N_FOLDS - 1) // N_FOLDS} rows to learn from, "
        f"{groups.max() + 1} distinct outcomes, {FAST_MODEL.model}"
    )
    say(name, percents(dataset, rows.values, predicted), "target: mean 0.61")
    beyond, words = region(simulator.space, dataset.metrics, rows.indices, rows.values, 0.2)
    part_beyond = fit_part(dataset, rows[~beyond], FAST_MODEL, with_intervals=False).part
    guessed = part_beyond.predict(rows.indices[beyond], NO_FACTS)
    errors = percents(dataset, rows.values[beyond], guessed)
    say(f"  {' and '.join(words)}", errors, f"extrapolation to {int(beyond.sum())} designs")
    return part, took_ms


def saved(simulator: DramSimulator, name: str) -> None:
    """Count in two ways what genetic search on a proxy saves at equal final quality."""
    designs = simulator.space.sample(SEARCH_ROWS, np.random.default_rng(0))
    dataset, _ = evaluated(simulator, name, designs)
    print(
        f"Search on {name} for balanced: genetic, {SEARCH_BUDGET} predictions, {VERIFIED} simulated"
    )
    on_proxy, plain = [], []
    with tempfile.TemporaryDirectory() as folder:
        train(dataset, FAST_MODEL).save(f"{folder}/proxy.npz")
        proxy = ProxySimulator(f"{folder}/proxy.npz")
        task = Task.make(simulator, name, "balanced")
        for seed in range(N_SEARCHES):
            found = search_on_proxy(
                proxy, name, "balanced", "genetic", SEARCH_BUDGET, VERIFIED, seed
            )
            with Study.create(
                f"{folder}/{seed}", task, "genetic", seed=seed, budget=SEARCH_BUDGET
            ) as study:
                log = study.run().log
            reward = log.records.reward[log.is_evaluation]
            reached = np.flatnonzero(reward >= found.best.simulated)
            on_proxy.append(found.best.simulated)
            plain.append(int(reached[0]) + 1 if len(reached) else SEARCH_BUDGET)
            lacks = "" if len(reached) else ", not reached"
            print(
                f"   seed {seed}: reward {found.best.simulated:.4f} on the proxy, which simulating "
                f"search has after {plain[-1]} (its best {reward.max():.4f}{lacks})"
            )
    mean = float(np.mean(plain))
    with_data = VERIFIED + SEARCH_ROWS / N_SEARCHES
    print(
        f"   mean {mean:.0f} simulations by {VERIFIED}: {mean - VERIFIED:.0f} saved a search, not "
        f"counting the {SEARCH_ROWS} that trained the proxy; with them, by {N_SEARCHES} searches, "
        f"{mean - with_data:.0f}; alone, {mean - VERIFIED - SEARCH_ROWS:.0f}"
    )


def percents(dataset: Dataset, actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Errors of the three targets as percent of their mean."""
    errors = errors_by_metric(dataset.metrics, actual, predicted)
    return np.array([errors[target]["rmse_percent_of_mean"] for target in TARGETS], dtype=float)


def say(what: str, errors: np.ndarray, note: str) -> None:
    """Print a row: energy, power, time, their mean."""
    energy, power, total_time = errors
    print(
        f"   {what}: energy {energy:.2f} %, power {power:.2f} %, time {total_time:.2f} %, "
        f"mean {errors.mean():.2f} % ({note})",
        flush=True,
    )


def speed(simulator: DramSimulator, part: Part, simulator_ms: float) -> None:
    """Time of predictions of all metrics, alone and in a batch, against both simulators."""
    designs = simulator.space.sample(20_000, np.random.default_rng(1))
    part.predict(designs[:100], NO_FACTS)
    part.predict(designs[:1], NO_FACTS)
    batch_us = best_us(lambda: part.predict(designs, NO_FACTS), len(designs))
    some = [row[None, :] for row in designs[:2000]]
    call_us = best_us(lambda: [part.predict(row, NO_FACTS) for row in some], len(some))
    assert part.compiled is not None
    arguments = [part.compiled.arguments(row, NO_FACTS) for row in some]
    kernel_us = best_us(lambda: [predict_trees(*given) for given in arguments], len(some))
    print(f"Speed, {len(simulator.metrics)} metrics a prediction, {FAST_MODEL.model}")
    print(f"   one, compiled function with its call:    {kernel_us:7.2f} us")
    print(f"   one, from Python with all its arrays:    {call_us:7.2f} us")
    print(f"   in a batch of {len(designs)}:                  {batch_us:7.2f} us", end="")
    print(f" = {1e6 / batch_us:,.0f}/s on one thread")
    print(f"   our simulator: {simulator_ms:.2f} ms a design (CPU)")
    low, high = REFERENCE_RANGE_MS
    for what, took_us in (("one", kernel_us), ("batch", batch_us)):
        print(
            f"   {what}: {1e3 * REFERENCE_MS / took_us:,.0f} times faster than DRAMSys "
            f"({REFERENCE_MS} ms; {1e3 * low / took_us:,.0f} to {1e3 * high / took_us:,.0f} for "
            f"{low:.0f} to {high:.0f} ms), {1e3 * simulator_ms / took_us:,.0f} than our simulator"
        )


def best_us(run: "object", n: int) -> float:
    """CPU time of a run for each of its `n` predictions, the best of five [us]."""
    assert callable(run)
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return 1e6 * best / n


if __name__ == "__main__":
    main()
