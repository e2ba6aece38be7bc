"""Start designs and records of earlier studies: resolved, stored next to a study, read again."""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.agent.agent import Prior
from archgym.analysis.statistics import normal_scores
from archgym.checks import check_path
from archgym.errors import FileFormatError, InvalidArgumentError, InvalidDesignError
from archgym.evaluation.simulator import FEASIBLE
from archgym.evaluation.trials import Trials
from archgym.files.archive import read_archive, write_archive
from archgym.files.remote import local_copy
from archgym.runtime.reductions import report_loss
from archgym.spaces.parameter import Parameter
from archgym.spaces.space import DesignSpace
from archgym.studies.metadata import PriorSource
from archgym.studies.snapshot import StudyLog, read_study
from archgym.tasks.task import Task
from archgym.tasks.tool_files import design_of_files, states_design

logger = logging.getLogger(__name__)

PRIOR_NAME = "prior.npz"
"""Records of earlier studies that the agent may learn from."""
_DESCRIPTION = "prior.json"
_RESTORE = "Restore it from a copy, or start a new study"

StudySource = str | Path | StudyLog
"""A study's folder, or the study as it was read."""


@final
class StoredPrior:
    """Records of earlier studies in the space of a task, as they are stored."""

    def __init__(
        self,
        sources: Sequence[PriorSource],
        indices: np.ndarray,
        scores: np.ndarray,
        terms: np.ndarray,
    ) -> None:
        """Take records, best first."""
        self.sources = tuple(sources)
        self._indices = np.ascontiguousarray(indices, dtype=np.int64)
        self._scores = np.ascontiguousarray(scores, dtype=np.float64)
        self._terms = np.ascontiguousarray(terms, dtype=np.float64)

    @property
    def digest(self) -> str:
        """SHA-256 of the records."""
        found = hashlib.sha256()
        for array in (self._indices, self._scores, self._terms):
            found.update(repr(array.shape).encode() + array.tobytes())
        return found.hexdigest()

    def prior(self, start: Trials | None) -> Prior:
        """Return the prior for an agent: start designs with results, and earlier records."""
        return Prior(start, self._indices, self._scores, self._terms)

    def write(self, folder: Path) -> None:
        """Write the records into a study's folder.

        Raises:
          StorageError: They cannot be written.
        """
        arrays = {"indices": self._indices, "scores": self._scores, "terms": self._terms}
        write_archive(folder / PRIOR_NAME, _DESCRIPTION, {"format": 1}, arrays)

    @classmethod
    def none(cls, task: Task) -> "StoredPrior":
        """Return no records."""
        n = task.space.n_parameters, len(task.objective.terms)
        return cls((), np.empty((0, n[0])), np.empty(0), np.empty((0, n[1])))

    @classmethod
    def read(
        cls, folder: Path, task: Task, sources: Sequence[PriorSource], digest: str
    ) -> "StoredPrior":
        """Return the records that `write` wrote, which must be those that the study names.

        Raises:
          FileFormatError: They are missing, damaged or others.
          StorageError: They cannot be read.
        """
        path = folder / PRIOR_NAME
        if not path.is_file():
            raise FileFormatError(
                path, None, "the study starts from these records, and they are missing", _RESTORE
            )
        _, arrays, _ = read_archive(path, _DESCRIPTION, "records of earlier studies", _RESTORE)
        if set(arrays) != {"indices", "scores", "terms"}:
            raise FileFormatError(path, None, "it holds other arrays than expected", _RESTORE)
        found = cls(sources, arrays["indices"], arrays["scores"], arrays["terms"])
        if found.digest != digest:
            raise FileFormatError(
                path, None, "does not match the digest in study.json: it was changed", _RESTORE
            )
        task.space.check_indices(found._indices)
        return found

    @classmethod
    def of(cls, task: Task, studies: Iterable[StudySource]) -> "StoredPrior":
        """Return the records of earlier studies in the space of a task.

        Parameters are matched by name and values by value. Records with values that the space does
        not have are left out, as are failed evaluations.

        Raises:
          InvalidArgumentError: A study lacks a parameter of the space or a metric of the objective,
            comes twice, or has no record that fits.
          FileFormatError: A folder is not a study.
        """
        logs = [_log(study) for study in studies]
        if len({log.header.id for log in logs}) != len(logs):
            raise InvalidArgumentError("Each study of `warm_start` must come once; one came twice.")
        parts = [best_first(task, log) for log in logs]
        sources = [
            PriorSource(
                study=log.header.id,
                folder=log.folder.absolute().name,
                task=log.task_id,
                records=len(scores),
            )
            for log, (_, scores, _) in zip(logs, parts, strict=True)
        ]
        indices, scores, terms = (
            np.concatenate([part[column] for part in parts]) for column in range(3)
        )
        order = np.argsort(-scores, kind="stable")
        _, first = np.unique(indices[order], axis=0, return_index=True)
        order = order[np.sort(first)]
        return cls(sources, indices[order], scores[order], terms[order])


def start_designs(task: Task, start: Iterable[Any]) -> np.ndarray:
    """Return the designs to evaluate first, (k, n_parameters) canonical indices, each once.

    Args:
      task: The study's.
      start: Designs, "default" for the default design, studies whose best designs are meant, or
        files of tools.

    Raises:
      InvalidDesignError: A design does not lie in the space.
      InvalidArgumentError: A study has no design that fits.
    """
    rows = [_start_design(task, entry) for entry in start]
    if not rows:
        return np.empty((0, task.space.n_parameters), dtype=np.int64)
    canonical = task.space.canonical(np.array(rows, dtype=np.int64))
    _, first = np.unique(canonical, axis=0, return_index=True)
    return np.asarray(canonical[np.sort(first)])


