"""Leave programs out of training in turn: does a guard help on them, and with which slope?

Each program is a task of its own. A network learns all but the programs of one group, and is scored
on these, over the best static settings of each episode in hindsight. None is a held-out program.
"""

import argparse
import time

import numpy as np
from train import put_together

from archgym.control.imitation import fit_costs
from archgym.control.policies import ControlPolicy, hindsight_score, policy_of
from archgym.control.tasks import ControlTask, roll, static, task_of

# Programs that are variants of each other are left out together.
GROUPS = (
    ("hash-join", "hash-join-small"), ("pointer-chase", "pointer-chase-small"), ("sort",),
    ("graph-search", "b-tree"), ("sparse-matrix", "matrix-product"), ("k-mer-count", "digest"),
    ("interpreter", "decompress", "rules"),
)  # fmt: skip
SLOPES = (0.0, 0.1, 0.3, 1.0)


def saved(task: ControlTask, policy: ControlPolicy, names: tuple[str, ...]) -> float:
    """Return the share of the best static cost that a policy saves, in percent."""
    found = []
    for name in names:
        policy.start(task, name)
        score = roll(task, name, policy.act).score
        found.append(100.0 * (1.0 - score / hindsight_score(task, name)))
    return float(np.mean(found))


def main() -> None:
    """Print a line for each program, and the mean of groups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="cpu-narrow:epoch=1250")
    parser.add_argument("--horizon", type=int, default=8)
    parser.add_argument("--episodes", type=int, default=3, help="of training, for each program")
    parser.add_argument("--instructions", type=int, default=60_000, help="of an episode")
    options = parser.parse_args()
    started = time.process_time()
    rng, tasks, known = np.random.default_rng(0), {}, {}
    for program in (each for group in GROUPS for each in group):
        name = f"{options.task},programs={program},instructions={options.instructions}"
        tasks[program] = task = task_of(name)
        names = task.episodes("train")[: options.episodes]
        parts = [put_together(task, name, options.horizon, rng) for name in names]
        known[program] = [np.concatenate(each) for each in zip(*parts, strict=True)]
    rows = []
    for group in GROUPS:
        rest = [known[program] for program in known if program not in group]
        seen, costs = (np.concatenate(each) for each in zip(*rest, strict=True))
        network = fit_costs(options.task, seen, costs, guarded=True)
        guard = network.guard
        assert guard is not None
        for program in group:
            task = tasks[program]
            names = task.episodes("held-out")[:2]
            row = []
            for slope in SLOPES:
                guard.slope = slope
                row.append(saved(task, network, names))
            fixed = [static(task, n, guard.action).score / hindsight_score(task, n) for n in names]
            row.append(100.0 * (1.0 - float(np.mean(fixed))))
            row += [saved(task, policy_of(each, task), names) for each in ("hand", "feedback")]
            rows.append(row)
            print(program, *(f"{each:.1f}" for each in row), flush=True)
    print("mean", *(f"{each:.1f}" for each in np.mean(rows, axis=0)))
    print("worst", *(f"{each:.1f}" for each in np.min(rows, axis=0)))
    print(f"slopes {SLOPES}, the guard's action, hand, feedback")
    print(f"{time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
