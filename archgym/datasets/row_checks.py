"""Checks of rows against the studies, tasks and declarations in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archgym.datasets.columns import coded, decoded_ids, decoded_indices, numbers, whole_numbers
from archgym.datasets.ids import DesignIds
from archgym.datasets.integrity import Findings
from archgym.datasets.metadata import About, task_workloads
from archgym.datasets.stored import StoredDataset
from archgym.errors import FileFormatError
from archgym.evaluation.specification import Declaration

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_SEED = 2**64


def of_own_workload(batch: "pa.RecordBatch", task: Mapping[str, Any]) -> np.ndarray:
    """Return True for rows of a task on one of its workloads, (n,) bool."""
    labels, names = coded(batch, "workload")
    own = {label for label, _ in task_workloads(task)}
    return np.asarray(np.array([*(name in own for name in names), False])[labels])


def check_studies(
    path: Path, batch: "pa.RecordBatch", about: About, findings: Findings, first: int
) -> None:
    """Report rows whose facts about their study differ from the metadata."""
    studies: dict[str, list[Mapping[str, Any]]] = {}
    for study in about.studies:
        studies.setdefault(str(study["id"]), []).append(study)
    codes, ids = coded(batch, "study_id")
    known = np.array([*(study in studies for study in ids), False])[codes]
    findings.report("rows of no known study", ~known, path.name, first)
    for code in np.unique(codes[known]).tolist():
        is_of_study = codes == code
        # A study that several agents or sessions ran has an entry for each.
        best: dict[str, np.ndarray] = {}
        fewest = np.full(batch.num_rows, np.iinfo(np.int64).max)
        for study in studies[ids[code]]:
            wrong = _unlike(batch, study)
            n_wrong = np.sum(list(wrong.values()), axis=0)
            for name, rows in wrong.items():
                best[name] = np.where(n_wrong < fewest, rows, best.get(name, rows))
            fewest = np.minimum(fewest, n_wrong)
        for name, rows in best.items():
            kind = f"rows with another `{name}` than their study"
            findings.report(kind, rows & is_of_study, path.name, first)


def _unlike(batch: "pa.RecordBatch", study: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return rows that differ from what the metadata say of a study, by column."""
    texts = {
        "study": study["folder"],
        "agent": study.get("agent"),
        "hyperparameters": json.dumps(study.get("hyperparameters"), sort_keys=True),
        "task_digest": study["task_digest"],
    }
    wrong = {name: ~_says(batch, name, text) for name, text in texts.items()}
    column, seed = batch.column("seed"), study.get("seed")
    if type(seed) is int and 0 <= seed < _MAX_SEED:
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        wrong["seed"] = (values != np.uint64(seed)) | _is_given(batch, "seed", False)
    else:
        wrong["seed"] = _is_given(batch, "seed", True)
    return wrong


def _says(batch: "pa.RecordBatch", name: str, text: str | None) -> np.ndarray:
    """Return True where a column of repeating texts has this text; None is null."""
    codes, texts = coded(batch, name)
    absent = -1 if text is None else -2
    return np.asarray(codes == (texts.index(text) if text in texts else absent))


def _is_given(batch: "pa.RecordBatch", name: str, given: bool = True) -> np.ndarray:
    """Return True where a column is not null."""
    valid: np.ndarray = batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    return valid if given else ~valid


def check_task_rows(
    path: Path,
    batch: "pa.RecordBatch",
    task: Mapping[str, Any],
    ids: DesignIds,
    stored: StoredDataset,
    findings: Findings,
) -> None:
    """Report what is wrong with rows of one task.

    Args:
      ids: Numbers the designs of its space.
    """
    place = path.name
    declaration = stored.about.declaration_of(task)
    _check_task(path, batch, task, findings)
    _check_absent(path, batch, declaration, stored, findings)
    wrong = ~of_own_workload(batch, task)
    findings.report("rows of no workload of their task", wrong, place)
    _check_results(path, batch, declaration, findings)
    try:
        indices = decoded_indices(path, batch, declaration.space, stored.columns)
    except FileFormatError as error:
        findings.add("columns of parameters with values outside the space", str(error))
        return
    wrong = decoded_ids(path, batch) != ids.of(indices)
    findings.report("rows whose `design` is not that of their parameters", wrong, place)


def _check_task(
    path: Path, batch: "pa.RecordBatch", task: Mapping[str, Any], findings: Findings
) -> None:
    texts = {
        "task": task["id"],
        "simulator": task["simulator"],
        "options": json.dumps(task["options"], sort_keys=True),
        "fidelity": task["fidelity"],
        "space": task["space_name"],
    }
    wrong = {name: ~_says(batch, name, text) for name, text in texts.items()}
    version = whole_numbers(path, batch, "simulator_version")
    wrong["simulator_version"] = version != task["version"]
    for name, rows in wrong.items():
        findings.report(f"rows with another `{name}` than their task", rows, path.name)


def _check_absent(
    path: Path,
    batch: "pa.RecordBatch",
    declaration: Declaration,
    stored: StoredDataset,
    findings: Findings,
) -> None:
    """Report values of parameters and metrics that only other tasks of the dataset have."""
    own = {stored.columns.of_parameter[p.name] for p in declaration.space.parameters}
    own |= {spec.name for spec in declaration.metrics}
    for name in (*stored.columns.of_parameter.values(), *stored.columns.metrics):
        if name not in own:
            wrong = _is_given(batch, name)
            findings.report(f"rows with a `{name}`, which their task has not", wrong, path.name)


def _check_results(
    path: Path, batch: "pa.RecordBatch", declaration: Declaration, findings: Findings
) -> None:
    place = path.name
    feasible = whole_numbers(path, batch, "feasible")
    broke = _is_given(batch, "error")
    findings.report("feasible rows with an error", feasible & broke, place)
    reasons, texts = coded(batch, "reason")
    is_listed = np.array([*(text in declaration.reasons[1:] for text in texts), False])[reasons]
    wrong = np.where(feasible | broke, reasons >= 0, ~is_listed)
    findings.report("rows with a reason that does not fit", wrong, place)
    for spec in declaration.metrics:
        values = numbers(batch, spec.name)
        # Nothing at all stands where a design was not built.
        wrong = np.where(feasible, ~np.isfinite(values), _is_given(batch, spec.name))
        findings.report(f"rows with a number in `{spec.name}` that does not fit", wrong, place)
    findings.report("rows without a reward", ~np.isfinite(numbers(batch, "reward")), place)
