"""Callbacks of studies, and ready ones for TensorBoard, MLflow, Weights & Biases and trackio.

Libraries for tracking are in the extra `tracking` and are imported when a callback is made.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.evaluation.trials import Trials
from archgym.runtime.closing import Closing
from archgym.runtime.importing import import_library
from archgym.studies.study import Study

# MLflow takes at most so many metrics a call.
_MLFLOW_BATCH = 1000


class _Tracker(Closing, ABC):
    """Callback that writes metrics and rewards of each evaluation to a tracking library.

    Use it in a `with` block, or call `close`, so that the library ends its run.
    """

    def __init__(self) -> None:
        self._is_begun = False

    def on_trials(self, study: Study, trials: Trials) -> None:
        """Write the metrics, the reward and the best reward so far of new evaluations."""
        if not self._is_begun:
            self._begin(study)
            self._is_begun = True
        first = study.evaluations - len(trials) + 1
        built = np.where(trials.feasible, trials.reward, -np.inf)
        best = np.maximum.accumulate(built)
        if study.best_reward is not None and study.best_reward > best[-1]:
            best = np.full(len(trials), study.best_reward)
        for row in range(len(trials)):
            values: dict[str, float] = {}
            if trials.feasible[row]:
                names = [spec.name for spec in trials.specs]
                values = dict(zip(names, trials.values[row].tolist(), strict=True))
                values["reward"] = float(trials.reward[row])
            if np.isfinite(best[row]):
                values["best_reward"] = float(best[row])
            self._write(values, first + row)
        self._flush()

    @abstractmethod
    def _begin(self, study: Study) -> None:
        """Begin a run of the library, or continue the one of this study."""

    @abstractmethod
    def _write(self, values: Mapping[str, float], step: int) -> None:
        """Write the numbers of one evaluation."""

    def _flush(self) -> None:
        """Flush the written numbers to their storage."""

    def close(self) -> None:
        """End the run of the library."""


@final
class TensorBoardCallback(_Tracker):
    """Callback that writes event files for TensorBoard with tensorboardX."""

    def __init__(self, folder: str | Path = "tensorboard") -> None:
        """Choose the folder; each study gets one of its own in it.

        Raises:
          MissingExtraError: tensorboardX is not installed.
        """
        super().__init__()
        self._library = import_library("tensorboardX", "tracking")
        self._folder = Path(folder)
        self._writer: Any = None

    def _begin(self, study: Study) -> None:
        self._writer = self._library.SummaryWriter(str(self._folder / study.folder.name))

    def _write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def _flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


@final
class MlflowCallback(_Tracker):
    """Callback that writes a run of MLflow in an experiment named by the task."""

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        """Choose where MLflow keeps its runs.

        Args:
          tracking_uri: URI of the store; MLflow's own default if None.
          experiment: Name of the experiment; the task's id if None.

        Raises:
          MissingExtraError: MLflow is not installed.
        """
        super().__init__()
        self._library = import_library("mlflow", "tracking")
        self._client = self._library.MlflowClient(tracking_uri=tracking_uri)
        self._experiment = experiment
        self._run = ""
        self._waiting: list[Any] = []

    def _begin(self, study: Study) -> None:
        name = self._experiment or study.task.id
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        runs = self._client.search_runs(
            [experiment], f"tags.archgym_study = '{study.id}'", max_results=1
        )
        if runs:
            self._run = runs[0].info.run_id
            return
        tags = {"archgym_study": study.id}
        run = self._client.create_run(experiment, run_name=study.folder.name, tags=tags)
        self._run = run.info.run_id
        for key, value in study.settings().items():
            self._client.log_param(self._run, key, value)

    def _write(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self._waiting += [
            self._library.entities.Metric(name, value, now, step) for name, value in values.items()
        ]

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start in range(0, len(waiting), _MLFLOW_BATCH):
            self._client.log_batch(self._run, metrics=waiting[start : start + _MLFLOW_BATCH])

    def close(self) -> None:
        """Mark the run as finished."""
        if self._run:
            self._client.set_terminated(self._run)


class _RunTracker(_Tracker):
    """Base of callbacks that log to one run object of a library, as `wandb` has them."""

    def __init__(self, library: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self._library = import_library(library, "tracking")
        self._options = options
        self._run: Any = None

    def _write(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()


@final
class WandbCallback(_RunTracker):
    """Callback that writes a run of Weights & Biases; a resumed study continues its run."""

    def __init__(self, project: str = "archgym", **options: Any) -> None:
        """Choose the project.

        Args:
          project: Name of the project.
          **options: Further arguments of `wandb.init`, such as ``mode="offline"``.

        Raises:
          MissingExtraError: wandb is not installed.
        """
        super().__init__("wandb", {"project": project, **options})

    def _begin(self, study: Study) -> None:
        self._run = self._library.init(
            id=study.id,
            name=study.folder.name,
            config=study.settings(),
            resume="allow",
            **self._options,
        )


@final
class TrackioCallback(_RunTracker):
    """Callback that writes a run of trackio, which keeps runs on this machine."""

    def __init__(self, project: str = "archgym", **options: Any) -> None:
        """Choose the project.

        Args:
          project: Name of the project.
          **options: Further arguments of `trackio.init`.

        Raises:
          MissingExtraError: trackio is not installed.
        """
        super().__init__("trackio", {"project": project, **options})

    def _begin(self, study: Study) -> None:
        self._run = self._library.init(
            name=study.folder.name, config=study.settings(), resume="allow", **self._options
        )
