"""Compare policies of control with oracle and static settings, and write the rows as JSON."""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.control.comparison import ControlComparison, _p_value, compare_policies, picture
from archgym.control.policies import ControlPolicy, Network
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
    return {
        "split": split,
        "method": method.removesuffix("-"),
        "networks": len(nets),
        "saved_percent": 100.0 * float(saved.mean()),
        "gap_percent": 100.0 * float(saved.mean() / most.mean()),
        "p_against": {
            name: _p_value((scores - ours) / fixed, rng)
            for name, scores in rows.items()
            if not name.startswith(_TRAINED) and name != "oracle"
        },
    }


def main() -> None:
    """Measure one task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policies", nargs="+")
    parser.add_argument("--task", default="dram-locality")
    parser.add_argument("--splits", nargs="+", default=["held-out", "programs"])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--horizons", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--bound-epochs", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    task = task_of(options.task)
    started = time.process_time()
    models = [Recurrent(name) for name in options.policies if name.endswith(".zip")]
    named = [name for name in options.policies if not name.endswith(".zip")]
    with policies_of(named, task) as policies:
        for policy, name in zip(policies, named, strict=True):
            if isinstance(policy, Network):
                policy.name = Path(name).stem
        found = compare_policies(
            task,
            [*policies, *models],
            splits=options.splits,
            n_episodes=options.episodes,
            horizons=options.horizons,
            bound_epochs=options.bound_epochs,
        )
    # Settings over time under oracle, rule and one trained policy.
    trained = [name for name in found.rollouts if name.startswith(_TRAINED)][:1]
    shown = (f"look-ahead-{options.horizons[-1]}", "hand", *trained)
    rollouts = {name: found.rollouts[name] for name in shown if name in found.rollouts}
    picture(replace(found, rollouts=rollouts), options.out.with_suffix(".png"))
    made = found.to_json()
    made["trained"] = [
        _trained(found, each, method) for each in options.splits for method in _TRAINED
    ]
    options.out.write_text(json.dumps(made, indent=1) + "\n")
    for row in found.rows:
        g, s = row.gain_percent, row.gap_percent
        print(
            f"{row.split:9} {row.policy:34} {np.mean(row.scores):9.3f} saved {g.value:6.2f} "
            f"[{g.low:6.2f}, {g.high:6.2f}] % gap {s.value:6.1f} [{s.low:6.1f}, {s.high:6.1f}] % "
            f"p {row.p_value:.4f}"
        )
    for trained in filter(None, made["trained"]):
        print(trained)
    print(f"bound {found.bound}; {time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
