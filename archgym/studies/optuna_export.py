"""Studies as studies of Optuna, for optuna-dashboard and other tools that read its journals."""

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from archgym.errors import InvalidArgumentError, StorageError, error_text
from archgym.evaluation.metrics import MetricSpec
from archgym.spaces.parameter import Integer, Parameter, PowerOfTwo, Real
from archgym.studies.front import sought, study_objective
from archgym.studies.snapshot import StudyLog

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

# chosen: optuna's names of studies are indexed up to this length.
_MAX_NAME = 200


def export_optuna(log: StudyLog, file: str, name: str | None = None) -> int:
    """Write a study's evaluations as a new study in a file of Optuna's journal.

    Each metric of the objective becomes an objective there, in its own unit and direction; other
    metrics become user attributes. A term with a target becomes its reward, which is maximised.
    Limits become constraints. Designs that were not built are failed trials.

    Args:
      log: The study.
      file: File such as ``x.log``, new or with other studies. `optuna.copy_study` copies from it to
        a database.
      name: Name of the study in the file; by default that of the study's folder.

    Returns:
      The number of trials.

    Raises:
      InvalidArgumentError: The file has a study of this name, or another ending.
      StorageError: The file cannot be read or written.
    """
    import optuna
    from optuna.storages import JournalStorage

    if not file.endswith(".log") or "://" in file:
        raise InvalidArgumentError(
            f"Trials must go to a file of Optuna's journal, such as trials.log; got {file!r}. "
            "`optuna.copy_study` copies them from there to a database."
        )
    name = (name or log.folder.absolute().name)[:_MAX_NAME]
    specs = sought(log, study_objective(log))
    goals = _goals(log, specs)
    with _quiet(), _refusals(file):
        journal = _Journal(file)
        try:
            study = optuna.create_study(
                storage=JournalStorage(cast(Any, journal)),
                study_name=name,
                directions=["minimize" if goal == "minimise" else "maximize" for goal in goals],
            )
        except optuna.exceptions.DuplicatedStudyError:
            raise InvalidArgumentError(
                f"{file} has a study named {name!r} already. Choose another name or file."
            ) from None
        study.set_metric_names(
            [f"{s.name} [{s.unit}]" if s.unit else s.name for s in specs]
            if goals != ["reward"]
            else ["reward"]
        )
        for key, value in _attributes(log).items():
            study.set_user_attr(key, value)
        trials = _trials(log, specs, goals)
        study.add_trials(trials)
        journal.save()
    return len(trials)


def _goals(log: StudyLog, specs: Sequence[MetricSpec]) -> list[str]:
    """Return the goal of each metric; the reward alone where a term has another form."""
    terms = study_objective(log).terms
    goals = {term.metric: term.goal for term in terms}
    if len(goals) < len(terms) or not set(goals.values()) <= {"minimise", "maximise"}:
        return ["reward"]
    return [goals[spec.name] for spec in specs]


def _attributes(log: StudyLog) -> dict[str, Any]:
    return {
        "archgym_study": log.header.id,
        "task": log.task_id,
        "agent": log.header.agent,
        "seed": log.header.seed,
        "hyperparameters": dict(log.header.hyperparameters),
        "limits": [str(limit) for limit in log.limits],
    }


