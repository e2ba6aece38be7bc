import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import MissingExtraError
from archgym.evaluation.trials import Trials
from archgym.studies import callbacks
from archgym.studies.callbacks import (
    MlflowCallback,
    TensorBoardCallback,
    TrackioCallback,
    WandbCallback,
)
from archgym.studies.study import Study
from tests.toys import toy_task


class Collecting:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.rewards: list[float] = []
        self.counts: list[int] = []

    def on_trials(self, study: Study, trials: Trials) -> None:
        self.rewards += trials.reward.tolist()
        self.counts.append(study.evaluations)
        assert study.evaluations == len(self.rewards) or study.evaluations > 20


def new(folder: Path, budget: int = 20) -> Study:
    return Study.create(folder, toy_task(), "genetic", seed=2, budget=budget)


def needs(name: str) -> Any:
    """Skip a test where a library is not installed."""
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"needs the library {name}"
    )


def test_callback_is_told_of_every_evaluation_once(tmp_path: Path) -> None:
    told = Collecting()
    study = new(tmp_path / "a")
    study.add_callback(told)
    log = study.run().log

    assert told.rewards == log.records.reward[log.is_evaluation].tolist()
    assert told.counts[-1] == 20
    assert study.best_reward == log.curve()[-1]


def test_callback_is_not_told_of_what_is_replayed(tmp_path: Path) -> None:
    new(tmp_path / "a").run()
    told = Collecting()
    study = Study.open(tmp_path / "a", toy_task())
    study.add_callback(told)
    log = study.run(budget=30).log

    assert told.rewards == log.records.reward[log.is_evaluation].tolist()[20:]


def test_callback_is_told_of_what_is_told(tmp_path: Path) -> None:
    told = Collecting()
    study = new(tmp_path / "a", 8)
    study.add_callback(told)
    while designs := study.ask(3):
        for design in designs:
            study.tell(design, failure="the board is off")

    assert told.rewards == [-25.0] * 8


def test_error_of_a_callback_loses_no_evaluation(tmp_path: Path) -> None:
    class Broken:
        def on_trials(self, study: Study, trials: Trials) -> None:
            raise RuntimeError("no connection")

    study = new(tmp_path / "a")
    study.add_callback(Broken())
    with pytest.raises(RuntimeError, match="no connection"):
        study.run()

    new(tmp_path / "whole").run()
    Study.open(tmp_path / "a", toy_task()).run()
    paths = [tmp_path / name / "journal.jsonl" for name in ("a", "whole")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("kind", "library"),
    [
        (TensorBoardCallback, "tensorboardX"),
        (MlflowCallback, "mlflow"),
        (WandbCallback, "wandb"),
        (TrackioCallback, "trackio"),
    ],
)
def test_library_that_is_not_installed_is_named(
    kind: Any, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, extra: str) -> Any:
        assert name == library
        raise MissingExtraError(name, extra)

    monkeypatch.setattr(callbacks, "import_library", absent)

    with pytest.raises(MissingExtraError, match=r"archgym\[tracking\]"):
        kind()


@needs("tensorboardX")
def test_tensorboard_gets_the_metrics_by_evaluation(tmp_path: Path) -> None:
    with TensorBoardCallback(tmp_path / "board") as board:
        study = new(tmp_path / "a")
        study.add_callback(board)
        log = study.run().log

    files = list((tmp_path / "board" / "a").iterdir())
    assert len(files) == 1
    content = files[0].read_bytes()
    for name in (b"latency_ns", b"reward", b"best_reward"):
        assert name in content
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs the library tensorboard to read what was written",
    ).EventAccumulator(str(tmp_path / "board" / "a"))
    accumulator.Reload()
    best = accumulator.Scalars("best_reward")
    assert best[-1].step == 20
    assert best[-1].value == pytest.approx(log.curve()[-1])


@needs("mlflow")
def test_mlflow_gets_the_metrics_and_a_resumed_study_continues_its_run(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    for budget in (10, 20):
        with MlflowCallback(uri, "test") as tracker:
            study = (
                new(tmp_path / "a", 10) if budget == 10 else Study.open(tmp_path / "a", toy_task())
            )
            study.add_callback(tracker)
            log = study.run(budget=budget).log

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("test")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["agent"] == "genetic"
    history = client.get_metric_history(run.info.run_id, "best_reward")
    assert max(point.step for point in history) == 20
    assert max(point.value for point in history) == pytest.approx(log.curve()[-1])


@needs("wandb")
def test_wandb_writes_offline(tmp_path: Path) -> None:
    with WandbCallback("test", mode="offline", dir=str(tmp_path)) as tracker:
        study = new(tmp_path / "a")
        study.add_callback(tracker)
        study.run()
        summary = dict(tracker._run.summary)

    assert summary["best_reward"] == study.best_reward
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@needs("trackio")
def test_trackio_keeps_a_run_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    with TrackioCallback("test", embed=False) as tracker:
        study = new(tmp_path / "a")
        study.add_callback(tracker)
        study.run()

    assert np.isfinite(study.best_reward or np.nan)
    assert json.dumps(study.settings())
