"""Speed and memory of control: epochs/s of each kind of run, and the share of its kernel.

Run it as `python benchmarks/control.py [--requests N] [--instructions N]`. A trace of so many
requests, and one of so many instructions, are written, read once, and played in one episode. Times
are CPU times of this process.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from archgym.control.tasks import Episode, task_of
from archgym.simulators.cpu.kernel import core
from archgym.simulators.dram.dramsys.kernel import stepping
from archgym.traces.instructions.generators import generate
from archgym.traces.instructions.records import write_records


def main() -> None:
    """Print a row for each kind of run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--instructions", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"{'run':44}{'begin s':>9}{'epochs/s':>10}{'kernel %':>10}{'other us':>10}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        requests, program = Path(folder) / "long.stl", Path(folder) / "long.champsimtrace"
        lines = np.random.default_rng(0).integers(2**23, size=options.requests)
        lines = np.where(np.arange(options.requests) // 3000 % 2, lines, np.arange(len(lines)))
        with requests.open("w") as file:
            file.writelines(
                f"{14 * i}: read 0x{64 * (at % 2**23):X}\n" for i, at in enumerate(lines)
            )
        names = ("sort", "hash-join", "stencil", "b-tree")
        each = options.instructions // len(names) + 10_000
        write_records(program, np.concatenate([generate(name, each) for name in names]))
        timed = Timed(stepping, "_advance")
        play("dram-locality", "train-0", timed)  # compiles
        play("dram-locality", "train-1", timed)
        play(f"dram-locality:requests={options.requests},unseen={requests}", "programs-0", timed)
        timed = Timed(core, "advance")
        play("cpu-mixture", "train-0", timed)
        play("cpu-mixture", "train-1", timed)
        long = f"cpu-mixture:instructions={options.instructions},unseen={program}"
        play(long, "programs-0", timed)


class Timed:
    """A function of a module, with the time that it takes."""

    def __init__(self, module: Any, name: str) -> None:
        """Replace the function."""
        self.seconds = 0.0
        setattr(module, name, self._timed(getattr(module, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.process_time()
            found = function(*arguments)
            self.seconds += time.process_time() - start
            return found

        return call


def play(name: str, episode: str, timed: Timed) -> None:
    """Play an episode under the default settings, and print its row."""
    start = time.process_time()
    task = task_of(name)
    run = Episode(task, episode)
    begun, timed.seconds = time.process_time(), 0.0
    while not run.is_over:
        run.step((task.default,) * len(task.agents))
    seconds = time.process_time() - begun
    rest = 1e6 * (seconds - timed.seconds) / run.number
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name.split(',unseen')[0]:44}{begun - start:9.2f}{run.number / seconds:10.0f}"
          f"{100 * timed.seconds / seconds:10.0f}{rest:10.0f}{peak:9.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
