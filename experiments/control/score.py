"""Score networks against look-ahead and static settings that `measure.py` has recorded before."""

import argparse
import json
from pathlib import Path

import numpy as np

from archgym.control.comparison import _interval, _p_value
from archgym.control.policies import Network
from archgym.control.tasks import roll, task_of


def main() -> None:
    """Print the saving of each network and of their mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded", type=Path, help="file of `measure.py`")
    parser.add_argument("networks", type=Path, nargs="+")
    options = parser.parse_args()
    recorded = json.loads(options.recorded.read_text())
    task = task_of(recorded["task"])
    for split in dict.fromkeys(row["split"] for row in recorded["rows"]):
        rows = {r["policy"]: np.array(r["scores"]) for r in recorded["rows"] if r["split"] == split}
        fixed, most = rows["hindsight"], 1.0 - rows["look-ahead"] / rows["hindsight"]
        found = []
        for path in options.networks:
            policy, scores = Network.read(path), []
            for name in task.episodes(split)[: len(fixed)]:
                policy.start(task, name)
                scores.append(roll(task, name, policy.act).score)
            saved = 1.0 - np.array(scores) / fixed
            gap = 100.0 * saved.mean() / most.mean()
            print(f"{split} {path.stem}: saved {100.0 * saved.mean():.1f} %, gap {gap:.0f} %")
            found.append(scores)
        ours, rng = np.mean(found, axis=0), np.random.default_rng(0)
        saved = 100.0 * (1.0 - ours / fixed)
        means = saved[rng.integers(len(saved), size=(10_000, len(saved)))].mean(axis=1)
        mean = _interval(float(saved.mean()), means)
        against = {
            name: round(_p_value((scores - ours) / fixed, rng), 4)
            for name, scores in rows.items()
            if name != "look-ahead" and not name.startswith("imitation")
        }
        print(
            f"{split} mean: saved {mean.value:.1f} % ({mean.low:.1f} to {mean.high:.1f}), gap "
            f"{mean.value / most.mean():.0f} %, p {against}"
        )


if __name__ == "__main__":
    main()
