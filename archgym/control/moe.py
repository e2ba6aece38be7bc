"""Serving of an MoE model under control: order, sequences and tokens of a step change in bursts."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Annotated, Any, ClassVar, Final, final

import numpy as np

from archgym.checks import check_choice, check_whole
from archgym.control.runs import Counter, Part, Run, completed
from archgym.control.tasks import ControlTask, episodes_of, product, seed_of, turns
from archgym.errors import InvalidArgumentError, InvalidDesignError
from archgym.evaluation.options import Option
from archgym.evaluation.simulator import Workload, default_workload
from archgym.simulators.moe.kernel import columns as col
from archgym.simulators.moe.kernel.run import documents, work_of
from archgym.simulators.moe.kernel.state import ARRIVAL, FIRST, LAST, N_RUNNING, OUTPUT, PROMPT
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.workloads.requests import Requests, generate_requests
from archgym.simulators.moe.workloads.workload import Promise
from archgym.spaces.parameter import Value

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


@final
class MoeRun(Run):
    """A server at the level of steps; progress is in milliseconds, work in requests that end.

    A part ends with the steps that its last one is like, so that it may be longer than asked for.
    """

    switchable: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("scheduler", *_OF_GROUPS, "chunk_tokens"), _NEXT_STEP
    )
    counters = COUNTERS

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
        late = first_ms - rows[ARRIVAL][new] / 1e6 > self._promise.ttft_ms
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

    def _finish(self) -> Mapping[str, float]:
        """Return the kernel's counters by name."""
        return dict(zip(col.COUNTERS, self._run.counters.tolist(), strict=True))


def in_turns(n: int, seed: int, rate_per_s: float, long_prompt: int) -> Requests:
    """Return chats and long prompts in turns, each in bursts.

    Args:
      n: Requests.
      seed: Random seed.
      rate_per_s: Rate of chats [1/s]. Long prompts come more rarely, so that they load alike.
      long_prompt: Mean of long prompts [tokens].
    """
    rng = np.random.default_rng([seed, 3])
    parts: list[Requests] = []
    left, start = n, 0
    for kind, length in turns(rng, 2, 40, 100):
        length = min(left, length)
        prompt, output, share = ((300, 150, 1.0), (long_prompt, 60, 0.35))[kind]
        drawn = generate_requests(
            length, int(rng.integers(1 << 31)), rate_per_s=share * rate_per_s, prompt_mean=prompt,
            output_mean=output, prompt_spread=0.5, output_spread=0.5, arrivals="gamma", cv=3.0,
        )  # fmt: skip
        parts.append(replace(drawn, arrival_ns=drawn.arrival_ns + start))
        start, left = int(parts[-1].arrival_ns[-1]), left - length
        if not left:
            break
    names = ("arrival_ns", "prompt_tokens", "output_tokens")
    columns: list[Any] = [np.concatenate([getattr(p, name) for p in parts]) for name in names]
    return Requests(*columns)


_ACTIONS: Final = product(
    {
        "scheduler": ("decode-first", "prefill-first"),
        "max_sequences": (16, 64, 256),
        "max_tokens": (512, 2048, 8192),
    }
)
# chosen: two seconds of an episode, and a minute until the best static settings are known.
_MOST_EPOCHS: Final = 20_000
_LONG_PROMPTS: Final = {"train": 4000, "held-out": 4000, "programs": 2000}
_DEFAULT, _SMALL_STEPS, _PROMPTS_FIRST = 7, 6, 17


def _by_prompts(counters: Mapping[str, float], previous: int) -> int:
    """Read prompts first where many tokens wait, in large steps; else decode in small ones."""
    if counters["prompts"] > 8192.0:
        return _PROMPTS_FIRST
    return _DEFAULT if counters["prompts"] > 1024.0 else _SMALL_STEPS


def _by_oldest(counters: Mapping[str, float], previous: int) -> int:
    """Read prompts first while the oldest request has waited for half a second."""
    return _PROMPTS_FIRST if counters["oldest_ms"] > 500.0 else _DEFAULT


@cache
def _simulator(hardware: str, model: str) -> MoeSimulator:
    return MoeSimulator("closed-loop", hardware, model, fidelity="steps", clients=0)


def _task(
    name: str,
    doc: str,
    *,
    hardware: Annotated[str, Option("Server, as of `archgym moe`.", takes_file=True)] = "",
    model: Annotated[str, Option("Model, as of `archgym moe`.", takes_file=True)] = "",
    rate: Annotated[
        float, Option("Chats that come in a second.", low=1e-3, high=1e6, unit="1/s")
    ] = 1.19,
    requests: Annotated[int, Option("Requests of an episode.", low=10, high=10**5)] = 400,
    epoch: Annotated[int, Option("Length of an epoch.", low=1, high=10**7, unit="ms")] = 2000,
    ttft_ms: Annotated[
        float, Option("Promised time to the first token.", low=1e-3, high=1e9, unit="ms")
    ] = 1000.0,
    tpot_ms: Annotated[
        float, Option("Promised time per further token.", low=1e-3, high=1e9, unit="ms")
    ] = 30.0,
    episodes: Annotated[int, Option("Episodes of a split to test on.", low=1, high=5000)] = 10,
) -> ControlTask:
    """Return the task of one server."""
    n_epochs = 2.0 * requests / rate * 1000.0 / epoch  # long prompts come more rarely
    if n_epochs > _MOST_EPOCHS:
        raise InvalidArgumentError(
            f"An episode of {name!r} must have about {_MOST_EPOCHS:,} epochs at most; got about "
            f"{n_epochs:,.0f}. Raise `rate` or `epoch`, or take fewer `requests`."
        )
    simulator = _simulator(hardware, model)
    asked = replace(
        simulator.workload(default_workload(simulator)).content, promise=Promise(ttft_ms, tpot_ms)
    )

    @lru_cache(maxsize=64)
    def workload(episode: str) -> Workload:
        split, first, number = seed_of(episode)
        found = in_turns(requests, first + number, rate, _LONG_PROMPTS[split])
        longest = int(found.lengths.max())
        return Workload(episode, found.digest, replace(asked, requests=found, longest=longest))

    return ControlTask(
        name=name,
        doc=doc,
        begin=lambda episode: MoeRun(simulator, {}, workload(episode)),
        actions=_ACTIONS,
        default=_DEFAULT,
        epoch=epoch,
        cost="broken_promises",
        splits=episodes_of(32, episodes),
        by_counters={"hand": _by_prompts, "feedback": _by_oldest},
        agents=("server",),
    )


TASKS: Final = {
    "moe-bursts": partial(_task, "moe-bursts", "Chats and long prompts in turns, in bursts.")
}
