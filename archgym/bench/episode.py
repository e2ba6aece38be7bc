"""One search of a benchmark task as an episode: budget, journal and scoring on this side."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

from archgym.bench.serving import TaskServer
from archgym.bench.suite import BenchTask
from archgym.checks import check_whole

# chosen: messages for each evaluation, so that repeats and mistakes come to an end.
_STEPS_PER_EVALUATION: Final = 4
# chosen: the largest number of evaluations that a task is judged at.
_MAX_BUDGET: Final = 1000


@final
@dataclass(frozen=True)
class BenchStep:
    """Answer to a message.

    Attributes:
      content: The task before the first message, then results, or an error.
      reward: Increase of the best reward so far, from 0 for the default design; never negative.
      is_over: True if the episode takes no further message.
    """

    content: Mapping[str, Any]
    reward: float
    is_over: bool


@final
class BenchEpisode:
    """A search that a client drives by messages; the sum of its rewards is the score.

    The score cannot be raised by anything but a better design: a repeated design, a design that
    fails or misses a limit, and a message that is not understood add nothing. Every evaluation is
    journaled before its answer. `close` ends the episode.

    Example:
      >>> from archgym.bench.suite import bench_task
      >>> episode = BenchEpisode(bench_task("soc-small-edp"), budget=2)
      >>> first = episode.step({"indices": episode.description()["default"]})
      >>> first.reward, first.content["left"], first.is_over
      (0.0, 1, False)
      >>> episode.close()
    """

    def __init__(
        self, task: BenchTask, budget: int | None = None, folder: str | Path | None = None
    ) -> None:
        """Begin the episode.

        Args:
          task: Task of the benchmark.
          budget: Evaluations; by default the smallest number that the task is judged at.
          folder: New folder for the journal; a temporary one by default.

        Raises:
          InvalidArgumentError: The budget is out of range.
          StorageError: The folder cannot be written.
        """
        self.budget = min(task.budgets) if budget is None else budget
        check_whole("budget", self.budget, 1, _MAX_BUDGET)
        self._task = task
        self._scratch = TemporaryDirectory() if folder is None else None
        place = Path(self._scratch.name) / "episode" if self._scratch else Path(str(folder))
        self._server = TaskServer(task.plan.make(), place, self.budget)
        self.score = 0.0
        self.steps = 0
        self._is_over = False

    def description(self) -> dict[str, Any]:
        """Return the task with its parameters, metrics and limits, and how to answer."""
        return {
            **self._server.description(),
            "name": self._task.label,
            "why": self._task.why,
            "messages": self.budget * _STEPS_PER_EVALUATION,
        }

    def step(self, message: Mapping[str, Any]) -> BenchStep:
        """Return the answer to a message: a design, its indices, or the end.

        Args:
          message: ``{"design": {…}}``, ``{"indices": […]}`` or ``{"end": true}``.
        """
        if self._is_over:
            return BenchStep({"error": "The episode is over. Reset it."}, 0.0, True)
        self.steps += 1
        try:
            line = json.dumps(message, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            answer: dict[str, Any] = {"error": f"The message is not JSON: {error}."[:300]}
        else:
            answer = self._server.answer(line)
        gain = 0.0
        if answer.get("feasible") and answer["reward"] > self.score:
            gain = answer["reward"] - self.score
            self.score = answer["reward"]
        used_up = answer.get("left") == 0 or self.steps >= self.budget * _STEPS_PER_EVALUATION
        self._is_over = "end" in answer or used_up
        return BenchStep({**answer, "score": self.score}, gain, self._is_over)

    def close(self) -> None:
        """End the episode and remove a temporary journal."""
        self._is_over = True
        self._server.close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
