"""Every registered task with options at random and with hostile values."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from archgym.control.tasks import ControlTask, Episode, static, task_names, task_of, task_options
from archgym.errors import ArchGymError
from archgym.simulators.dram import device_names
from archgym.simulators.dram.control.tasks import _KINDS

HOSTILE = (
    "",
    " ",
    "-1",
    "0",
    "1e999",
    "nan",
    "inf",
    "1.5",
    "x",
    "+",
    "a+b",
    "../x",
    "9" * 30,
    "\0",
)


def options_at_random(name: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return a value of every option of a task, small enough to run at once."""

    def some(known: Any) -> str:
        return "+".join(rng.choice(sorted(known), size=int(rng.integers(1, 4))).tolist())

    def number(low: float, high: float) -> int:
        return int(np.exp(rng.uniform(np.log(low), np.log(high))))

    prefix = name.partition("-")[0]
    cost = f"{rng.integers(1, 9)}*{next(iter(task_of(name).costs))}"
    found: dict[str, Any] = {"episodes": number(1, 5), "cost": cost}
    if prefix == "dram":
        return found | {
            "device": str(rng.choice(device_names())),
            "phases": some(_KINDS),
            "unseen": some(_KINDS),
            "times": str(rng.choice(["refuse", "sort"])),
            "addresses": str(rng.choice(["refuse", "wrap"])),
            "requests": number(1000, 1500),
            "epoch": number(10, 4000),
        }
    if prefix == "cpu":
        return found | {
            "data_rate": number(200, 6400),
            "programs": some(["stencil", "b-tree", "sort", "hash-join"]),
            "unseen": some(["digest", "rules"]),
            "instructions": number(1000, 2000),
            "epoch": number(100, 10**7),
        }
    return found | {
        "hardware": str(rng.choice(["dgx-h100", "hgx-b200"])),
        "model": "qwen3-30b-a3b",
        "rate": number(1, 100),
        "requests": number(10, 40),
        "epoch": number(200, 10**5),
        "ttft_ms": number(1, 10**4),
        "tpot_ms": number(1, 100),
    }


def named(name: str, options: dict[str, Any]) -> ControlTask:
    return task_of(f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}")


@pytest.mark.parametrize("name", task_names())
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_task_keeps_its_work_and_branches_alike_under_options_at_random(
    name: str, seed: int
) -> None:
    rng = np.random.default_rng([seed, sum(name.encode())])
    options = options_at_random(name, rng)
    assert set(options) == set(task_options(name))
    task = named(name, options)
    name_of_episode = str(rng.choice(task.episodes(str(rng.choice(list(task.splits))))))
    episode = Episode(task, name_of_episode)
    twin: Episode | None = None
    work = np.zeros(len(task.agents))

    while not episode.is_over:
        actions = tuple(rng.integers(len(task.actions), size=len(task.agents)).tolist())
        # Now and then a branch, new at first, then in the memory of the one before.
        is_tried = rng.random() < 0.3
        twin = episode.copy(twin) if is_tried else twin
        part = episode.step(actions)
        if is_tried:
            assert twin is not None
            again = twin.step(actions)
            assert np.array_equal(again.values, part.values)
            assert np.array_equal(again.cost, part.cost)
            assert np.array_equal(twin.observation, episode.observation)
        work += part.work
        assert np.isfinite(part.cost).all()
        assert part.cost.min() >= 0.0
        assert 0.0 <= episode.observation.min() <= episode.observation.max() <= 1.0

    in_one = named(name, options | {"epoch": 10**6})
    scores = [static(each, name_of_episode, task.default) for each in (task, in_one)]
    assert scores[0].score == pytest.approx(scores[1].score, rel=1e-9)
    # A core's last cycle retires up to a few more.
    assert work == pytest.approx(scores[1].work.sum(axis=0), abs=8)


@pytest.mark.parametrize("name", ["dram-locality", "dram-channels-2", "cpu-mixture", "moe-bursts"])
def test_hostile_options_are_taken_or_refused(name: str) -> None:
    refused = []
    for option in task_options(name):
        for text in HOSTILE:
            with suppress(ArchGymError):
                task_of(f"{name}:{option}={text}")
                continue
            refused.append((option, text))
    # Any other exception fails the test. No option takes NaN.
    assert {(option, "nan") for option in task_options(name)} <= set(refused)
