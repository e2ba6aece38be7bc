"""Transfer methods of syne-tune on the tasks and earlier studies of `transfer.py`.

    pip install 'syne-tune[extra]'
    python experiments/transfer_peers.py experiments/data/transfer.csv --seeds 3

`bounding box` is TPE in the box of the best designs of the 21 other workloads' studies. `quantile`
draws designs from a surrogate that is fitted to all records of these studies. Both search the
workload that is left out, with the same budget. Rows are appended to the file of `transfer.py`.
Version: syne-tune 0.16.0, with default settings.

Sources:
  Perrone et al., *Learning Search Spaces for Bayesian Optimization*, NeurIPS 2019; Salinas et al.,
  *A Quantile-based Approach for Hyperparameter Transfer Learning*, ICML 2020.
"""

import argparse
import contextlib
import csv
import io
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from transfer import PEERS, Bench, shipped, write

from archgym.simulators.dram.workloads.shipped import SHIPPED
from archgym.studies.snapshot import read_study

# chosen: an unordered parameter is a choice; an ordered one of more than two values is a number.
_LEAST_ORDERED = 3
_LOSS = "loss"


def config_space(bench: Bench, workload: str) -> dict[str, Any]:
    """Return the space as syne-tune writes it."""
    from syne_tune.config_space import choice, randint

    return {
        parameter.name: randint(0, parameter.size - 1)
        if parameter.is_ordered and parameter.size >= _LEAST_ORDERED
        else choice(list(range(parameter.size)))
        for parameter in bench.tasks[workload].space.parameters
        if parameter.size > 1
    }


def known(bench: Bench, workload: str, space: dict[str, Any]) -> dict[str, Any]:
    """Return the records of all other workloads' studies, as syne-tune takes them."""
    from syne_tune.optimizer.schedulers.transfer_learning.transfer_learning_task_evaluation import (
        TransferLearningTaskEvaluations,
    )

    found = {}
    for name in bench.tasks:
        if name == workload:
            continue
        log = read_study(bench.earlier(name))
        rows = np.flatnonzero(log.is_feasible)
        columns = [log.space.names.index(parameter) for parameter in space]
        designs = pd.DataFrame(log.records.indices[rows][:, columns], columns=list(space))
        losses = -log.records.reward[rows].reshape(-1, 1, 1, 1)
        found[name] = TransferLearningTaskEvaluations(space, designs, [_LOSS], losses)
    return found


def scheduler(kind: str, space: dict[str, Any], records: dict[str, Any], seed: int) -> Any:
    """Return a scheduler of syne-tune."""
    from syne_tune.optimizer.baselines import TPE
    from syne_tune.optimizer.schedulers.single_objective_scheduler import SingleObjectiveScheduler
    from syne_tune.optimizer.schedulers.transfer_learning.bounding_box import BoundingBox
    from syne_tune.optimizer.schedulers.transfer_learning.quantile_based import (
        quantile_based_searcher as quantile,
    )

    if kind == "bounding box":
        return BoundingBox(
            lambda box, metric, minimise, number: TPE(
                box, metric=metric, do_minimize=minimise, random_seed=number
            ),
            space,
            metric=_LOSS,
            transfer_learning_evaluations=records,
            random_seed=seed,
        )
    searcher = quantile.QuantileBasedSurrogateSearcher(
        config_space=space, transfer_learning_evaluations=records, random_seed=seed
    )
    return SingleObjectiveScheduler(space, metric=_LOSS, searcher=searcher, random_seed=seed)


def search(bench: Bench, workload: str, kind: str, seed: int, budget: int) -> np.ndarray:
    """Return the best reward after each evaluation; a repeated design costs none."""
    from syne_tune.backend.trial_status import Trial

    np.random.seed(seed)  # noqa: NPY002 - syne-tune draws from it
    task = bench.tasks[workload]
    space = config_space(bench, workload)
    # It prints the box.
    with contextlib.redirect_stdout(io.StringIO()):
        asked = scheduler(kind, space, known(bench, workload, space), seed)
    columns = [task.space.names.index(name) for name in space]
    rewards: dict[bytes, float] = {}
    # A searcher that only repeats designs ends.
    for number in range(5 * budget):
        suggestion = asked.suggest()
        trial = Trial(trial_id=number, config=suggestion.config, creation_time=datetime.now())
        asked.on_trial_add(trial)
        design = task.space.default_indices.copy()
        design[columns] = [int(trial.config[name]) for name in space]
        design = task.space.canonical(design[None])
        key = design.tobytes()
        if key not in rewards:
            rewards[key] = float(task.evaluate(design).reward[0])
        asked.on_trial_complete(trial, {_LOSS: -rewards[key]})
        if len(rewards) == budget:
            break
    curve = np.maximum.accumulate(list(rewards.values()))
    return np.concatenate([curve, np.full(budget - len(curve), curve[-1])])


def main(arguments: Sequence[str] | None = None) -> None:
    """Append a row for each run that the file lacks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=60)
    given = parser.parse_args(arguments)
    done = set()
    if given.file.exists():
        with given.file.open() as handle:
            done = {(r["workload"], r["kind"], r["seed"]) for r in csv.DictReader(handle)}
    with TemporaryDirectory() as name:
        bench = shipped(Path(name))
        for seed in range(given.seeds):
            for workload in SHIPPED:
                for kind in PEERS:
                    if (workload, kind, str(seed)) not in done:
                        curve = search(bench, workload, kind, seed, given.budget)
                        write(given.file, workload, kind, seed, "", curve)
            print(f"{time.process_time():.0f} s of CPU, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
