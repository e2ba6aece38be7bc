"""What shared links change on published figures of training clusters.

Run `python -m experiments.cluster_published FOLDER` with the folder of references.
"""

import sys
from pathlib import Path

from evidence.cluster.published import published_lines

if __name__ == "__main__":
    folder = Path(sys.argv[1]) / "cluster"
    free, shared = (published_lines(folder, lambda _: None, on) for on in (False, True))
    print(
        "| figure | published | without congestion | shared links | unit |\n|---|---|---|---|---|"
    )
    for one, other in zip(free, shared, strict=True):
        print(
            f"| {one.what} | {one.published:.4g} | {one.ours:.4g} | {other.ours:.4g} | {one.unit} |"
        )
    near = sum(line.error <= line.tolerance for line in shared)
    print(f"\n{near} of {len(shared)} figures are within their tolerance with shared links.")