def _start_design(task: Task, entry: Any) -> np.ndarray:
    space = task.space
    if isinstance(entry, str) and entry == "default":
        return space.default_indices
    if isinstance(entry, Mapping):
        return filled_indices(space, entry, "start")
    if not isinstance(entry, str | Path | StudyLog):
        raise InvalidArgumentError(
            '`start` takes designs, "default", folders of studies and files of tools; got '
            f"{entry!r}. A design is a mapping of parameters to values."
        )
    if isinstance(entry, str | Path) and states_design(local_copy(entry)):
        found = design_of_files(task, local_copy(entry))
        for line in found.notes:
            report_loss(f"start: {entry}: {line}")
        return space.indices_of(found.design)
    log = _log(entry)
    indices, _, _ = best_first(task, log)
    return np.asarray(indices[0])


def filled_indices(space: DesignSpace, design: Mapping[str, Any], subject: str) -> np.ndarray:
    """Return indices of a design, and report parameters of argument `subject` at their defaults.

    Raises:
      InvalidDesignError: A name or value is not in the space.
    """
    filled = space.filled(design)
    if n := len(filled) - len(design):
        report_loss(
            f"{subject}: a design gives {len(design)} of {len(filled)} parameters; the other {n} "
            "have the default design's values."
        )
    return space.indices_of(filled)


def _log(of: StudySource) -> StudyLog:
    return of if isinstance(of, StudyLog) else read_study(str(check_path("warm_start", of)))


def best_first(task: Task, log: StudyLog) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return indices in the task's space, normal scores and terms of a study, best first."""
    theirs = log.header.task["simulator"]
    if theirs != task.simulator.name:
        _require_same_parameters(task, log, theirs)
    known = {spec.name for spec in log.metrics}
    objective = task.objective
    missing = [name for name in objective.metrics if name not in known]
    if missing:
        raise InvalidArgumentError(
            f"{log.folder} must have the metrics that the objective needs; "
            f"{', '.join(f'`{name}`' for name in missing)} missing."
        )
    if (damage := log.damage_report()) is not None:
        logger.warning("%s", damage)
    rows = np.flatnonzero(log.is_evaluation & ~log.is_failed)
    indices, fits = _mapped(task.space, log, log.records.indices[rows])
    rows = rows[fits]
    if not len(rows):
        raise InvalidArgumentError(
            f"{log.folder} must have evaluations of designs in space {task.space.name!r}; all "
            f"{len(fits)} have values that this space lacks."
            if len(fits)
            else f"{log.folder} must have evaluations that did not fail; it has none."
        )
    if not fits.all():
        report_loss(
            f"{log.folder}: {int((~fits).sum())} of {len(fits)} evaluations have values that space "
            f"{task.space.name!r} does not have, and are left out."
        )
    arguments = (
        log.records.values[rows],
        log.records.reason[rows],
        log.reference,
        log.metrics,
        log.weights,
    )
    reward = objective.rewards(*arguments)
    terms = objective.weighted_terms(*arguments)
    order = np.lexsort((~(log.records.reason[rows] == FEASIBLE).all(axis=1), -reward))
    scores = normal_scores(reward)
    return task.space.canonical(indices[fits])[order], scores[order], terms[order]


def _require_same_parameters(task: Task, log: StudyLog, theirs: str) -> None:
    """Refuse a study of another simulator, unless its space has the same parameters."""
    missing = [name for name in task.space.names if name not in log.space.names]
    if missing:
        lacking = ", ".join(f"`{name}`" for name in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise InvalidArgumentError(
            f"{log.folder} is a study of simulator {theirs!r} (task {log.task_id}), whose designs "
            f"lack {lacking}{more}. This task needs designs of {task.simulator.name!r}."
        )


def _mapped(
    space: DesignSpace, log: StudyLog, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return indices in a space, (n, n_parameters), and True for each row whose values it has."""
    if log.space.digest == space.digest:
        return indices, np.ones(len(indices), dtype=bool)
    theirs = {parameter.name: place for place, parameter in enumerate(log.space.parameters)}
    missing = [name for name in space.names if name not in theirs]
    if missing:
        extra = [name for name in theirs if name not in space.names]
        also = f" It has {', '.join(f'`{n}`' for n in extra)} instead." if extra else ""
        raise InvalidArgumentError(
            f"{log.folder} must have every parameter of space {space.name!r} to start from; "
            f"{', '.join(f'`{name}`' for name in missing)} missing.{also}"
        )
    mapped = np.zeros((len(indices), space.n_parameters), dtype=np.int64)
    fits = np.ones(len(indices), dtype=bool)
    for column, parameter in enumerate(space.parameters):
        place = theirs[parameter.name]
        table = _translation(log.space.parameters[place], parameter, indices[:, place])
        values = np.array([table[index] for index in indices[:, place].tolist()], dtype=np.int64)
        fits &= values >= 0
        mapped[:, column] = np.maximum(values, 0)
    return mapped, fits


def _translation(theirs: Parameter, ours: Parameter, used: np.ndarray) -> dict[int, int]:
    """Return our index by theirs, -1 for values that our parameter does not have."""
    table = {}
    for index in np.unique(used).tolist():
        try:
            table[index] = ours.index(theirs.value(index))
        except InvalidDesignError:
            table[index] = -1
    return table
