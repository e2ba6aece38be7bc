"""Batching of an MoE server under bursts as a task of control: token budget, order and sequences.

The serving loop at the level of steps, with the simulator's own functions, stops and continues
here. An epoch lasts two seconds. Work are requests that end, cost those whose time to the first
token or per further token breaks its promise, so that the score is the share of broken promises.
Chats and long prompts come in turns and in bursts. The rate is that at which the default breaks
about a fifth of the promises.

    python experiments/control/moe_batching.py --out moe-batching.json
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numba
import numpy as np

from archgym.control.comparison import compare_policies
from archgym.control.imitation import imitate
from archgym.control.policies import policy_of
from archgym.control.runs import Counter, Part, Run
from archgym.control.tasks import ControlTask, product, static
from archgym.simulators.moe import MoeSimulator
from archgym.simulators.moe.kernel import columns as col
from archgym.simulators.moe.kernel.batching import form_batch, ingest, take_blocks, visible_ns
from archgym.simulators.moe.kernel.full import hand_out
from archgym.simulators.moe.kernel.state import (
    BATCH,
    FIRST,
    GENERATED,
    LAST,
    N_ARRIVED,
    N_BATCH,
    N_PROMPT,
    N_RUNNING,
    PACE,
    State,
    Work,
    new_state,
)  # fmt: skip
from archgym.simulators.moe.kernel.steps import _lengthened, _n_alike, step_ns
from archgym.simulators.moe.kernel.surroundings import count_contents, count_steps
from archgym.simulators.moe.workloads.requests import Requests, generate_requests
from archgym.spaces.parameter import Value

EPOCH_MS = 2000
N_REQUESTS = 400
# chosen: promises of a chat service, in milliseconds.
TTFT_MS, TPOT_MS = 1000.0, 30.0
SEEN = (
    Counter(name="waiting", low=1.0, high=512.0, is_log=True, doc="Requests that wait, and one."),
    Counter(name="running", low=1.0, high=512.0, is_log=True, doc="Requests that run, and one."),
    Counter(name="arrivals", low=1.0, high=512.0, is_log=True, doc="Requests that came, and one."),
    Counter(name="prompts", low=1.0, high=1e6, is_log=True, doc="Tokens of prompts that wait."),
    Counter(name="pace_ms", low=1.0, high=1000.0, is_log=True, doc="Mean time of a step."),
    Counter(name="oldest_ms", low=1.0, high=1e5, is_log=True, doc="Longest wait of a request."),
)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def advance(
    costs: Any, choices: Any, work: Any, state: Any, table: Any, counters: Any, clock: Any,
    until: float,
) -> None:  # fmt: skip
    """Serve until a time, or until all requests have ended; `steps.serve_steps` in parts."""
    n_requests = choices[col.N_REQUESTS]
    now = clock[0]
    while counters[col.N_FINISHED] < n_requests and now < until:
        ingest(costs, choices, work, state, counters, now)
        form_batch(choices, work, state, counters)
        if state.numbers[N_BATCH] == 0:
            upcoming = state.numbers[N_ARRIVED]
            if upcoming >= n_requests:
                counters[col.STATUS] = 1.0
                break
            now = visible_ns(costs, work, state, upcoming)
            continue
        count_contents(work, state)
        contents = state.contents
        is_mixed = contents[N_PROMPT] > 0.0
        if not is_mixed:
            state.clocks[PACE] = step_ns(costs, choices, state, table, counters, contents, 0.0)
        n_steps = _n_alike(costs, choices, work, state, counters, now)
        _lengthened(contents, 0.5 * (n_steps - 1.0))
        took = step_ns(costs, choices, state, table, counters, contents, float(n_steps))
        count_steps(state, counters, float(n_steps))
        end = now + n_steps * took
        if n_steps > 1:
            for place in range(state.numbers[N_BATCH]):
                state.requests[GENERATED, state.requests[BATCH, place]] += n_steps - 1
            if choices[col.BLOCK_TOKENS] > 0:
                take_blocks(choices, work, state, counters)
        if not is_mixed:
            state.clocks[PACE] = took
        ingest(costs, choices, work, state, counters, end)
        hand_out(choices, work, state, counters, end)
        now = end
    clock[0] = now


class Machine:
    """State of a run of the server."""

    def __init__(self, requests: Requests) -> None:
        self.ready = server()
        n = len(requests)
        self.choices = self.ready.plan.choices.copy()
        self.choices[col.N_REQUESTS], self.choices[col.CLIENTS] = n, 0
        columns = (requests.arrival_ns, requests.prompt_tokens, requests.output_tokens)
        rows = np.array([*columns, *np.zeros((4, n))], dtype=np.int64)
        rows[4] = 1
        nowhere = np.zeros((1, 1), dtype=np.int32)
        self.work = Work(rows, np.zeros((1, 1, 1), dtype=np.int16), nowhere, nowhere)
        self.state = new_state(n, max(1, int(self.choices[col.N_LAYERS])), 1, 1)
        self.counters, self.clock = np.zeros(len(col.COUNTERS)), np.zeros(1)

    def advance(self, until: float) -> None:
        """Serve until a time [ns]."""
        plan = self.ready.plan
        advance(plan.costs, self.choices, self.work, self.state, self.ready.table, self.counters,
            self.clock, until)  # fmt: skip
        assert not self.counters[col.STATUS]

    def copy(self, into: Any = None) -> "Machine":
        """Return an independent machine that continues alike."""
        other = object.__new__(Machine)
        other.__dict__.update(self.__dict__)
        other.state = State(*(each.copy() for each in self.state))
        for name in ("choices", "counters", "clock"):
            setattr(other, name, getattr(self, name).copy())
        return other


class MoeRun(Run):
    """A server under requests; progress is in milliseconds."""

    effect = "Takes effect with the next step; requests that run stay."
    switchable: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("scheduler", "max_sequences", "max_tokens"), effect
    )
    counters = SEEN

    def __init__(self, requests: Requests) -> None:
        self._run = Machine(requests)
        self._ended = np.zeros(len(requests), dtype=bool)
        self._arrived = 0

    @property
    def is_over(self) -> bool:
        """True if every request has ended."""
        return bool(self._ended.all())

    def choice(self, settings: Mapping[str, Value]) -> tuple[int, int, int]:
        """Return the columns of the kernel."""
        self.check_settings(settings)
        order = ("decode-first", "prefill-first").index(str(settings["scheduler"]))
        return order, int(str(settings["max_sequences"])), int(str(settings["max_tokens"]))

    def advance(self, choices: tuple[tuple[int, int, int], ...], until: int) -> Part:
        """Serve until a time [ms]; see `Run.advance`."""
        machine = self._run
        wanted = machine.choices
        wanted[[col.SCHEDULER, col.MAX_SEQUENCES, col.MAX_TOKENS]] = choices[0]
        wanted[col.CHUNK_TOKENS] = choices[0][2]
        steps, start = machine.counters[col.N_STEPS], machine.clock[0]
        machine.advance(until * 1e6)
        state, rows, now = machine.state, machine.work.requests, machine.clock[0]
        ended = state.times[LAST] > 0.0
        new = ended & ~self._ended
        self._ended = ended
        first, last = state.times[FIRST][new], state.times[LAST][new]
        late = (first - rows[0][new]) / 1e6 > TTFT_MS
        late |= (last - first) / 1e6 / np.maximum(1, rows[2][new] - 1) > TPOT_MS
        arrived = int((rows[0] <= now).sum())
        waits = (rows[0] <= now) & (state.times[FIRST] == 0.0)
        oldest = float((now - rows[0][waits]).max()) / 1e6 if waits.any() else 0.0
        n_steps = max(1.0, machine.counters[col.N_STEPS] - steps)
        values = np.array([[
            1.0 + waits.sum(), 1.0 + state.numbers[N_RUNNING], 1.0 + arrived - self._arrived,
            1.0 + rows[1][waits].sum(), (now - start) / 1e6 / n_steps, 1.0 + oldest,
        ]])  # fmt: skip
        self._arrived = arrived
        return Part(np.array([float(new.sum())]), np.array([float(late.sum())]), values)

    def copy(self, into: Any = None) -> Any:
        """Return an independent run; arrays are replaced and never changed in place."""
        return super().copy(None)

    def finish(self) -> Mapping[str, float]:
        """Return the time of the run."""
        return {"total_time_ms": self._run.clock[0] / 1e6}


@cache
def server() -> Any:
    """Return a plan with its costs and its table of experts: the default design without clients."""
    simulator = MoeSimulator("closed-loop", fidelity="steps", clients=0)
    default = simulator.space.design_at(simulator.space.default_indices)
    return simulator.prepared(default, simulator.workload(simulator.default_workload))


def requests_of(seed: int, rate: float, long_prompts: int) -> Requests:
    """Return chats and long prompts in turns, each in bursts."""
    rng = np.random.default_rng([seed, 3])
    parts, start, left, kind = [], 0, N_REQUESTS, int(rng.integers(2))
    while left > 0:
        n = min(left, int(rng.integers(40, 100)))
        prompt, output = ((300, 150), (long_prompts, 60))[kind]
        # Long prompts come more rarely, so that both kinds load the server alike.
        drawn = generate_requests(
            n, int(rng.integers(1 << 31)), rate_per_s=rate * (1.0, 0.35)[kind], prompt_mean=prompt,
            output_mean=output, prompt_spread=0.5, output_spread=0.5, arrivals="gamma", cv=3.0,
        )  # fmt: skip
        parts.append(replace(drawn, arrival_ns=drawn.arrival_ns + start))
        start = int(parts[-1].arrival_ns[-1])
        left, kind = left - n, 1 - kind
    names = ("arrival_ns", "prompt_tokens", "output_tokens")
    return Requests(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


ACTIONS = product(
    {
        "scheduler": ("decode-first", "prefill-first"),
        "max_sequences": (16, 64, 256),
        "max_tokens": (512, 2048, 8192),
    }
)
DEFAULT = ACTIONS.index({"scheduler": "decode-first", "max_sequences": 256, "max_tokens": 2048})


def by_waiting(counters: Mapping[str, float], previous: int) -> int:
    """Read prompts first where many tokens wait, in large steps; else decode in small ones."""
    wanted = {"scheduler": "decode-first", "max_sequences": 256, "max_tokens": 512}
    if counters["prompts"] > 8192.0:
        wanted |= {"scheduler": "prefill-first", "max_tokens": 8192}
    elif counters["prompts"] > 1024.0:
        wanted["max_tokens"] = 2048
    return ACTIONS.index(wanted)


def task_at(rate: float) -> ControlTask:
    """Return the task at a rate of chats [1/s]."""
    splits = {"train": (0, 32, 4000), "held-out": (1, 10, 4000), "programs": (2, 10, 2000)}

    @lru_cache(maxsize=64)
    def requests(name: str) -> Requests:
        split, _, seed = name.rpartition("-")
        first, _, long_prompts = splits[split]
        return requests_of(10_000 * first + int(seed), rate, long_prompts)

    return ControlTask(
        name="moe-batching", doc="Chats and long prompts in turns, in bursts.",
        begin=lambda name: MoeRun(requests(name)), actions=ACTIONS, default=DEFAULT,
        epoch=EPOCH_MS, cost="broken_promises",
        splits={s: tuple(f"{s}-{i}" for i in range(n)) for s, (_, n, _) in splits.items()},
        by_counters={"hand": by_waiting},
    )  # fmt: skip


def whole_equals_parts(task: ControlTask) -> bool:
    """Return True if a run in epochs ends as one in one part, request for request."""
    settings = MoeRun(requests_of(1, 10.0, 4000)).choice(ACTIONS[DEFAULT])
    runs = [MoeRun(requests_of(1, 10.0, 4000)) for _ in range(2)]
    runs[0].advance((settings,), 1 << 40)
    until = 0
    while not runs[1].is_over:
        until += EPOCH_MS
        runs[1].advance((settings,), until)
        runs[1] = runs[1].copy()
    a, b = (run._run.state.times for run in runs)
    return bool(np.array_equal(a[[FIRST, LAST]], b[[FIRST, LAST]]))


def main() -> None:
    """Choose the rate on training episodes, then compare on others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--horizons", type=int, nargs="+", default=[2])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    low, high = 0.1, 200.0
    for _ in range(9):
        rate = float(np.sqrt(low * high))
        task = task_at(rate)
        broken = np.mean([static(task, n, DEFAULT).score for n in task.episodes("train")[:3]])
        low, high = (rate, high) if broken < 0.2 else (low, rate)
    print(f"rate {rate:.2f}/s, the default breaks {100 * broken:.0f} %", flush=True)
    print("whole equals parts:", whole_equals_parts(task), flush=True)
    policies = [policy_of(name, task) for name in ("default", "best-static", "hand", "ducb")]
    for seed in options.seeds:
        network = imitate(task, seed=seed, rounds=2, episodes=3, horizon=2)
        network.name = f"imitation-{seed}"
        policies.append(network)
        print(network.name, flush=True)
    found = compare_policies(task, policies, n_episodes=options.episodes, horizons=options.horizons)
    options.out.write_text(json.dumps(found.to_json(), indent=1) + "\n")
    for row in found.rows:
        gain, gap = row.gain_percent, row.gap_percent
        saved = f"{gain.value:6.1f} ({gain.low:.1f} to {gain.high:.1f})"
        broken = f"broken {100 * np.mean(row.scores):5.1f} %"
        print(f"{row.policy:14} {broken}, saved {saved}, gap {gap.value:.0f}, p {row.p_value:.4f}")


if __name__ == "__main__":
    main()
