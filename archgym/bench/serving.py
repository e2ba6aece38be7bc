"""Protocol of JSON lines, through which a program in any language searches a task.

The server writes one line with the task, then answers each line of the client with one line:

    client  {"design": {"banks": 4, "mode": "fast"}}     or  {"indices": [2, 1]}
    server  {"reward": 0.25, "feasible": true, "reason": "", "metrics": {"cost_ns": 80.0},
             "repeated": false, "evaluations": 1, "left": 99}
    client  {"end": true}
    server  {"end": "client", "evaluations": 1, "best": {"design": {…}, "reward": 0.25}}

An answer names in `defaults` the parameters that a design leaves out, which have their defaults.
A line that is not understood is answered by ``{"error": "…"}`` and costs nothing. After the last
evaluation the server adds ``{"end": "budget", …}`` and stops.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final, Protocol, final

import numpy as np

from archgym.bench.suite import BenchTask
from archgym.checks import check_whole
from archgym.errors import BudgetExhausted, InvalidArgumentError, InvalidDesignError
from archgym.files.json_types import refuse_constant
from archgym.studies.study import Study
from archgym.tasks.task import Task

FORMAT = 1
"""Format of the protocol, raised when a client must change."""
MAX_LINE_BYTES = 2**16
"""chosen: bytes of the longest line that a client may send; designs take a tenth."""
# chosen: values of a parameter that are listed; a larger one is described by its JSON alone.
_MAX_VALUES = 256
# chosen: messages for each evaluation, so that repeats and mistakes come to an end.
_STEPS_PER_EVALUATION: Final = 4
# chosen: the largest number of evaluations that a task is judged at.
_MAX_BUDGET: Final = 1000


@final
class TaskServer:
    """A study that is driven by lines of JSON; every evaluation is journaled before its answer.

    Life cycle: `description` is sent first, then `answer` takes each line until `is_over`. `close`
    releases the study, which the same arguments continue later.

    Example:
      >>> from tempfile import TemporaryDirectory
      >>> from archgym.testing import ProvingSimulator
      >>> task = Task.make(ProvingSimulator("tiny"), "near")
      >>> with TemporaryDirectory() as folder:
      ...     server = TaskServer(task, f"{folder}/study", budget=5)
      ...     answer = server.answer(b'{"indices": [0, 1]}')
      ...     server.close()
      >>> answer["feasible"], answer["left"]
      (True, 4)
    """

    def __init__(self, task: Task, folder: str | Path, budget: int) -> None:
        """Start a study in a folder, or continue it.

        Raises:
          InvalidArgumentError: The budget does not fit, or the folder holds something else.
          StorageError: The folder cannot be written.
        """
        self.task = task
        self.budget = budget
        self.is_over = False
        self._study = Study.create(folder, task, None, budget=budget, exists="resume")

    @property
    def evaluations(self) -> int:
        """Evaluations so far, those of an earlier session included."""
        return self._study.evaluations

    def close(self) -> None:
        """Release the study."""
        self._study.close()

    def description(self) -> dict[str, Any]:
        """Return the first line: the task, its parameters and metrics, and the budget."""
        task, space = self.task, self.task.space
        return {
            "format": FORMAT,
            "task": task.id,
            "budget": self.budget,
            "evaluations": self._study.evaluations,
            "objective": task.objective.to_json(),
            "limits": [str(limit) for limit in task.limits],
            "workloads": [w.workload.name for w in task.workloads],
            "metrics": [
                {"name": m.name, "unit": m.unit, "goal": m.goal, "doc": m.doc} for m in task.metrics
            ],
            "sizes": space.sizes.tolist(),
            "default": space.default_indices.tolist(),
            "parameters": [
                {
                    **parameter.to_json(),
                    "size": parameter.size,
                    "values": [parameter.value(i) for i in range(parameter.size)]
                    if parameter.size <= _MAX_VALUES
                    else None,
                }
                for parameter in space.parameters
            ],
            "conditions": [
                {"parameter": c.parameter, "when": c.when.text} for c in space.conditions
            ],
            "constraints": [
                {"name": c.name, "require": c.require.text, "reason": c.reason}
                for c in space.constraints
            ],
        }

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to a line; never raises for what a client sends.

        Raises:
          StorageError: The journal cannot be written.
        """
        try:
            message = _parsed(line)
            if message.get("end") is True and len(message) == 1:
                return self.end("client")
            return self._evaluated(self._indices(message)) | self._taken(message)
        except BudgetExhausted:
            return self.end("budget")
        except (InvalidArgumentError, InvalidDesignError) as error:
            text = " ".join(str(error).split())
            return {"error": text if len(text) <= 1000 else f"{text[:1000]}…"}

    def end(self, why: str) -> dict[str, Any]:
        """End the session and return its last line."""
        self.is_over = True
        best = self._study.read().best()
        return {
            "end": why,
            "evaluations": self._study.evaluations,
            "best": None if best is None else {"design": dict(best.design), "reward": best.reward},
        }

    def _indices(self, message: Mapping[str, Any]) -> np.ndarray:
        space = self.task.space
        if set(message) == {"indices"}:
            given = message["indices"]
            is_list = isinstance(given, list) and len(given) == space.n_parameters
            if not is_list or not all(
                type(i) is int and 0 <= i < size
                for i, size in zip(given, space.sizes.tolist(), strict=True)
            ):
                raise InvalidArgumentError(
                    f"`indices` must be {space.n_parameters} whole numbers from 0, each below its "
                    "parameter's size."
                )
            return np.array(given, dtype=np.int64)
        if set(message) == {"design"} and isinstance(message["design"], Mapping):
            return space.indices_of(space.filled(design_values(message["design"])))
        raise InvalidArgumentError(
            'A line must be {"design": {…}}, {"indices": […]} or {"end": true}; got the members '
            f"{sorted(message)[:5]}."
        )

    def _taken(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters that a design does not give, which have their defaults."""
        left_out = [name for name in self.task.space.names if name not in message.get("design", ())]
        return {"defaults": left_out} if left_out and "design" in message else {}

    def _evaluated(self, indices: np.ndarray) -> dict[str, Any]:
        trial = next(iter(self._study.evaluate(indices[None, :])))
        reason = ""
        if trial.failed:
            reason = "The simulator failed."
        elif not trial.feasible:
            reason = self.task.simulator.spec.reasons[trial.reason]
        names = [spec.name for spec in self.task.metrics]
        done = self._study.evaluations
        return {
            "reward": trial.reward,
            "feasible": trial.feasible,
            "reason": reason,
            "metrics": {
                name: value if math.isfinite(value) else None
                for name, value in zip(names, trial.values.tolist(), strict=True)
            },
            "repeated": trial.repeated,
            "evaluations": done,
            "left": self.budget - done,
        }


class LineSource(Protocol):
    """Source of the lines of a client, such as a file."""

    def readline(self, size: int, /) -> bytes:
        """Return the next line; empty after the last one."""


def serve(server: TaskServer, source: LineSource, sink: IO[bytes]) -> None:
    """Serve one client until it ends, its lines end, or the budget is used up.

    Raises:
      StorageError: The journal cannot be written.
    """

    def send(message: Mapping[str, Any]) -> None:
        sink.write(json.dumps(message, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        sink.flush()

    send(server.description())
    while not server.is_over:
        if server.evaluations >= server.budget:
            send(server.end("budget"))
            return
        line = source.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = source.readline(MAX_LINE_BYTES)
            send({"error": f"A line must have at most {MAX_LINE_BYTES} bytes."})
        elif line.strip():
            send(server.answer(line))


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line.decode(), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"A line must be JSON in UTF-8; {error}.") from None
    if not isinstance(message, dict):
        raise InvalidArgumentError(f"A line must be a JSON object; got {type(message).__name__}.")
    return message


def design_values(design: Mapping[str, Any]) -> dict[str, Any]:
    """Return a design from JSON, in which a list stands for a tuple.

    Raises:
      InvalidArgumentError: A value is of a type that no parameter has.
    """
    return {name: _value(value) for name, value in design.items()}


def _value(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return tuple(value)
    if isinstance(value, str | int | float):
        return value
    raise InvalidArgumentError(
        f"Values of a design must be text, numbers or lists of them; got {type(value).__name__}."
    )


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
