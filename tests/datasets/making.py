"""Studies and datasets that tests of datasets share."""

from pathlib import Path
from typing import Any

from archgym.datasets import Split, build_dataset
from archgym.studies.study import Study, StudyLog
from archgym.tasks.task import Task
from tests.toys import ToyAgent, toy_task


def search(folder: Path, task: Task | None = None, seed: int = 1, budget: int = 30) -> StudyLog:
    """A finished study."""
    study = Study.create(folder, task or toy_task(), ToyAgent, seed=seed, budget=budget)
    return study.run().log


def mixture(folder: Path, split: Split | None = None, **options: Any) -> Path:
    """A dataset of studies of three tasks, 120 rows on two workloads."""
    tasks = [toy_task("light"), toy_task("heavy"), toy_task({"light": 1.0, "heavy": 2.0})]
    for seed, task in enumerate(tasks, start=1):
        search(folder / f"study-{seed}", task, seed)
    studies = [folder / f"study-{seed}" for seed in (1, 2, 3)]
    return build_dataset(studies, folder / "dataset", split=split, **options).path
