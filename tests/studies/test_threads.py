"""Threads that evaluate in one study: no ask is lost and no line of the journal is damaged."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from archgym.agent.agent import Agent
from archgym.evaluation.trials import Evaluate, Trials
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import read_study
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import toy_task

THREADS, CALLS = 8, 20


def in_threads(call: Callable[[int], Trials]) -> list[Trials]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(THREADS * CALLS)))


def test_eight_threads_that_evaluate_in_a_log_lose_no_ask(tmp_path: Path) -> None:
    task = toy_task(pace_s=0.0005)
    with Study.log(tmp_path / "log", task) as study:
        trials = in_threads(
            lambda seed: study.evaluate(task.space.sample(3, np.random.default_rng(seed)))
        )

    log = read_study(tmp_path / "log")
    assert not log.damage
    assert log.records.seq.tolist() == list(range(3 * THREADS * CALLS))
    for seed, trial in enumerate(trials):
        asked = task.space.sample(3, np.random.default_rng(seed))
        np.testing.assert_array_equal(trial.reward, task.evaluate(asked).reward)


@final
class ThreadedAgent(Agent):
    """Asks from eight threads at once, as a library with `n_jobs` does."""

    name = "threaded"
    replayable = False
    hyperparameters: ClassVar[tuple[Parameter, ...]] = ()

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        self._space = space

    def search(self, evaluate: Evaluate, task: Task) -> None:
        """Ask for the same number of designs in each thread."""
        in_threads(lambda seed: evaluate(self._space.sample(1, np.random.default_rng(seed))))


def test_agent_that_asks_from_eight_threads_loses_no_ask(tmp_path: Path) -> None:
    task = toy_task(pace_s=0.0005)

    Study.create(tmp_path / "study", task, ThreadedAgent, budget=1000).run()

    log = read_study(tmp_path / "study")
    assert not log.damage
    assert log.records.seq.tolist() == list(range(THREADS * CALLS))
