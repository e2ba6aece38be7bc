"""Searches of a toy task that tests of studies share."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from archgym.agent.agent import Agent
from archgym.evaluation.trials import Evaluate
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import StudyResult
from archgym.studies.study import Study
from archgym.tasks.task import Task
from tests.toys import ToyAgent, toy_task

TWO: dict[str, float] = {"light": 2.0, "heavy": 1.0}


def search(folder: Path, budget: int, task: Task | None = None, **options: Any) -> StudyResult:
    task = task or toy_task(TWO)
    return Study.create(folder, task, ToyAgent, seed=1, budget=budget, **options).run()


def resume(folder: Path, budget: int | None = None, task: Task | None = None) -> StudyResult:
    return Study.open(folder, task or toy_task(TWO), ToyAgent).run(budget=budget)


def journal(folder: Path) -> bytes:
    return (folder / "journal.jsonl").read_bytes()


class ListAgent(Agent):
    """Asks for what the test lists."""

    name = "list"
    batches: ClassVar[list[list[list[int]]]] = []

    def __init__(self, space: DesignSpace, *, seed: int) -> None:
        pass

    def search(self, evaluate: Evaluate, task: Task) -> None:
        for batch in self.batches:
            evaluate(np.array(batch))
