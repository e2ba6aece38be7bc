"""Verification of a study: its records against the simulator."""

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.evaluation.isolation import evaluate_isolated
from archgym.evaluation.simulator import FAILED
from archgym.evaluation.task import Task
from archgym.studies.snapshot import StudyLog

_BATCH = 1024


def verify_study(log: StudyLog, task: Task) -> tuple[int, ...]:
    """Return numbers of the records whose results are not what the simulator gives.

    Checksums in the journal find damage; they do not stop somebody who computes them again. This
    check does: simulators are deterministic, so every metric must be equal to the last bit.

    Args:
      log: The study.
      task: Its task.

    Raises:
      InvalidArgumentError: The task is another one.
    """
    if task.digest != log.header.task["digest"]:
        raise InvalidArgumentError(f"The task must be that of {log.folder}; got {task.id!r}.")
    task = task.as_recorded(log.header.task["metrics"])
    rows = np.flatnonzero(log.is_evaluation)
    differing: list[int] = []
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        records = log.records
        found = evaluate_isolated(task, records.indices[part])
        is_same = (
            np.array_equal(a, b, equal_nan=True)
            for a, b in zip(found.values, records.values[part], strict=True)
        )
        same = np.fromiter(is_same, dtype=bool, count=len(part))
        same &= (found.reason == records.reason[part]).all(axis=1)
        same &= found.reward == records.reward[part]
        same &= (found.reason == FAILED).any(axis=1) == log.is_failed[part]
        differing += records.seq[part][~same].tolist()
    return tuple(differing)
