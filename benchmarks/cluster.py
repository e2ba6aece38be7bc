"""Measures how fast the training-cluster simulator is: its designs, and against ASTRA-sim 2.

Run `python -m benchmarks.cluster`; with `--astra-sim PLACE`, exported designs run there and here in
turn. Rows of `--reference FOLDER` have seconds of ASTRA-sim that were recorded with them. Times are
of the processor, and leave compiling out.
"""

import argparse
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from archgym.errors import InvalidDesignError
from archgym.evaluation.capabilities import Files
from archgym.report.export import files_by_workload
from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.kit.exports import expected
from archgym.tasks.task import Task
from evidence.cluster.astrasim import models_of
from evidence.cluster.reading import (
    is_symmetric,
    observed,
    parallelism_of,
    shortcut_of,
    system_of,
)
from evidence.recorded import read_rows


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def speed(reference: Path) -> None:
    """Print processor seconds of all rows, ASTRA-sim's and ours."""
    folder = reference / "cluster" if (reference / "cluster").is_dir() else reference
    models = models_of(folder)
    print("Processor time; `part` is the rows that one NPU a stage simulates exactly.")
    print("rows                ASTRA-sim     all NPUs   faster   part: ASTRA-sim   one a stage")
    for name in ("collectives", "graphs", "training", "cosmic"):
        rows = read_rows(folder / "results" / f"{name}.csv")
        observed(rows[0], models)
        theirs = sum(float(row.cells["tool_seconds"]) for row in rows)
        ours = sum(_seconds(lambda row=row: observed(row, models)) for row in rows)
        short_theirs = short_ours = 0.0
        best = 0.0
        for row in rows:
            if "workload" in row.cells and not is_symmetric(
                system_of(row.cells), parallelism_of(row.cells)
            ):
                continue
            if row.cells["backend"] != "unaware" or name == "graphs" or row.cells.get("group"):
                continue
            system = system_of(row.cells)
            if system.uses_trees or system.queues > 1 or system.inter != "Ascending":
                continue
            work = shortcut_of(row, models)
            took = min(_seconds(work) for _ in range(3))
            short_theirs += float(row.cells["tool_seconds"])
            short_ours += took
            best = max(best, float(row.cells["tool_seconds"]) / took)
        line = (
            f"{name:12} {len(rows):4} {theirs:9.2f} s {1e3 * ours:9.1f} ms {theirs / ours:6.1f} x"
        )
        if short_ours:
            line += f" {short_theirs:15.2f} s {1e3 * short_ours:10.2f} ms"
            line += f" {short_theirs / short_ours:7,.0f} x (best row {best:,.0f} x)"
        print(line, flush=True)


# Space, workload and options of the tasks whose designs are timed.
TASKS: Final = (
    ("default", "gpt2-xl-1.5b", {}),
    ("default", "gpt3-175b", {}),
    ("parallel", "gpt3-175b", {"system": "h100-512"}),
    ("parallel", "llama2-70b", {}),
)
# Too slow for clusters of more NPUs.
_OF_16_NPUS: Final = ("network", "bert-large", {"npus": "16"})


def designs(n: int = 60) -> None:
    """Print milliseconds of the default design, and of random ones that can be built."""
    print("fidelity           space     workload       default   median     mean    worst")
    usual = [(*task, fidelity) for task in TASKS for fidelity in ("standard", "short")]
    every = [(*_OF_16_NPUS, fidelity) for fidelity in ClusterSimulator.spec.fidelity_names]
    for space, name, options, fidelity in usual + every:
        simulator = ClusterSimulator(space, fidelity=fidelity, **options)
        workload = simulator.workload(name)
        default = simulator.space.default_indices[None]
        work = partial(simulator.evaluate_batch, default, workload)
        work()
        took = min(_seconds(work) for _ in range(5))
        others = []
        sampled = simulator.space.sample(n, np.random.default_rng(0))
        for row in simulator.space.canonical(sampled)[:, None]:
            begin = time.process_time()
            if simulator.evaluate_batch(row, workload).reason[0] == 0:
                others.append(time.process_time() - begin)
        spread = np.median(others), np.mean(others), np.max(others)
        cells = "".join(f"{1e3 * value:9.1f}" for value in (took, *spread))
        print(f"{fidelity:18} {space:9} {name:13}{cells} ms", flush=True)


def beside(place: Path, n: int = 12) -> None:
    """Print processor seconds of the same exported designs in ASTRA-sim and here, side by side."""
    program = place / "build/astra_analytical/build/bin/AstraSim_Analytical_Congestion_Unaware"
    print(f"gpt2-xl-1.5b, {n} random designs of space default; ASTRA-sim reads its own traces")
    print("NPUs  ASTRA-sim, mean    congestion-free   faster    default   faster   times equal")
    for npus in (8, 16, 64):
        named = {"npus": str(npus), "tool": "astra-sim", "workload": "gpt2-xl-1.5b"}
        free = Task.make("cluster", fidelity="congestion-free", **named)
        shared = Task.make("cluster", **named)
        rng, took, equal = np.random.default_rng(0), [], 0
        while len(took) < n:
            indices = free.space.canonical(free.space.sample(1, rng))
            try:
                (files,) = files_by_workload(free, indices[0], "astra-sim").values()
            except InvalidDesignError:
                continue
            theirs, printed = _in_tool(program, files)
            own = [
                min(_seconds(partial(_simulate, task, indices)) for _ in range(3))
                for task in (free, shared)
            ]
            took.append((theirs, *own))
            _, numbers = expected(files)
            equal += round(numbers[0].value * numbers[0].scale) == printed
        mean, ours, default = np.mean(took, axis=0)
        print(
            f"{npus:4} {1e3 * mean:12.1f} ms {1e3 * ours:15.2f} ms {mean / ours:7.0f} x"
            f" {1e3 * default:7.2f} ms {mean / default:6.0f} x {equal:6} of {n}",
            flush=True,
        )


def _simulate(task: Task, indices: np.ndarray) -> None:
    task.simulator.evaluate_batch(indices, task.workloads[0].workload)


def _in_tool(program: Path, files: Files) -> tuple[float, int]:
    """Return ASTRA-sim's processor seconds, and the nanoseconds that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = subprocess.run(
            ["sh", "run.sh", str(program)], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, max(int(found) for found in re.findall(r"finished, (\d+) cycles", text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--astra-sim", type=Path, help="folder in which ASTRA-sim was built")
    given = parser.parse_args()
    if given.astra_sim is not None:
        beside(given.astra_sim)
    else:
        designs()
    if given.reference is not None:
        speed(given.reference)
