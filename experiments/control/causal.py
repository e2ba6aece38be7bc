"""Causal teams: plans of the future are imitated from what each core can see, and measured.

    python experiments/control/causal.py --task cpu-cores-2 --out causal.jsonl

A teacher plans the settings of parts of training episodes, each tried to the end; see `planned` of
`team.py`. Networks learn what each action of a core cost there, from its own counters (separate),
from those of all cores (central), and, to see what the teacher knows, with what no counter shows:
work that is left, and counters of epochs to come. How much an action has to promise is chosen on
training episodes that were kept back. All are then measured once, on the other splits.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from team import planned

from archgym.control.comparison import _interval, _p_value
from archgym.control.imitation import fitted
from archgym.control.policies import Network, policy_of
from archgym.control.tasks import ControlTask, Episode, hindsight, roll, static, task_of

# chosen: what a core shows is noisy in an epoch; phases take some 50 of them.
_DECAY: Final = 0.8
_AHEAD: Final = 16
# chosen: percent of an episode's cost; a part is an eighth of it.
_WORST: Final = 5.0
_MARGINS: Final = (0.0, 0.1, 0.2, 0.5, 1.0)
_SEES: Final[dict[str, tuple[str, ...]]] = {
    "separate": ("own",),
    "central": ("own", "others"),
    "central, work left": ("own", "others", "left"),
    "central, future": ("own", "others", "future"),
    "central, work left and future": ("own", "others", "left", "future"),
}
Seen = dict[str, np.ndarray]


@cache
def _alone(task: ControlTask, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return counters and work so far of each epoch and core under the default's settings."""
    shown, work = [], []
    episode = Episode(task, name)
    while not episode.is_over:
        work.append(episode.step((task.default,) * len(task.agents)).work)
        shown.append(episode.observation[:, : len(episode.run.counters)])
    return np.array(shown), np.cumsum(work, axis=0)


@final
class Watcher:
    """What can be seen of two cores as they run, and what cannot."""

    def __init__(self, task: ControlTask, name: str) -> None:
        """Look ahead, for what cannot be seen."""
        self._shown, self._work = _alone(task, name)
        self._at = 0
        self._mean = self._done = np.zeros(0)

    def see(self, episode: Episode) -> Seen:
        """Return parts of an observation, each (n_agents, n_inputs); call it every epoch.

        `own` are counters and their decaying mean, `others` those of the other core, `left` the
        share of work that is left, and `future` counters that follow, under default settings.
        """
        seen, n, last = episode.observation, len(episode.run.counters), episode.last
        assert last is not None
        if episode.number == 1:
            self._mean, self._done = seen[:, :n], last.work
        elif episode.number != self._at:
            self._mean = _DECAY * self._mean + (1.0 - _DECAY) * seen[:, :n]
            self._done = self._done + last.work
        self._at = episode.number
        own = np.hstack([seen, self._mean])
        left = 1.0 - self._done / self._work[-1]
        # Each core as it goes on from the work that it has done, twice as far each time.
        ahead = []
        for core, done in enumerate(self._done):
            first = int(np.searchsorted(self._work[:, core], done, "right"))
            ends = [first, *(first + _AHEAD * k for k in (1, 2, 4))]
            rows = np.vstack([self._shown[:, core], np.zeros((_AHEAD * 5 + 999, n))])
            ahead.append(np.concatenate([rows[a:b].mean(axis=0) for a, b in pairwise(ends)]))
        return {
            "own": own,
            "others": own[::-1],
            "left": np.column_stack([left, left[::-1]]),
            "future": np.array([[*ahead[0], *ahead[1]], [*ahead[1], *ahead[0]]]),
        }


def _act(
    network: Network | None,
    margin: float,
    joint: tuple[int, ...],
    sees: Sequence[str],
    watcher: Watcher,
    episode: Episode,
) -> tuple[int, ...]:
    """Return what a network prefers by more than a margin, else the static settings."""
    if network is None or episode.last is None:
        return joint
    seen = watcher.see(episode)
    values = network.preferences(np.hstack([seen[each] for each in sees]))
    values[np.arange(len(values)), list(joint)] += margin
    return tuple(np.argmax(values, axis=1).tolist())


def states(
    task: ControlTask, row: dict[str, Any], policies: Sequence[Callable[..., tuple[int, ...]]]
) -> list[tuple[Seen, np.ndarray]]:
    """Return what is seen where policies act, and what actions cost in the plan at that time."""
    watcher, found = Watcher(task, row["episode"]), []
    costs = 100.0 * np.array(row["costs"]) / row["static"]
    costs = np.minimum(costs - costs.min(axis=2, keepdims=True), _WORST)

    def act(choose: Callable[..., Any], episode: Episode) -> tuple[int, ...]:
        if episode.last is not None:
            turn = int(np.searchsorted(row["starts"], episode.number, "right")) - 1
            # A plan may end before its last parts.
            found.append((watcher.see(episode), costs[min(turn, len(costs) - 1)]))
        return tuple(choose(watcher, episode))

    for choose in policies:
        roll(task, row["episode"], partial(act, choose))
    return found


def _played(plan: list[tuple[int, ...]], starts: list[int], _: Watcher, episode: Episode) -> Any:
    return plan[int(np.searchsorted(starts, episode.number, "right")) - 1]


def taught(
    task: ControlTask, row: dict[str, Any], joint: tuple[int, ...]
) -> list[tuple[Seen, np.ndarray]]:
    """Return `states` under the plan, static settings, and two plans at random."""
    starts, rng = row["starts"], np.random.default_rng(0)
    plans = [row["plan"], [joint] * len(starts)]
    for _ in range(2):
        plans.append(rng.integers(len(task.actions), size=(len(starts), len(joint))).tolist())
    return states(task, row, [partial(_played, plan, starts) for plan in plans])


