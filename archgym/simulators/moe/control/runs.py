"""Serving of an MoE model in parts, at the level of steps."""

from collections.abc import Mapping
from typing import ClassVar, Final, final

import numpy as np

from archgym.simulators.kit import InvalidDesignError, Value, Workload, check_choice, check_whole
from archgym.simulators.kit.control import Counter, Floats, Part, Run, completed
from archgym.simulators.moe.kernel.run import documents, work_of
from archgym.simulators.moe.kernel.state import ARRIVAL, FIRST, LAST, N_RUNNING, OUTPUT, PROMPT
from archgym.simulators.moe.machine import columns as col
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.workloads.workload import Promise

COUNTERS: Final = (
    Counter(name="waiting", low=1.0, high=512.0, is_log=True, doc="Requests that wait, and one."),
    Counter(name="running", low=1.0, high=512.0, is_log=True, doc="Requests that run, and one."),
    Counter(name="arrivals", low=1.0, high=512.0, is_log=True, doc="Requests that came, and one."),
    Counter(name="prompts", low=1.0, high=1e6, is_log=True,
        doc="Tokens of prompts that wait, and one."),
    Counter(name="step_ms", low=1.0, high=1000.0, is_log=True, doc="Mean time of a step."),
    Counter(name="oldest_ms", low=1.0, high=1e5, is_log=True,
        doc="Longest wait for a first token, and 1 ms."),
)  # fmt: skip
_NEXT_STEP: Final = "Takes effect with the next step; requests that run stay."
_ORDERS: Final = ("decode-first", "prefill-first", "fcfs")
# Most requests and tokens are of each group of accelerators.
_OF_GROUPS: Final = {"max_sequences": col.MAX_SEQUENCES, "max_tokens": col.MAX_TOKENS}


COSTS: Final = {
    "broken_promises": "Share of requests whose promise is broken.",
    "ttft_ms": "Mean time to the first token.",
    "p99_ttft_ms": "99th percentile of that time in each epoch, their mean over requests.",
}


@final
class MoeRun(Run):
    """A server at the level of steps; progress is in milliseconds, work in requests that end.

    A part ends with the steps that its last one is like, so that it may be longer than asked for.
    """

    switchable: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("scheduler", *_OF_GROUPS, "chunk_tokens"), _NEXT_STEP
    )
    counters = COUNTERS
    costs = COSTS

    def __init__(
        self, simulator: MoeSimulator, design: Mapping[str, Value], workload: Workload
    ) -> None:
        """Begin a run.

        Args:
          simulator: Simulator at fidelity `steps`, whose designs have no workers of two kinds.
          design: Values of its space; others are the default's.
          workload: Requests and the promise that they were given.

        Raises:
          InvalidDesignError: The design cannot be built, or is not served at the level of steps.
        """
        from archgym.simulators.moe.kernel.stepping import begin

        ready = simulator.prepared(completed(simulator.space, design), workload)
        if ready.held is None or ready.table is None or ready.serving.prefill_workers:
            if why := ready.plan.infeasible:
                raise InvalidDesignError(f"The design cannot be built: {why}.")
            raise InvalidDesignError(
                "The design cannot run in parts: it is not served at the level of steps."
            )
        routing = ready.held.routing
        where = documents(ready.requests, routing)
        work = work_of(ready.plan, ready.requests, routing, where, ready.placement)
        self._run = begin(ready.plan, work, ready.table)
        self._promise: Promise = workload.content.promise
        self._groups = ready.serving.data
        self._design = ready.plan.choices
        self._arrived, self._ended = 0, np.zeros(len(ready.requests), dtype=bool)

    @property
    def is_over(self) -> bool:
        """True if every request has ended."""
        return bool(self._run.counters[col.N_FINISHED] >= self._run.choices[col.N_REQUESTS])

    def _choice(self, settings: Mapping[str, Value]) -> np.ndarray:
        """Return the kernel's choices; see `Run.choice`."""
        found: np.ndarray = self._design.copy()
        for name, value in settings.items():
            if name == "scheduler":
                found[col.SCHEDULER] = _ORDERS.index(check_choice(name, value, _ORDERS))
                continue
            number = check_whole(name, value, int(name in _OF_GROUPS), 2**20)
            place = _OF_GROUPS.get(name, col.CHUNK_TOKENS)
            found[place] = number * (self._groups if name in _OF_GROUPS else 1)
        return found

    def _advance(self, choices: tuple[np.ndarray, ...], until: int) -> Part:
        """Serve until a time [ms]; see `Run.advance`."""
        server = self._run
        rows, times = server.work.requests, server.state.times
        steps, start = server.counters[col.N_STEPS], server.now_ns
        server.choices[:] = choices[0]
        server.advance(until * 1e6)
        now = server.now_ns
        if server.counters[col.STATUS]:
            raise InvalidDesignError("Requests wait, and none may run under these settings.")
        ended = times[LAST] > 0.0
        new = ended & ~self._ended
        first_ms, last_ms = times[FIRST][new] / 1e6, times[LAST][new] / 1e6
        self._ttft_ms = first_ms - rows[ARRIVAL][new] / 1e6
        late = self._ttft_ms > self._promise.ttft_ms
        late |= (last_ms - first_ms) / np.maximum(1, rows[OUTPUT][new] - 1) > self._promise.tpot_ms
        has_come = rows[ARRIVAL] <= now
        waits = has_come & (times[FIRST] == 0.0)
        oldest = float((now - rows[ARRIVAL][waits]).max()) / 1e6 if waits.any() else 0.0
        n_steps = max(1.0, server.counters[col.N_STEPS] - steps)
        values = np.array([[
            1.0 + waits.sum(), 1.0 + server.state.numbers[N_RUNNING],
            1.0 + has_come.sum() - self._arrived, 1.0 + rows[PROMPT][waits].sum(),
            (now - start) / 1e6 / n_steps, 1.0 + oldest,
        ]])  # fmt: skip
        self._arrived, self._ended = int(has_come.sum()), ended
        return Part(np.array([float(new.sum())]), np.array([float(late.sum())]), values)

    def _amounts(self, part: Part) -> Mapping[str, Floats]:
        """Return times to the first token of requests that ended; see `Run.count`."""
        last = np.percentile(self._ttft_ms, 99.0, method="higher") if len(self._ttft_ms) else 0.0
        return {"ttft_ms": np.array([self._ttft_ms.sum()]), "p99_ttft_ms": last * part.work}

    def _finish(self) -> Mapping[str, float]:
        """Return the kernel's counters by name."""
        return dict(zip(col.COUNTERS, self._run.counters.tolist(), strict=True))
