"""Tasks of control of a server: order, sequences and tokens of a step change in bursts."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Annotated, Any, Final

import numpy as np

from archgym.simulators.kit import InvalidArgumentError, Option, Workload, default_workload
from archgym.simulators.kit.control import (
    Control,
    ControlTask,
    episodes_of,
    product,
    seed_of,
    turns,
)
from archgym.simulators.moe.control.runs import COSTS, MoeRun
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.workloads.requests import Requests, generate_requests
from archgym.simulators.moe.workloads.workload import Promise


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
        costs=COSTS,
        horizons=(2, 4, 8),
    )


CONTROL: Final = Control(
    simulator="moe",
    tasks={
        "moe-bursts": partial(_task, "moe-bursts", "Chats and long prompts in turns, in bursts.")
    },
)
"""Control of servers."""
