"""Broker that passes designs from Ray's env runners to the study's process, and rewards back.

One process writes a study's journal. A broker, an actor on that process's node, takes the choices
that runners ask about; the study's thread fetches all that wait, evaluates them as one batch, and
answers. At the end everyone who asks is told that there is no more.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


@dataclass
class _Request:
    number: int
    runner: int
    picks: np.ndarray
    answer: "asyncio.Future[np.ndarray | None]"


@final
class _Desk:
    """State of the broker's Ray actor; all methods run in its one event loop."""

    def __init__(self) -> None:
        self._requests: dict[int, _Request] = {}
        self._n = 0
        self._is_over = False
        self._arrived = asyncio.Event()

    async def ask(self, runner: int, picks: np.ndarray) -> np.ndarray | None:
        if self._is_over:
            return None
        # A runner asks one thing at a time: an older one comes from a process that has died.
        for request in [r for r in self._requests.values() if r.runner == runner]:
            self._close(request, None)
        answer: asyncio.Future[np.ndarray | None] = asyncio.get_running_loop().create_future()
        self._n += 1
        self._requests[self._n] = _Request(self._n, runner, picks, answer)
        self._arrived.set()
        return await answer

    async def take(self, patience_s: float) -> list[tuple[int, np.ndarray]]:
        """Return the designs asked for since the last call; empty if none arrive in time."""
        try:
            await asyncio.wait_for(self._arrived.wait(), patience_s)
        except TimeoutError:
            return []
        self._arrived.clear()
        return [(request.number, request.picks) for request in self._requests.values()]

    async def answer(self, answers: dict[int, np.ndarray]) -> None:
        for number, rewards in answers.items():
            request = self._requests.get(number)
            if request is not None:
                self._close(request, rewards)
        if self._requests:
            self._arrived.set()

    async def end(self) -> None:
        """Close the broker: all later requests are answered with "no more evaluations"."""
        self._is_over = True
        for request in list(self._requests.values()):
            self._close(request, None)

    def _close(self, request: _Request, rewards: np.ndarray | None) -> None:
        del self._requests[request.number]
        if not request.answer.done():
            request.answer.set_result(rewards)


@final
class Broker:
    """Connection of the study's process to the broker."""

    def __init__(self) -> None:
        """Start the actor on this node; Ray must be running."""
        node = ray.get_runtime_context().get_node_id()
        self.actor: Any = (
            ray.remote(_Desk)
            .options(
                num_cpus=0,
                # More than runners there can be; one of them is this process.
                max_concurrency=10_000,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote()
        )

    def take(self, patience_s: float) -> list[tuple[int, np.ndarray]]:
        """Return ids of waiting requests and the choices, (n, n_choices), to evaluate for each."""
        requests: list[tuple[int, np.ndarray]] = ray.get(self.actor.take.remote(patience_s))
        return requests

    def answer(self, answers: dict[int, np.ndarray]) -> None:
        """Give requests their rewards, (n,)."""
        ray.get(self.actor.answer.remote(answers))

    def end(self) -> None:
        """Tell all runners, now and in later requests, that there are no more evaluations."""
        ray.get(self.actor.end.remote())


@final
@dataclass(frozen=True)
class RemoteRewards:
    """Connection of one env runner to the broker."""

    actor: Any

    def __call__(self, runner: int, picks: np.ndarray) -> np.ndarray | None:
        rewards: np.ndarray | None = ray.get(self.actor.ask.remote(runner, picks))
        return rewards

    def __deepcopy__(self, memo: Any) -> "RemoteRewards":
        # RLlib copies its configuration; there is one actor.
        return self
