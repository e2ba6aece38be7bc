"""Compare policies of control with oracle and static settings, and write the rows as JSON."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.control.comparison import ControlComparison, _interval, _p_value, compare_policies
from archgym.control.policies import POLICY_NAMES, ControlPolicy
from archgym.control.rules.case import policies_of
from archgym.control.tasks import ControlTask, Episode, task_of

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


def beam(task: ControlTask, name: str, width: int) -> float:
    """Return the best score of a search that keeps the `width` cheapest prefixes."""
    kept = [(0.0, 0.0, Episode(task, name))]
    while not kept[0][2].is_over:
        found = []
        for cost, work, episode in kept:
            for action in range(len(task.actions)):
                branch = episode.copy()
                part = branch.step((action,) * branch.run.n_agents)
                found.append((cost + part.cost.sum(), work + part.work.sum(), branch))
            # Branches are large; only the best of all live on.
            found.sort(key=lambda each: each[0] / max(each[1], 1e-9))
            del found[width:]
        kept = found
    return min(cost / work for cost, work, _ in kept)


def proven_bound(task: ControlTask, name: str, n_epochs: int) -> float:
    """Return the least cost over work of the first epochs, of all sequences of actions."""
    best = np.inf
    open_: list[tuple[float, float, Episode]] = [(0.0, 0.0, Episode(task, name))]
    while open_:
        cost, work, episode = open_.pop()
        if episode.number == n_epochs or episode.is_over:
            best = min(best, cost / work)
            continue
        for action in range(len(task.actions)):
            branch = episode.copy()
            part = branch.step((action,) * branch.run.n_agents)
            open_.append((cost + float(part.cost.sum()), work + float(part.work.sum()), branch))
    return float(best)


def picture(comparison: ControlComparison, path: str | Path) -> None:
    """Draw the settings of each policy over one episode, and the cost of each epoch.

    Args:
      comparison: Comparison with its rollouts.
      path: File that ends in .png, .svg or .pdf.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = comparison.rollouts
    labels = comparison.task.labels()
    figure, axes = plt.subplots(
        len(shown) + 1, 1, sharex=True, figsize=(9, 1.5 * len(shown) + 3), layout="constrained"
    )
    for axis, (name, rollout) in zip(axes, shown.items(), strict=False):
        axis.step(range(len(rollout.actions)), rollout.actions, where="mid", linewidth=1)
        used = sorted(set(rollout.actions.ravel().tolist()))
        axis.set_yticks(used, [labels[action] for action in used], fontsize=6)
        axis.set_ylabel(name, fontsize=8)
    for name, rollout in shown.items():
        each = (rollout.cost / np.maximum(rollout.work, 1e-9)).mean(axis=1)
        axes[-1].plot(each, label=name, linewidth=1)
    axes[-1].set_yscale("log")
    axes[-1].set_ylabel(comparison.task.cost, fontsize=8)
    axes[-1].set_xlabel("epoch")
    axes[-1].legend(fontsize=6, ncols=3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _trained(found: ControlComparison, split: str, method: str) -> dict[str, Any]:
    """Return the mean of a method's networks, and its p-values against other policies, paired.

    Each episode counts once, with the mean score of the networks; the test flips signs.
    """
    rows = {row.policy: np.array(row.scores) for row in found.rows if row.split == split}
    nets = [name for name in rows if name.startswith(method)]
    if not nets:
        return {}
    ours = np.mean([rows[name] for name in nets], axis=0)
    fixed, oracle = rows["hindsight"], rows["oracle"]
    saved, most = 1.0 - ours / fixed, 1.0 - oracle / fixed
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
            if not name.startswith(_TRAINED) and name != "oracle"
        },
    }


def measure(name: str, options: argparse.Namespace, out: Path) -> str:
    """Measure one task, write rows and a picture, and return the rows as Markdown."""
    task = task_of(name)
    # Episodes from the first one asked for on; those before it were used in earlier comparisons.
    later = {split: names[options.first :] for split, names in task.splits.items()}
    task = replace(task, splits={**later, "train": task.splits["train"]})
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
            horizons=options.horizons,
        )
    # Settings over time under the best look-ahead, the rule and one trained policy.
    first = [each for each in found.rollouts if each.startswith(_TRAINED)][:1]
    looks = [f"look-ahead-{each}" for each in options.horizons]
    looks.sort(key=lambda each: found.rollouts[each].score)
    shown = (*looks[:1], "hand", *first)
    rollouts = {each: found.rollouts[each] for each in shown if each in found.rollouts}
    picture(replace(found, rollouts=rollouts), out.with_suffix(".png"))
    rows = found.rows
    if not options.horizons:
        # Without look-ahead there is no oracle, and no gap.
        rows = tuple(row for row in rows if row.policy != "oracle")
    made = replace(found, rows=rows).to_json()
    for row in made["rows"] if not options.horizons else ():
        del row["gap_percent"]
    if options.beam:
        for split in options.splits:
            names = task.episodes(split)[: options.episodes]
            made[f"beam-{options.beam}"] = [beam(task, each, options.beam) for each in names]
    means = [_trained(found, each, method) for each in options.splits for method in _TRAINED]
    made["trained"] = list(filter(None, means))
    out.write_text(json.dumps(made, indent=1) + "\n")
    lines = [f"\n{task.doc}\n", f"| {name} | cost | saved % | of the gap % |", "|---|---|---|---|"]
    for row in rows:
        g, s = row.gain_percent, row.gap_percent
        lines.append(
            f"| {row.policy}, {row.split} | {np.mean(row.scores):.3f} | {g.value:.1f} "
            f"({g.low:.1f} to {g.high:.1f}) | {s.value:.0f} ({s.low:.0f} to {s.high:.0f}) |"
        )
    lines += ["", *map(str, made["trained"])]
    if options.bound_epochs:
        n, episode = options.bound_epochs, task.episodes(options.splits[0])[0]
        starts = [found.rollouts[look] for look in looks]
        ours = min(float(each.cost[:n].sum() / each.work[:n].sum()) for each in starts)
        lines.append(f"first {n} epochs: oracle {ours}, least {proven_bound(task, episode, n)}")
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
    parser.add_argument("--bound-epochs", type=int, default=0, help="proven by all sequences")
    parser.add_argument("--beam", type=int, default=0, help="prefixes that a beam search keeps")
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
