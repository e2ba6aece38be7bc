"""Tasks of the benchmark as OpenEnv environments, for training language models.

Every session has a search of its own, whose budget and scoring stay in the server:

    uvicorn --factory archgym.envs.openenv:make_app --host 127.0.0.1

    from openenv.core import GenericEnvClient

    with GenericEnvClient(base_url="http://127.0.0.1:8000").sync() as client:
        first = client.reset(task="soc-small-edp", budget=20)
        step = client.step({"message": {"indices": first.observation["content"]["default"]}})
"""

from collections.abc import Mapping
from typing import Any, Final, final

from archgym.bench.serving import BenchEpisode
from archgym.bench.suite import SPLITS, BenchTask, bench_task, bench_tasks
from archgym.errors import InvalidArgumentError, MissingExtraError
from archgym.version import __version__

try:
    from openenv.core.env_server import (
        Action,
        Environment,
        Observation,
        State,
        create_fastapi_app,
    )
    from openenv.core.env_server.types import EnvironmentMetadata
except ImportError:
    raise MissingExtraError("openenv", "openenv") from None

# chosen: searches at the same time on a machine of a few cores.
_MAX_SESSIONS: Final = 8


class DesignAction(Action):  # type: ignore[misc]  # the library may be absent
    """Message of the model: ``{"design": {…}}``, ``{"indices": […]}`` or ``{"end": true}``."""

    message: dict[str, Any]


class DesignObservation(Observation):  # type: ignore[misc]  # as above
    """Task after a reset; results with the score and what is left, or an error, after a step."""

    content: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it


class SearchState(State):  # type: ignore[misc]  # as above
    """Progress of a session: its task, budget, score."""

    task: str = ""
    budget: int = 0
    score: float = 0.0


@final
class ArchBenchEnvironment(Environment):  # type: ignore[misc]  # as above
    """Search of one task of the benchmark, chosen by `reset`.

    The reward of a step is the increase of the best reward so far; their sum is the score.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        """Begin without a task."""
        super().__init__()
        self._episode: BenchEpisode | None = None
        self._state = SearchState()

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        *,
        task: str | None = None,
        split: str = "development",
        index: int = 0,
        budget: int | None = None,
        **rest: Any,
    ) -> DesignObservation:
        """Begin a search.

        Args:
          seed: Not used: simulators are deterministic.
          episode_id: Name of the episode.
          task: Name of a task; else `split` and `index` choose one.
          split: `development` for training, or `verdict` for judging.
          index: Number of the task in its split.
          budget: Evaluations; by default the smallest number that the task is judged at.
          rest: Further arguments, which are refused.

        Raises:
          InvalidArgumentError: An argument is unknown or out of range.
          UnknownNameError: There is no such task or split.
        """
        if rest:
            raise InvalidArgumentError(f"`reset` has no argument {sorted(rest)[0][:40]!r}.")
        chosen = bench_task(task) if task is not None else _at(split, index)
        self.close()
        self._episode = BenchEpisode(chosen, budget)
        self._state = SearchState(
            episode_id=episode_id, task=chosen.label, budget=self._episode.budget
        )
        return DesignObservation(content=self._episode.description(), done=False, reward=None)

    def step(
        self, action: DesignAction, timeout_s: float | None = None, **rest: Any
    ) -> DesignObservation:
        """Return the answer to a message; a mistake costs a step, never an evaluation."""
        if self._episode is None:
            raise InvalidArgumentError("An episode begins with `reset`.")
        found = self._episode.step(action.message)
        self._state.step_count = self._episode.steps
        self._state.score = self._episode.score
        return DesignObservation(
            content=dict(found.content), reward=found.reward, done=found.is_over
        )

    @property
    def state(self) -> SearchState:
        """Progress of the session."""
        return self._state

    def close(self) -> None:
        """End the search."""
        if self._episode is not None:
            self._episode.close()
            self._episode = None

    def get_metadata(self) -> Any:
        """Return name, description and version."""
        return EnvironmentMetadata(
            name="archgym",
            description="Searches of hardware designs with a budget of evaluations.",
            version=__version__,
        )

    # ---- task discovery

    def list_splits(self) -> list[str]:
        """Return the names of the splits."""
        return list(SPLITS)

    def list_tasks(self, split: str) -> list[Mapping[str, Any]]:
        """Return the tasks of a split."""
        return [_spec(task) for task in bench_tasks(split=split)]

    def num_tasks(self, split: str) -> int:
        """Return the number of tasks of a split."""
        return len(bench_tasks(split=split))

    def get_task(self, split: str, index: int) -> Mapping[str, Any]:
        """Return a task of a split."""
        return _spec(_at(split, index))


def _at(split: str, index: int) -> BenchTask:
    tasks = bench_tasks(split=split)
    if not 0 <= index < len(tasks):
        raise IndexError(f"`index` must be 0 to {len(tasks) - 1}; got {index}.")
    return tasks[index]


def _spec(task: BenchTask) -> Mapping[str, Any]:
    return {"id": task.label, "why": task.why, "budgets": list(task.budgets)}


def make_app() -> Any:
    """Return the server as an ASGI application."""
    return create_fastapi_app(
        ArchBenchEnvironment,
        DesignAction,
        DesignObservation,
        max_concurrent_envs=_MAX_SESSIONS,
        state_cls=SearchState,
    )
