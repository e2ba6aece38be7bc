"""Designs of the default space in BookSim 2 itself, unedited.

    python -m evidence.noc.booksim BOOKSIM ROWS [COUNT]

`BOOKSIM` is the program that `make` leaves in `src` of BookSim 2 (commit 28f4329); `ROWS`
is a .jsonl.gz that is written.
"""

import gzip
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.evaluation.simulator import Workload
from archgym.simulators.noc import NocSimulator
from archgym.simulators.noc.export import booksim_inputs
from archgym.simulators.noc.workloads import LOADS

SEED: Final = 20261202
_LINE: Final = re.compile(
    r"^\s*(Packet latency|Network latency|Hops) average = (\S+)", re.MULTILINE
)


def drawn(count: int) -> Iterator[tuple[str, dict[str, str], dict[str, Any]]]:
    """Yield workloads, options and designs, drawn with a fixed seed."""
    rng = np.random.default_rng(SEED)
    space = NocSimulator().space
    for indices in space.sample(count, rng):
        workload = LOADS[int(rng.integers(len(LOADS)))]
        options = {
            "load": repr(float(rng.choice([0.02, 0.05, 0.1, 0.2]))),
            "seed": str(int(rng.integers(1000))),
        }
        yield workload, options, dict(space.design_at(indices))


def run(
    program: Path, simulator: NocSimulator, indices: np.ndarray, workload: Workload
) -> tuple[dict[str, float], float]:
    """Return averages of a design under a load, none if unstable, and processor time [s]."""
    network, bits = simulator.network(indices)
    files = booksim_inputs(network, simulator.load_of(workload.content, bits))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [str(program.resolve()), "booksim.cfg"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    overall = done.stdout.rpartition("Overall Traffic Statistics")[2]
    found = {name.lower().replace(" ", "_"): float(value) for name, value in _LINE.findall(overall)}
    is_over = "Overall Traffic Statistics" in done.stdout
    return (found if is_over else {}), after.ru_utime - before.ru_utime


def main(program: Path, rows: Path, count: int) -> None:
    """Run designs in BookSim, and write rows."""
    with gzip.open(rows, "wt", encoding="utf-8") as file:
        for workload, options, design in drawn(count):
            simulator = NocSimulator(**options)
            traffic = simulator.workload(workload)
            indices = simulator.space.indices_of(design)
            found, _ = run(program, simulator, indices, traffic)
            row = {"workload": workload, "options": options, "design": design, "booksim": found}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 300)
