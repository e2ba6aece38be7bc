"""A task of the benchmark, searched by the runners of other libraries.

    python experiments/plug_ins.py [TASK [BUDGET]]

Needs openenv, ioh, optunahub, syne-tune, carps and minari; a library that is missing is named.
Every runner is the library's own: `ioh.Experiment` with its logger, `study.optimize` of Optuna on
the problem of OptunaHub, the `Tuner` of Syne Tune, `Optimizer.run` of carps, the client of OpenEnv,
and `minari.load_dataset`. Each row has the best reward by the library, and that of the same design
here. Which designs Syne Tune and carps draw may differ from run to run.
"""

import contextlib
import logging
import os
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from archgym.bench import (
    bench_task,
    carps_objective,
    ioh_problem,
    optunahub_problem,
    syne_tune_blackbox,
)
from archgym.tasks.task import Task

Found = tuple[float, list[int], int]
"""Best reward by the library, its design, and the evaluations."""
SEED = 1


def by_ioh(task: Task, budget: int) -> Found:
    """Run random search by an experiment of IOHexperimenter, which writes its own log."""
    import ioh

    name = "archgym-task"
    ioh_problem(task, name)
    sizes = task.space.sizes
    asked = np.random.default_rng(SEED).integers(0, sizes, (budget, len(sizes)))
    found: list[Found] = []

    def random(problem: Any) -> None:
        for design in asked:
            problem(design.tolist())
        best = problem.state.current_best
        found.append((float(best.y), [int(v) for v in best.x], int(problem.state.evaluations)))

    with tempfile.TemporaryDirectory() as folder:
        number = ioh.get_problem_id(name, ioh.ProblemClass.INTEGER)
        ioh.Experiment(
            random, [number], [1], [len(sizes)], problem_class=ioh.ProblemClass.INTEGER,
            output_directory=folder, algorithm_name="random", zip_output=False,
        ).run()  # fmt: skip
        if not list(Path(folder).rglob("IOHprofiler*.json")):
            raise RuntimeError("IOHexperimenter has written no log.")
    return found[0]


def by_optunahub(task: Task, budget: int) -> Found:
    """Let Optuna optimise the problem of OptunaHub."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = optunahub_problem(task)
    sampler = optuna.samplers.TPESampler(seed=SEED)
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.optimize(problem, n_trials=budget)
    # The best trial of Optuna is one that meets the limits, and there may be none.
    best = max(study.trials, key=lambda trial: float(trial.values[0]))
    design = [int(best.params[name]) for name in task.space.names]
    return float(best.values[0]), design, len(study.trials)


def by_syne_tune(task: Task, budget: int) -> Found:
    """Let the tuner of Syne Tune run its random search with four workers, in simulated time."""
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.blackbox_repository import UserBlackboxBackend
    from syne_tune.optimizer.baselines import RandomSearch

    blackbox = syne_tune_blackbox(task)
    search = RandomSearch(blackbox.configuration_space, metrics=["loss"], random_seed=SEED)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SYNETUNE_FOLDER"] = folder
        tuner = Tuner(
            trial_backend=UserBlackboxBackend(blackbox, elapsed_time_attr="elapsed_s"),
            scheduler=search,
            stop_criterion=StoppingCriterion(max_num_trials_completed=budget),
            n_workers=4,
            sleep_time=0,
            callbacks=[SimulatorCallback()],
            save_tuner=False,
        )
        tuner.run()
    # Trials that still ran in the end have no loss.
    rows = [row for row in tuner.tuning_status.trial_rows.values() if "loss" in row]
    best = min(rows, key=lambda row: row["loss"])
    return -float(best["loss"]), [int(best[name]) for name in task.space.names], len(rows)


def by_carps(task: Task, budget: int) -> Found:
    """Let the optimizer of carps run on the task."""
    from carps.optimizers.random_search import RandomSearchOptimizer
    from carps.utils.task import InputSpace, OptimizationResources, OutputSpace, TaskMetadata
    from carps.utils.task import Task as CarpsTask

    objective = carps_objective(task)
    space = objective.configspace
    space.seed(SEED)
    wrapped = CarpsTask(
        name="archgym",
        objective_function=objective,
        input_space=InputSpace(space),
        output_space=OutputSpace(),
        optimization_resources=OptimizationResources(n_trials=budget),
        metadata=TaskMetadata(),
        seed=SEED,
    )
    optimizer = RandomSearchOptimizer(wrapped)
    optimizer.setup_optimizer()
    incumbent: Any = optimizer.run()
    trial, value = incumbent
    design = [int(trial.config[name]) for name in task.space.names]
    return -float(value.cost), design, len(optimizer.history)


def by_openenv(task: Task, budget: int) -> Found:
    """Search by OpenEnv's client against its server."""
    import uvicorn
    from openenv.core import GenericEnvClient

    from archgym.envs.openenv import make_app

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    designs = task.space.sample(budget, np.random.default_rng(SEED))
    best, best_design = -np.inf, designs[0]
    with GenericEnvClient(base_url=address).sync() as client:
        client.reset(task=LABEL, budget=budget)
        for design in designs:
            step = client.step({"message": {"indices": design.tolist()}})
            reward = step.observation["content"]["reward"]
            if reward > best:
                best, best_design = reward, design
    server.should_exit = True
    thread.join(10)
    return best, best_design.tolist(), budget


def by_minari(task: Task, budget: int) -> Found:
    """Read random designs, an episode each, as a dataset of Minari."""
    import minari

    from archgym.envs import DesignEnv, record_minari

    designs = iter(task.space.sample(budget, np.random.default_rng(SEED)))

    def act(env: DesignEnv, seen: np.ndarray) -> np.ndarray:
        return next(designs)

    with tempfile.TemporaryDirectory() as folder:
        written = record_minari(
            DesignEnv(task), act, budget, folder, id="archgym/task-v0", algorithm="random"
        )
        os.environ["MINARI_DATASETS_PATH"] = folder
        episodes = list(minari.load_dataset(written.id).iterate_episodes())
    best = max(episodes, key=lambda episode: float(episode.rewards[0]))
    return float(best.rewards[0]), best.actions[0].tolist(), len(episodes)


RUNNERS: dict[str, Callable[[Task, int], Found]] = {
    "ioh": by_ioh,
    "optunahub": by_optunahub,
    "syne-tune": by_syne_tune,
    "carps": by_carps,
    "openenv": by_openenv,
    "minari": by_minari,
}


def main(budget: int) -> int:
    """Print the table; return 1 if a reward differs."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    task = bench_task(LABEL).plan.make()
    print("| library | evaluations | best reward there | here |\n|---|---|---|---|")
    faults = 0
    for name, runner in RUNNERS.items():
        try:
            with (
                Path(os.devnull).open("w") as quiet,
                contextlib.redirect_stderr(quiet),
                contextlib.redirect_stdout(quiet),
            ):
                reward, design, n = runner(task, budget)
        except ImportError as error:
            print(f"| {name} | not run: {error} | | |")
            continue
        here = float(task.evaluate(np.array([design], dtype=np.int64)).reward[0])
        faults += reward != here
        print(f"| {name} | {n} | {reward!r} | {here!r} |", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    LABEL = sys.argv[1] if len(sys.argv) > 1 else "soc-small-edp"
    sys.exit(main(int(sys.argv[2]) if len(sys.argv) > 2 else 20))
