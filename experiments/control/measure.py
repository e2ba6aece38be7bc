"""Compare policies of control with oracle and static settings, and write the rows as JSON."""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from archgym.control.comparison import compare_policies, picture
from archgym.control.policies import Network
from archgym.control.rules.case import policies_of
from archgym.control.tasks import task_of


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
    with policies_of(options.policies, task) as policies:
        for policy, name in zip(policies, options.policies, strict=True):
            if isinstance(policy, Network):
                policy.name = Path(name).stem
        found = compare_policies(
            task,
            policies,
            splits=options.splits,
            n_episodes=options.episodes,
            horizons=options.horizons,
            bound_epochs=options.bound_epochs,
        )
    picture(found, options.out.with_suffix(".png"))
    options.out.write_text(json.dumps(found.to_json(), indent=1))
    for row in found.rows:
        g, s = row.gain_percent, row.gap_percent
        print(
            f"{row.split:9} {row.policy:34} {np.mean(row.scores):9.3f} saved {g.value:6.2f} "
            f"[{g.low:6.2f}, {g.high:6.2f}] % gap {s.value:6.1f} [{s.low:6.1f}, {s.high:6.1f}] % "
            f"p {row.p_value:.4f}"
        )
    print(f"bound {found.bound}; {time.process_time() - started:.0f} s of processor time")


if __name__ == "__main__":
    main()
