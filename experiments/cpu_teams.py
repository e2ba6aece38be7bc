"""Tables of the study of teams on the CPU's space (experiments/multi-agent.md).

    python experiments/cpu_teams.py runs/cpu-teams [--out experiments/data/cpu-teams.csv]

Reads the runs of sweeps/cpu-teams.yaml that have finished, writes the best reward after each budget
to a file, and prints medians and ranges over seeds, with a permutation test of the team against
each other agent over all tasks and seeds that both have.
"""

import argparse
import csv
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np

from archgym.studies.snapshot import read_study

BUDGETS = (50, 100, 200, 500, 1000)
AGENTS = ("team", "central", "single", "genetic", "extra_trees", "random")
DRAWS = 20_000


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the best reward after each budget of every finished run."""
    rows = []
    for path in sorted(folder.glob("*/*/seed-*")):
        log = read_study(path)
        reward = log.records.reward[log.is_evaluation]
        if log.status != "finished":
            continue
        best = np.maximum.accumulate(reward)
        after = {f"after_{n}": f"{best[min(n, len(best)) - 1]:.5f}" for n in BUDGETS}
        task, agent, seed = path.parts[-3:]
        rows.append({"task": task, "agent": agent, "seed": seed[5:], "n": str(len(best)), **after})
    return rows


def permutation_p(differences: np.ndarray) -> float:
    """Return the two-sided probability of a mean difference as large by chance of its signs."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(DRAWS, len(differences)))
    drawn = np.abs((signs * differences).mean(axis=1))
    return float((1 + (drawn >= abs(differences.mean()) - 1e-12).sum()) / (1 + DRAWS))


def main() -> None:
    """Write the data and print the tables."""
    parser = argparse.ArgumentParser(description="Tables of teams on the CPU's space.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = rows_of(given.folder)
    if given.out:
        with given.out.open("w") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
    for row in rows:
        after = [float(row[f"after_{n}"]) for n in BUDGETS]
        found[row["task"], row["agent"]][row["seed"]] = after
    for task in dict.fromkeys(task for task, _ in found):
        print(f"\n{task}\n")
        print(
            "| agent | seeds | " + " | ".join(map(str, BUDGETS)) + " |\n|---" * 1 + "|---" * 6 + "|"
        )
        for agent in AGENTS:
            runs = list(found.get((task, agent), {}).values())
            if not runs:
                continue
            cells = [
                f"{statistics.median(each):.3f} ({min(each):.3f}–{max(each):.3f})"
                for each in zip(*runs, strict=True)
            ]
            print(f"| {agent} | {len(runs)} | " + " | ".join(cells) + " |")
    print()
    for other in AGENTS[1:]:
        pairs = [
            (ours[seed], theirs[seed])
            for (task, agent), ours in found.items()
            if agent == "team"
            for theirs in [found.get((task, other), {})]
            for seed in ours
            if seed in theirs
        ]
        if pairs:
            tests = [
                permutation_p(np.array([a[k] - b[k] for a, b in pairs]))
                for k in range(len(BUDGETS))
            ]
            shown = ", ".join(f"{n}: {p:.3f}" for n, p in zip(BUDGETS, tests, strict=True))
            print(f"team against {other}, {len(pairs)} pairs, p after {shown}")


if __name__ == "__main__":
    main()