def _trials(
    log: StudyLog, specs: Sequence[MetricSpec], goals: Sequence[str]
) -> list["FrozenTrial"]:
    from optuna.trial import TrialState, create_trial

    rows = np.flatnonzero(log.is_evaluation)
    records = log.records.rows(rows)
    columns = [
        _Column(parameter, records.indices[:, place])
        for place, parameter in enumerate(log.space.parameters)
    ]
    distributions = {column.name: column.distribution for column in columns}
    names = [spec.name for spec in log.metrics]
    places = [names.index(spec.name) for spec in specs]
    average = np.einsum("nwm,w->nm", records.values, log.weights)
    excess = _excess(log, records.values)
    began = datetime.fromisoformat(log.header.created).replace(tzinfo=None)
    trials = []
    for row, source in enumerate(rows.tolist()):
        reward = float(records.reward[row])
        attributes: dict[str, Any] = {"seq": int(records.seq[row]), "reward": reward}
        result: dict[str, Any]
        if log.is_feasible[source]:
            attributes |= dict(zip(names, average[row].tolist(), strict=True))
            values = [reward] if goals == ["reward"] else average[row, places].tolist()
            result = {"state": TrialState.COMPLETE, "values": values}
            if excess:
                result["constraints"] = {
                    text: float(column[row]) for text, column in excess.items()
                }
        else:
            attributes["reason"] = _reason(log, source)
            result = {"state": TrialState.FAIL}
        trial = create_trial(
            params={column.name: column.values[row] for column in columns},
            distributions=distributions,
            user_attrs=attributes,
            **result,
        )
        trial.datetime_start = trial.datetime_complete = began
        trials.append(trial)
    return trials


def _excess(log: StudyLog, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return by limit how far designs exceed it on the worst workload, at most 0 if it is met."""
    names = [spec.name for spec in log.metrics]
    found = {}
    for limit in log.limits:
        column = values[:, :, names.index(limit.metric)]
        over = column - limit.bound if limit.sign == "<=" else limit.bound - column
        found[str(limit)] = over.max(axis=1)
    return found


def _reason(log: StudyLog, row: int) -> str:
    error = log.records.errors.get(int(log.records.seq[row]))
    reasons = [log.reasons[reason] for reason in log.records.reason[row].tolist() if reason > 0]
    return error or (reasons[0] if reasons else "")


class _Column:
    """Values of one parameter, and the distribution that holds all of them."""

    def __init__(self, parameter: Parameter, indices: np.ndarray) -> None:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        self.name = parameter.name
        self.distribution: BaseDistribution
        lookup = {index: parameter.value(index) for index in np.unique(indices).tolist()}
        if isinstance(parameter, Integer):
            high = parameter.low + parameter.step * (parameter.size - 1)
            self.distribution = IntDistribution(parameter.low, high, step=parameter.step)
        elif isinstance(parameter, PowerOfTwo):
            self.distribution = IntDistribution(parameter.low, parameter.high, log=True)
        elif isinstance(parameter, Real):
            self.distribution = FloatDistribution(parameter.low, parameter.high)
        else:
            listed = parameter.kind in ("categorical", "ordinal")
            known = range(parameter.size) if listed else sorted(lookup)
            choices = [_plain(parameter.value(index)) for index in known]
            lookup = {index: _plain(value) for index, value in lookup.items()}
            self.distribution = CategoricalDistribution(choices)
        self.values: list[Any] = [lookup[index] for index in indices.tolist()]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else json.dumps(value)


class _Journal:
    """Backend of Optuna's journal that writes its file once: a write for each trial takes 5 ms."""

    def __init__(self, path: str) -> None:
        from optuna.storages.journal import JournalFileBackend

        self._path = Path(path)
        self._is_new = not os.path.lexists(path)
        self._file = JournalFileBackend(path)
        self._logs: list[dict[str, Any]] = list(self._file.read_logs(0))
        self._n_saved = len(self._logs)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Return entries from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Keep entries."""
        # As they would be read from the file.
        self._logs += json.loads(json.dumps(logs))

    def save(self) -> None:
        """Write the new entries to the file; on failure it is as it was."""
        size = self._path.stat().st_size
        try:
            self._file.append_logs(self._logs[self._n_saved :])
        except BaseException:
            with suppress(OSError):
                if self._is_new:
                    self._path.unlink()
                else:
                    os.truncate(self._path, size)
            raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from logging each study, and from warning of names of metrics."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _refusals(file: str) -> Iterator[None]:
    """Turn what Optuna says of a file into one line."""
    try:
        yield
    except (ImportError, ValueError, OSError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise StorageError(
            f"{file!r} must be a file of Optuna's journal that can be written; "
            f"{error_text(error).splitlines()[0][:200]}"
        ) from None
