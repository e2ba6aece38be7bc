"""Studies as data frames: one row for each evaluation."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from archgym.studies.snapshot import StudyLog

__all__ = ["study_frame"]


def study_frame(log: "StudyLog", rows: np.ndarray | None = None) -> "pd.DataFrame":
    """Return evaluations as a data frame, by their number.

    Its columns are the parameters, the metrics (averaged over the workloads, and for several
    workloads also each as ``metric@workload``), `reward`, `feasible` (built, and all limits met)
    and `reason` (why it was not built, or how the simulator broke).

    Args:
      log: The study.
      rows: Rows of its records, in order; all evaluations by default.
    """
    import pandas as pd

    if rows is None:
        rows = np.flatnonzero(log.is_evaluation)
    records = log.records.rows(rows)
    columns: dict[str, object] = {}
    for place, parameter in enumerate(log.space.parameters):
        indices = records.indices[:, place].tolist()
        values = {index: parameter.value(index) for index in set(indices)}
        columns[parameter.name] = [values[index] for index in indices]
    average = np.einsum("nwm,w->nm", records.values, log.weights)
    for place, spec in enumerate(log.metrics):
        columns[spec.name] = average[:, place]
    if len(log.workloads) > 1:
        for number, workload in enumerate(log.workloads):
            for place, spec in enumerate(log.metrics):
                columns[f"{spec.name}@{workload}"] = records.values[:, number, place]
    columns["reward"] = records.reward
    columns["feasible"] = log.is_feasible[rows] & log.meets_limits[rows]
    columns["reason"] = [
        records.errors.get(seq) or next((log.reasons[r] for r in reason if r > 0), "")
        for seq, reason in zip(records.seq.tolist(), records.reason.tolist(), strict=True)
    ]
    return pd.DataFrame(columns, index=pd.Index(records.seq, name="seq"))
