"""Compare policies of control with look-ahead and static settings, and write the rows as JSON."""

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.control.comparison import (
    ControlComparison,
    _interval,
    _p_value,
    compare_policies,
    picture,
)
from archgym.control.policies import POLICY_NAMES, ControlPolicy
from archgym.control.rules.case import policies_of
from archgym.control.tasks import ControlTask, Episode, hindsight_name, task_of

_TRAINED = ("imitation-", "ppo-", "dqn-", "recurrent-")


@final
class Recurrent(ControlPolicy):
    """Recurrent PPO of sb3-contrib in a file, whose memory starts again with each episode."""

    def __init__(self, path: str) -> None:
        """Load the model."""
        from sb3_contrib import RecurrentPPO

        self.name = Path(path).stem
        self._model = RecurrentPPO.load(path, device="cpu")
        self._memory: Any = None

    def start(self, task: ControlTask, episode: str) -> None:
        """Forget the last episode."""
        self._memory = None

    def act(self, episode: Episode) -> tuple[int, ...]:
        """Return the most probable action."""
        starts = np.full(episode.run.n_agents, self._memory is None)
        actions, self._memory = self._model.predict(
            episode.observation, self._memory, starts, deterministic=True
        )
        return tuple(actions.tolist())


def _trained(found: ControlComparison, split: str, method: str) -> dict[str, Any]:
    """Return the mean of a method's networks, and its p-values against other policies, paired.

    Each episode counts once, with the mean score of the networks; the test flips signs.
    """
    rows = {row.policy: np.array(row.scores) for row in found.rows if row.split == split}
    nets = [name for name in rows if name.startswith(method)]
    if not nets:
        return {}
    ours = np.mean([rows[name] for name in nets], axis=0)
    fixed, ahead = rows[hindsight_name(found.task)], rows["look-ahead"]
    saved, most = 1.0 - ours / fixed, 1.0 - ahead / fixed
    rng = np.random.default_rng(0)
    means = saved[rng.integers(len(saved), size=(10_000, len(saved)))].mean(axis=1)
    interval = _interval(float(saved.mean()), means)
    return {
        "split": split,
        "method": method.removesuffix("-"),
        "networks": len(nets),
        "saved_percent": 100.0 * interval.value,
        "saved_low_high": [100.0 * interval.low, 100.0 * interval.high],
        "gap_percent": 100.0 * float(saved.mean() / most.mean()) if most.any() else None,
        "p_against": {
            name: _p_value((scores - ours) / fixed, rng)
            for name, scores in rows.items()
            if not name.startswith(_TRAINED) and name != "look-ahead"
        },
    }


def _mean_text(mean: Mapping[str, Any]) -> str:
    """Return the mean of several networks in words."""
    low, high = mean["saved_low_high"]
    gap = mean["gap_percent"]
    compared = ", ".join(f"{p:.4f} against {name}" for name, p in mean["p_against"].items())
    return (
        f"{mean['method']}, mean of {mean['networks']} networks, {mean['split']}: saved "
        f"{mean['saved_percent']:.1f} % ({low:.1f} to {high:.1f})"
        + ("" if gap is None else f", {gap:.0f} % of the gap")
        + f"; p {compared}"
    )


def measure(name: str, options: argparse.Namespace, out: Path) -> str:
    """Measure one task, write rows and a picture, and return the rows as Markdown."""
    task = task_of(name)
    # Episodes from the first one asked for on; those before it were used in earlier comparisons.
    later = {split: names[options.first :] for split, names in task.splits.items()}
    task = replace(task, splits={**later, "train": task.splits["train"]})
    # In the work of default epochs, so that shorter epochs see as much.
    ahead = [number * task.horizons[0] for number in options.horizons]
    known = [*POLICY_NAMES, *task.by_counters]
    # A task with options takes the networks of the task without.
    trained = f"*-{name.partition(':')[0]}-[0-9]*"
    found_networks = sorted(options.networks.glob(trained)) if options.networks else []
    given = [*options.policies, *map(str, found_networks)]
    named = [each for each in given if not each.endswith(".zip")]
    models = [Recurrent(each) for each in given if each.endswith(".zip")]
    with policies_of(named, task) as policies:
        for policy, each in zip(policies, named, strict=True):
            if each not in known:
                policy.name = Path(each).stem
        found = compare_policies(
            task,
            [*policies, *models],
            splits=options.splits,
            n_episodes=options.episodes,
            horizons=ahead,
            bound_epochs=options.bound_epochs,
        )
    # Settings over time under the best look-ahead, the rule and one trained policy.
    first = [each for each in found.rollouts if each.startswith(_TRAINED)][:1]
    looks = [f"look-ahead-{each}" for each in ahead]
    looks.sort(key=lambda each: found.rollouts[each].score)
    shown = (*looks[:1], "hand", *first)
    rollouts = {each: found.rollouts[each] for each in shown if each in found.rollouts}
    picture(replace(found, rollouts=rollouts), out.with_suffix(".png"))
    rows = found.rows
    if not options.horizons:
        # Without look-ahead there is no gap.
        rows = tuple(row for row in rows if row.policy != "look-ahead")
    made = replace(found, rows=rows).to_json()
    for row in made["rows"] if not options.horizons else ():
        del row["gap_percent"]
    means = [_trained(found, each, method) for each in options.splits for method in _TRAINED]
    made["trained"] = list(filter(None, means))
    out.write_text(json.dumps(made, indent=1) + "\n")
    lines = [f"\n{task.doc}\n", f"| {name} | cost | saved % | of the gap % |", "|---|---|---|---|"]
    for row in rows:
        g, s = row.gain_percent, row.gap_percent
        gap = "–" if np.isnan(s.value) else f"{s.value:.0f} ({s.low:.0f} to {s.high:.0f})"
        lines.append(
            f"| {row.policy}, {row.split} | {np.mean(row.scores):.3f} | {g.value:.1f} "
            f"({g.low:.1f} to {g.high:.1f}) | {gap} |"
        )
    lines += ["", *map(_mean_text, made["trained"])]
    if found.bound:
        lines.append(f"bound of {options.bound_epochs} epochs: {found.bound}")
    return "\n".join(lines)


def main() -> None:
    """Measure tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policies", nargs="*", default=["hand", "feedback", "ducb", "best-static"])
    parser.add_argument("--task", nargs="+", default=["dram-locality"])
    parser.add_argument("--networks", type=Path, help="folder with METHOD-TASK-SEED.npz or .zip")
    parser.add_argument("--splits", nargs="+", default=["held-out", "programs"])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--horizons", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--first", type=int, default=0, help="episode of a split to begin with")
    parser.add_argument("--bound-epochs", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, required=True, help="file .json; of several tasks, their folder"
    )
    options = parser.parse_args()
    for name in options.task:
        started, is_one = time.process_time(), len(options.task) == 1
        out = options.out if is_one else options.out / f"{name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        print(measure(name, options, out))
        print(f"{time.process_time() - started:.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
