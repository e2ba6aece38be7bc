"""Cores that share a channel: price of not coordinating, and teams of learners, as JSON lines.

`yardsticks` runs statics and look-aheads on held-out episodes. `search` plans joint settings of
parts of an episode by running each of them to the end. `learn` trains PPO at equal numbers
of epochs: one network for each core's agent with the team's or the core's own reward, or one agent
that sees and controls all cores. `table` prints shares of cost saved against the best joint static
settings in hindsight, with intervals over episodes.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from archgym.control.comparison import _interval
from archgym.control.policies import LookAhead, policy_of
from archgym.control.tasks import (
    ControlTask,
    Episode,
    hindsight,
    joint_actions,
    roll,
    static,
    task_of,
)
from archgym.envs import Sb3VecEnv
from archgym.envs.control_team import ParallelControlEnv


def score(task: ControlTask, name: str, joint: tuple[int, ...]) -> float:
    """Return the cost of joint static settings."""
    return roll(task, name, lambda episode: joint).score


def _planned(plan: list[tuple[int, ...]], starts: list[int], episode: Episode) -> tuple[int, ...]:
    """Return the joint settings that a plan has for the next epoch."""
    return plan[int(np.searchsorted(starts, episode.number, "right")) - 1]


def planned(task: ControlTask, name: str, turns: int, together: bool) -> dict[str, Any]:
    """Return a plan of settings for some equal parts of an episode, by running each to the end.

    The plan begins with the best static settings. For one part after the other settings are run in
    it, and the plan to the end of the episode. The best ones stay. This is repeated until a pass
    gains less than 0.01 %.

    Args:
      task: The task.
      name: The episode.
      turns: Parts.
      together: True to try all joint settings in a part, and as static ones. False to try those of
        one agent after the other, in one pass from the best settings that all share.

    Returns:
      A row, with the score of each action of each agent in each part, `costs`, if not `together`.
    """
    started, places = time.process_time(), range(len(task.actions))
    if together:
        best, fixed = hindsight(task, name)
    else:
        shared = [static(task, name, place).score for place in places]
        best, fixed = (int(np.argmin(shared)),) * len(task.agents), min(shared)
    length = len(roll(task, name, lambda episode: best).cost)
    starts = [length * turn // turns for turn in range(turns)]
    plan, branch, passes, costs = [best] * turns, None, [fixed], []
    while len(passes) < 2 or (together and passes[-2] - passes[-1] > 1e-4 * fixed):
        episode = Episode(task, name)
        spent, done = np.zeros(len(best)), np.zeros(len(best))
        score_now = passes[-1]
        while not episode.is_over:
            if episode.number in starts:
                turn, costs_now = starts.index(episode.number), []
                for agent in (None,) if together else range(len(best)):
                    old = plan[turn]
                    tried = [(*old[:agent], place, *old[agent + 1 :]) for place in places] if (
                        agent is not None) else joint_actions(task)  # fmt: skip
                    found = {}
                    for joint in tried:
                        changed = [*plan[:turn], joint, *plan[turn + 1 :]]
                        branch = episode.copy(branch)
                        rest = roll(task, "", partial(_planned, changed, starts), branch)
                        cost, work = spent + rest.cost.sum(axis=0), done + rest.work.sum(axis=0)
                        found[joint] = float((cost / work).mean())
                    # Of equal ones the present one.
                    plan[turn] = min(found, key=lambda j: (found[j], j != old))
                    score_now = found[plan[turn]]
                    costs_now.append([round(each, 4) for each in found.values()])
                costs.append(costs_now)
            part = episode.step(_planned(plan, starts, episode))
            spent, done = spent + part.cost, done + part.work
        passes.append(score_now)
    saved = [100.0 * (1.0 - score / fixed) for score in passes[1:]]
    row = {"episode": name, "static": fixed, "passes_percent": saved, "plan": plan}
    row |= {"saved_percent": saved[-1], "epochs": episode.number}
    row |= {} if together else {"costs": costs, "starts": starts}
    return {**row, "s": round(time.process_time() - started)}


def search(options: argparse.Namespace) -> None:
    """Plan joint settings of held-out episodes, one line each; see `planned`."""
    task = task_of(f"cpu-cores-{options.cores}")
    for number in range(options.first, options.first + options.episodes):
        _append(options.out, planned(task, f"held-out-{number}", options.turns, together=True))
    rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    for key, gains in (
        ("one pass", [row["passes_percent"][0] for row in rows]),
        ("all passes", [row["saved_percent"] for row in rows]),
    ):
        saved = np.array(gains)
        means = saved[np.random.default_rng(0).integers(len(saved), size=(10_000, len(saved)))]
        each = _interval(float(saved.mean()), means.mean(axis=1))
        print(f"{key}: saved {each.value:.1f} % ({each.low:.1f} to {each.high:.1f}) in {len(rows)}")


def yardsticks(options: argparse.Namespace) -> None:
    """Measure statics, rules and look-aheads, one line for each episode."""
    task = task_of(f"cpu-cores-{options.cores}")
    for number in range(options.first, options.first + options.episodes):
        started, name = time.process_time(), f"held-out-{number}"
        joint, fixed = hindsight(task, name)
        assert task.alone is not None
        alone = task.alone(name)
        found: dict[str, Any] = {"joint-static": fixed, "alone-best": score(task, name, alone)}
        for policy in (
            *(policy_of(each, task) for each in ("best-static", "hand", "feedback", "ducb")),
            *(LookAhead(h, each) for h in options.horizons for each in (True, False)),
        ):
            policy.start(task, name)
            found[policy.name] = roll(task, name, policy.act).score
        seconds = round(time.process_time() - started)
        row = {"episode": name, "joint": joint, "alone": alone, "scores": found}
        _append(options.out, {**row, "seconds": seconds})


class Single(gymnasium.Env[np.ndarray, np.ndarray]):
    """One agent that sees and controls all cores, with the team's reward."""

    def __init__(self, cores: int) -> None:
        """Wrap the team."""
        self._team = ParallelControlEnv(f"cpu-cores-{cores}", rewards="team")
        self.observation_space = self._team.state_space
        n = self._team.action_space("core_0").n  # type: ignore[attr-defined]
        self.action_space = spaces.MultiDiscrete([n] * cores)

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        self._team.reset(seed, options)
        return self._team.state(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Run an epoch."""
        names = self._team.agents
        _, rewards, over, _, _ = self._team.step(dict(zip(names, action.tolist(), strict=True)))
        return self._team.state(), rewards[names[0]], over[names[0]], False, {}


def learn(options: argparse.Namespace) -> None:
    """Train in each way with each seed, and measure on held-out episodes."""
    for seed in options.seeds:
        for way in options.ways:
            _learn(options, way, seed)


def _learn(options: argparse.Namespace, way: str, seed: int) -> None:
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    torch.set_num_threads(1)
    cores, started = options.cores, time.process_time()

    is_single, n = way == "single", 4
    if is_single:
        env: Any = DummyVecEnv([lambda: Single(cores)] * n)
    else:
        # One network for all cores, a row for each core of each episode.
        env = Sb3VecEnv(task_of(f"cpu-cores-{cores}"), n, team=way == "team")
    model = PPO(
        "MlpPolicy", env, n_steps=64, batch_size=128, n_epochs=6, gamma=0.8, gae_lambda=0.9,
        ent_coef=0.01, learning_rate=1e-3, policy_kwargs={"net_arch": [64, 64]},
        seed=seed, device="cpu",
    )  # fmt: skip
    model.learn(options.epochs * (1 if is_single else cores))
    task, scores = task_of(f"cpu-cores-{cores}"), {}
    for number in range(options.first, options.first + options.episodes):
        name = f"held-out-{number}"

        def act(episode: Any) -> tuple[int, ...]:
            seen = episode.observation
            chosen = model.predict(seen.ravel() if is_single else seen, deterministic=True)[0]
            return tuple(int(each) for each in chosen)

        scores[name] = roll(task, name, act).score
    seconds = round(time.process_time() - started)
    _append(options.out, {"way": way, "seed": seed, "epochs": options.epochs,
        "scores": scores, "seconds": seconds})  # fmt: skip


def _append(path: Path, row: dict[str, Any]) -> None:
    print(row, flush=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table(options: argparse.Namespace) -> None:
    """Print the mean saving of each policy, with 95 % intervals over episodes."""
    rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    fixed = {row["episode"]: row["scores"]["joint-static"] for row in rows if "joint" in row}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if "joint" in row:
            for policy, value in row["scores"].items():
                found.setdefault(policy, {}).setdefault(row["episode"], []).append(value)
        else:
            for episode, value in row["scores"].items():
                found.setdefault(f"ppo-{row['way']}", {}).setdefault(episode, []).append(value)
    rng = np.random.default_rng(0)
    for policy, scores in found.items():
        saved = np.array([100 * (1 - np.mean(scores[e]) / fixed[e]) for e in fixed if e in scores])
        means = saved[rng.integers(len(saved), size=(10_000, len(saved)))].mean(axis=1)
        each = _interval(float(saved.mean()), means)
        print(
            f"{policy:14} saved {each.value:6.1f} % ({each.low:.1f} to {each.high:.1f}), "
            f"{len(saved)} episodes, {len(next(iter(scores.values())))} seeds"
        )


def main() -> None:
    """Run one of the four."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("yardsticks", "search", "learn", "table"))
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=4)
    ways = ("team", "own", "single")
    parser.add_argument("--ways", choices=ways, nargs="+", default=ways)
    parser.add_argument(
        "--horizons", type=int, nargs="*", default=[], help="of look-ahead [instructions]"
    )
    parser.add_argument("--turns", type=int, default=6, help="epochs that choose in `search`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=8_000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    {"yardsticks": yardsticks, "search": search, "learn": learn, "table": table}[options.what](
        options
    )


if __name__ == "__main__":
    main()
