import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from archgym.errors import InvalidArgumentError, StorageError
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.task import Task
from archgym.spaces.parameter import Categorical, Integer, Ordinal, Permutation, Real
from archgym.studies.optuna_export import export_optuna
from archgym.studies.snapshot import StudyLog, read_study
from archgym.studies.study import Study
from tests.toys import ToySimulator, toy_task


def log_of(folder: Path, task: Task, budget: int = 60) -> StudyLog:
    return Study.create(folder, task, "random", seed=1, budget=budget).run().log


def file(tmp_path: Path) -> str:
    return str(tmp_path / "x.log")


def loaded(tmp_path: Path, name: str) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(file(tmp_path)))
    return optuna.load_study(study_name=name, storage=storage)


def test_exported_study_holds_every_evaluation(tmp_path: Path) -> None:
    task = Task.make(ToySimulator(), "light", "low-latency", subject_to="power_mw <= 16")
    log = log_of(tmp_path / "study", task)

    assert export_optuna(log, file(tmp_path)) == 60

    study = loaded(tmp_path, "study")
    best = log.best()
    assert best is not None
    assert study.direction.name == "MINIMIZE"
    assert study.metric_names == ["latency_ns [ns]"]
    assert study.user_attrs["task"] == log.task_id
    assert len(study.trials) == 60
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) == int(log.is_feasible.sum())
    # The best design of Optuna keeps the limits, as ours does.
    assert study.best_trial.params == dict(best.design)
    assert study.best_value == best.metrics["latency_ns"]
    failed = next(trial for trial in study.trials if trial.state == TrialState.FAIL)
    assert failed.user_attrs["reason"]


def test_objectives_become_objectives(tmp_path: Path) -> None:
    log = log_of(tmp_path / "study", toy_task())
    export_optuna(log, file(tmp_path), "named")

    study = loaded(tmp_path, "named")

    assert len(study.directions) == 2
    assert study.best_trials


def test_targets_export_the_reward(tmp_path: Path) -> None:
    log = log_of(tmp_path / "a", Task.make(ToySimulator(), "light", "target:latency_ns<=30"))
    export_optuna(log, file(tmp_path))

    study = loaded(tmp_path, "a")
    best = log.best()
    assert best is not None
    assert study.metric_names == ["reward"]
    assert study.best_value == best.reward


def test_every_kind_of_parameter_has_its_distribution(tmp_path: Path) -> None:
    space = [
        Integer(name="i", low=2, high=20, step=3),
        Ordinal(name="o", levels=(1, 2.5, 4)),
        Real(name="r", low=0.1, high=0.9, count=7),
        Categorical(name="c", choices=("a", "b")),
        Permutation(name="p", items=("x", "y", "z")),
    ]
    task = Task.make(
        FunctionSimulator(
            lambda d: {"loss": float(d["i"]), "m": d["r"]}, space, {"loss": "minimise", "m": "none"}
        ),
        subject_to="m <= 0.5",
    )
    log = log_of(tmp_path / "study", task, 12)

    export_optuna(log, file(tmp_path))

    trials = loaded(tmp_path, "study").trials
    assert len(trials) == 12
    for trial, row in zip(trials, log.records.indices.tolist(), strict=True):
        values = {p.name: p.value(row[n]) for n, p in enumerate(task.space.parameters)}
        assert trial.params == {**values, "p": json.dumps(values["p"])}
        assert {n: type(d).__name__.removesuffix("Distribution") for n, d in
                trial.distributions.items()} == {
            "i": "Int", "o": "Categorical", "r": "Float", "c": "Categorical", "p": "Categorical",
        }  # fmt: skip


def test_name_that_exists_is_refused(tmp_path: Path) -> None:
    log = log_of(tmp_path / "study", toy_task(), 3)
    export_optuna(log, file(tmp_path))

    with pytest.raises(InvalidArgumentError, match="has a study named 'study' already"):
        export_optuna(log, file(tmp_path))


@pytest.mark.parametrize("file", ["nothing", "sqlite:///x.db", "mysql://h/x.log"])
def test_storage_that_is_no_journal_is_refused(tmp_path: Path, file: str) -> None:
    log = log_of(tmp_path / "study", toy_task(), 3)

    with pytest.raises(InvalidArgumentError, match=r"copy_study"):
        export_optuna(log, file)


@pytest.mark.slow
def test_large_study_is_exported_at_over_a_hundred_trials_a_second(tmp_path: Path) -> None:
    space = [Integer(name=f"p{n}", low=0, high=9) for n in range(15)]
    function = FunctionSimulator(lambda d: {"loss": float(d["p0"])}, space, {"loss": "minimise"})
    task = Task.make(function)
    with Study.create(tmp_path / "study", task, None, budget=2_000) as study:
        study.evaluate(task.space.sample(2_000, np.random.default_rng(0)))
    began = time.process_time()

    n = export_optuna(read_study(tmp_path / "study"), file(tmp_path))

    assert n == 2_000
    assert time.process_time() - began < 20
    assert len(loaded(tmp_path, "study").trials) == n


def test_journal_takes_several_studies(tmp_path: Path) -> None:
    log = log_of(tmp_path / "study", toy_task())
    path = file(tmp_path)

    assert export_optuna(log, path) == export_optuna(log, path, "second") == 60

    storage = JournalStorage(JournalFileBackend(path))
    assert sorted(each.study_name for each in storage.get_all_studies()) == ["second", "study"]
    assert [trial.params for trial in loaded(tmp_path, "second").trials] == [
        trial.params for trial in loaded(tmp_path, "study").trials
    ]
    with pytest.raises(InvalidArgumentError, match="has a study named 'study' already"):
        export_optuna(log, path)


def test_journal_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("something else\nand more\n")
    log = log_of(tmp_path / "study", toy_task(), 5)

    with pytest.raises(
        StorageError, match="must be a file of Optuna's journal that can be written"
    ):
        export_optuna(log, str(path))
    with pytest.raises(
        StorageError, match="must be a file of Optuna's journal that can be written"
    ):
        export_optuna(log, str(tmp_path / "absent" / "x.log"))
    assert path.read_text() == "something else\nand more\n"


@pytest.mark.parametrize("storage", ["new.log", "old.log"])
def test_failed_export_leaves_the_storage_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    log = log_of(tmp_path / "study", toy_task(), 3)
    if "old" in storage:
        export_optuna(log, storage, "first")
    before = {path.name for path in tmp_path.iterdir()}
    journal = Path("old.log").read_bytes() if storage == "old.log" else b""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def cut(self: Any, logs: list[dict[str, Any]]) -> None:
        with Path(self._file_path).open("ab") as handle:
            handle.write(b'{"op_code"')
        full()

    with monkeypatch.context() as patched:
        patched.setattr("optuna.storages.journal.JournalFileBackend.append_logs", cut)
        with pytest.raises(StorageError, match="No space left on device"):
            export_optuna(log, storage, "second")

    assert {path.name for path in tmp_path.iterdir()} == before
    assert storage != "old.log" or Path("old.log").read_bytes() == journal
    assert export_optuna(log, storage, "second") == log.evaluations
