"""Results of a study by design."""

import numpy as np

from archgym.evaluation.task import Evaluation, Task
from archgym.evaluation.trials import Trials
from archgym.studies.snapshot import StudyLog


class Known:
    """Results of a study by canonical design."""

    def __init__(self, task: Task, log: StudyLog) -> None:
        """Take the results of a study of this task."""
        self._task = task
        records = log.records.rows(log.is_evaluation)
        self._records = records
        canonical = task.space.canonical(records.indices) if len(records) else records.indices
        self._rows = {row.tobytes(): n for n, row in enumerate(np.ascontiguousarray(canonical))}

    def missing(self, designs: np.ndarray) -> np.ndarray:
        """Return canonical designs without a result, each once, (k, n_parameters)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        fresh = {row.tobytes(): row for row in np.ascontiguousarray(canonical)}
        rows = [row for key, row in fresh.items() if key not in self._rows]
        return np.array(rows, dtype=np.int64).reshape(-1, canonical.shape[1])

    def running_count(self, designs: np.ndarray) -> np.ndarray:
        """Return the number of designs without a result up to each one, (k,)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        keys = [row.tobytes() for row in np.ascontiguousarray(canonical)]
        seen = set(self._rows)
        is_new = []
        for key in keys:
            is_new.append(key not in seen)
            seen.add(key)
        return np.cumsum(is_new)

    def trials(self, designs: np.ndarray) -> Trials:
        """Return the results of designs, all of which are known."""
        canonical = np.ascontiguousarray(self._task.space.canonical(designs))
        rows = np.array([self._rows[row.tobytes()] for row in canonical])
        records = self._records.rows(rows)
        found = Evaluation(records.values, records.reason, records.reward)
        return self._task.trials(designs, found, np.zeros(len(rows), dtype=bool))