def gains(
    task: ControlTask, names: Sequence[str], act: Callable[..., Any], fixed: Sequence[float]
) -> np.ndarray:
    """Return the share of the cost under static settings that a policy saves, in percent."""
    scores = []
    for name in names:
        scores.append(roll(task, name, partial(act, Watcher(task, name))).score)
    return 100.0 * (1.0 - np.array(scores) / np.array(fixed))


def main() -> None:
    """Plan, learn and measure; plans in the file are taken as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="cpu-cores-2")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=8, help="parts of an episode")
    parser.add_argument("--train", type=int, default=24, help="episodes of training")
    parser.add_argument("--kept", type=int, default=6, help="of these, kept back for the margin")
    parser.add_argument("--episodes", type=int, default=20, help="episodes of each split")
    parser.add_argument("--planned", type=int, default=6, help="of these, planned by the teacher")
    parser.add_argument("--splits", nargs="+", default=["held-out", "programs"])
    parser.add_argument("--sees", nargs="+", choices=_SEES, default=list(_SEES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    task, path = task_of(options.task), options.out
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    plans = {row["episode"]: row for row in rows if "plan" in row}
    for name in task.episodes("train")[: options.train]:
        if name not in plans:
            plans[name] = planned(task, name, options.turns, together=False)
            _append(path, plans[name])
    names = task.episodes("train")[: options.train]
    learned, kept = names[: -options.kept], names[-options.kept :]
    joint = _best_joint(task, learned)
    known = {row["episode"]: row["fixed"] for row in rows if "fixed" in row}
    fixed: dict[str, list[float]] = {split: [] for split in options.splits}
    for split, best in fixed.items():
        for name in task.episodes(split)[: options.episodes]:
            if name not in known:
                pair = hindsight(task, name)
                _append(path, {"episode": name, "joint": pair[0], "fixed": pair[1]})
                known[name] = pair[1]
            best.append(known[name])
    rest = [plans[name]["static"] for name in kept]
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for split, best in fixed.items():
        each = []
        for name, cost in zip(task.episodes(split), best[: options.planned], strict=False):
            if name not in plans:
                plans[name] = planned(task, name, options.turns, together=False)
                _append(path, plans[name])
            own = plans[name]["static"] * (1.0 - plans[name]["saved_percent"] / 100.0)
            each.append(100.0 * (1.0 - own / cost))
        if each:
            found.setdefault("teacher", {})[split] = [np.array(each)]
        for policy in ("hand", "feedback", "dueling"):
            rule = policy_of(policy, task)
            each = gains(
                task, task.episodes(split)[: len(best)], lambda _, e, r=rule: r.act(e), best
            )
            found.setdefault(policy, {}).setdefault(split, []).append(each)
        still = partial(_act, None, 0.0, joint, ("own",))
        each = gains(task, task.episodes(split)[: len(best)], still, best)
        found.setdefault("best equal static of training", {}).setdefault(split, []).append(each)
    start = [pair for name in learned for pair in taught(task, plans[name], joint)]
    for name in options.sees:
        sees = _SEES[name]
        started = time.process_time()
        for seed in options.seeds:
            # Once on the teacher's states, then on the network's own too.
            network = _fit(task, start, sees, seed)
            own = [partial(_act, network, 0.0, joint, sees)]
            more = [pair for n in learned for pair in states(task, plans[n], own)]
            network = _fit(task, start + more, sees, seed)
            tried = [gains(task, kept, partial(_act, network, m, joint, sees), rest).mean()
                     for m in _MARGINS]  # fmt: skip
            act = partial(_act, network, _MARGINS[int(np.argmax(tried))], joint, sees)
            for split, best in fixed.items():
                each = gains(task, task.episodes(split)[: len(best)], act, best)
                found.setdefault(name, {}).setdefault(split, []).append(each)
            means = {split: round(own[-1].mean(), 2) for split, own in found[name].items()}
            print(
                name, seed, "on training episodes kept back:", np.round(tried, 2), means, flush=True
            )
        print(f"{name}: {time.process_time() - started:.0f} s", flush=True)
    for policy, splits in found.items():
        for split, each in splits.items():
            saved, rng = np.mean(each, axis=0), np.random.default_rng(0)
            means = saved[rng.integers(len(saved), size=(10_000, len(saved)))].mean(axis=1)
            mean = _interval(float(saved.mean()), means)
            _append(path, {"task": task.name, "policy": policy, "split": split,
                "saved_percent": round(mean.value, 2), "low": round(mean.low, 2),
                "high": round(mean.high, 2), "p": round(_p_value(saved, rng), 4),
                "seeds": [round(float(one.mean()), 2) for one in each]})  # fmt: skip


def _fit(
    task: ControlTask, pairs: Sequence[tuple[Seen, np.ndarray]], sees: Sequence[str], seed: int
) -> Network:
    seen = np.concatenate([np.hstack([each[part] for part in sees]) for each, _ in pairs])
    return fitted(task.name, seen, np.concatenate([costs for _, costs in pairs]), seed)


def _best_joint(task: ControlTask, names: Sequence[str]) -> tuple[int, ...]:
    """Return the joint static settings of least mean cost, by settings that all share."""
    rates = [[static(task, n, place).score for n in names] for place in range(len(task.actions))]
    shares = np.array(rates) / np.array(rates).min(axis=0)
    return (int(shares.mean(axis=1).argmin()),) * len(task.agents)


def _append(path: Path, row: dict[str, Any]) -> None:
    print({key: value for key, value in row.items() if key != "costs"}, flush=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
