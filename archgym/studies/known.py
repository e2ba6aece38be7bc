"""Results of a study by design."""

import numpy as np

from archgym.evaluation.task import Evaluation, Task
from archgym.evaluation.trials import Trials
from archgym.spaces.space import design_keys
from archgym.studies.snapshot import StudyLog


class Known:
    """Results of a study by canonical design."""

    def __init__(self, task: Task, log: StudyLog) -> None:
        """Take the results of a study of this task."""
        self._task = task
        records = log.records.rows(log.is_evaluation)
        self._records = records
        canonical = task.space.canonical(records.indices) if len(records) else records.indices
        self._rows = {key: n for n, key in enumerate(design_keys(canonical))}

    def missing(self, designs: np.ndarray) -> np.ndarray:
        """Return canonical designs without a result, each once, (k, n_parameters)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        fresh = dict(zip(design_keys(canonical), canonical, strict=True))
        rows = [row for key, row in fresh.items() if key not in self._rows]
        return np.array(rows, dtype=np.int64).reshape(-1, canonical.shape[1])

    def running_count(self, designs: np.ndarray) -> np.ndarray:
        """Return the number of designs without a result up to each one, (k,)."""
        canonical = self._task.space.canonical(np.asarray(designs, dtype=np.int64))
        _, first, which = np.unique(canonical, axis=0, return_index=True, return_inverse=True)
        is_first = first[which.ravel()] == np.arange(len(canonical))
        is_new = [key not in self._rows for key in design_keys(canonical)]
        return np.cumsum(is_first & is_new)

    def trials(self, designs: np.ndarray) -> Trials:
        """Return the results of designs, all of which are known."""
        canonical = self._task.space.canonical(designs)
        rows = np.array([self._rows[key] for key in design_keys(canonical)])
        records = self._records.rows(rows)
        found = Evaluation(records.values, records.reason, records.reward)
        return self._task.trials(designs, found, np.zeros(len(rows), dtype=bool))
