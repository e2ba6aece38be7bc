"""Tile sizes of a matrix product: search a model, measure a few designs here, decide.

    python examples/measured_tiles/tiles.py FOLDER [--pilot 5] [--rounds 2] [--check 40]

A model of a page says how long each design takes. It knows two caches and the cost of a loop, and
nothing of this machine's prefetchers or of what the compiler does. Five random designs are measured
first, so that the size of the error is known also where no fast design lies. Each round then
measures the two designs that reduce the expected loss most. At the end designs are measured that
the decision never saw, and the table says how near the model and the calibrated model came.
"""

import argparse
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

import archgym
from archgym.measurements.calibrated import CalibratedSimulator
from archgym.measurements.file import MEASURED_NAME
from archgym.report.decision import Decision
from archgym.spaces.parameter import Categorical, PowerOfTwo
from archgym.studies.study import Study

SIZE = 384
# Model: a core of 3 GHz, caches of 32 KiB and 1 MiB, lines of 64 bytes, numbers of 4 bytes.
GHZ, L1, L2, LINE = 3.0, 32 * 1024, 1024 * 1024, 64
VECTOR = 8


@archgym.simulator(
    space=[
        PowerOfTwo(name="tile_i", low=8, high=256, default=32),
        PowerOfTwo(name="tile_j", low=8, high=256, default=32),
        PowerOfTwo(name="tile_k", low=8, high=256, default=32),
        Categorical(name="order", choices=("ijk", "ikj"), default="ijk"),
    ],
    metrics={"time_ms": "minimise"},
)
def tiles(design: dict[str, object]) -> dict[str, float]:
    """Return the time of a matrix product as the model sees it."""
    i, j, k = (min(SIZE, int(str(design[f"tile_{axis}"]))) for axis in "ijk")
    steps = SIZE**3
    if design["order"] == "ikj":
        cycles = 2.0 * steps / VECTOR + steps / j * 12.0
    else:
        cycles = 4.0 * steps + steps / k * 8.0
    # Tiles of B and C that do not stay in a cache are fetched again from the next.
    for size, penalty in ((L1, 14.0), (L2, 60.0)):
        bytes_held = 4 * (k * j + i * j + i * k)
        lines = 4 * steps / LINE * (1.0 / i + 1.0 / k) if bytes_held < size else 4 * steps / LINE
        cycles += lines * penalty / (4.0 if design["order"] == "ikj" else 1.0)
    return {"time_ms": cycles / GHZ / 1e6}


def compiled(folder: str) -> str:
    """Compile the kernel, and return the program."""
    source, program = Path(__file__).with_name("gemm.c"), f"{folder}/gemm"
    flags = ["-O3", "-march=native", "-ffast-math", "-fno-tree-loop-distribution"]
    subprocess.run(["cc", *flags, str(source), "-o", program], check=True)
    return program


def measure(program: str, design: Mapping[str, object]) -> float:
    """Run a design, and return its time [ms]."""
    words = [str(design[name]) for name in ("tile_i", "tile_j", "tile_k", "order")]
    ran = subprocess.run([program, *words], check=True, capture_output=True, text=True)
    return float(ran.stdout.split()[0])


def main() -> None:
    """Search, measure, decide, and check."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pilot", type=int, default=5, help="random designs to measure first")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--check", type=int, default=40, help="designs to measure at the end")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        decide_here(given, compiled(folder))


def decide_here(given: argparse.Namespace, program: str) -> None:
    """Search, measure the designs that matter in rounds, and check the decision."""
    archgym.search(tiles, budget=200, agent="random", folder=given.folder)
    space, rng = archgym.Task.make(tiles).space, np.random.default_rng(2)
    pilot = [space.design_at(row) for row in space.sample(given.pilot, rng)]
    measure_all(given.folder, pilot, program)
    for number in range(given.rounds + 1):
        decision = archgym.SearchResult.read(given.folder).decide()
        print(f"\n-- after {decision.calibration.n_runs} measurements")
        print("\n".join(decision.sentences()))
        if number == given.rounds or (number and decision.is_settled):
            break
        designs = [step.candidate.design for step in decision.next(2)]
        measure_all(given.folder, designs, program)
    check(given.folder, given.check, decision, program)


def measure_all(folder: Path, designs: Iterable[Mapping[str, object]], program: str) -> None:
    """Measure designs, and keep what was measured in the study."""
    today, machine = date.today().isoformat(), platform.node()
    with Study.open(folder, archgym.Task.make(tiles)) as study:
        for design in designs:
            took = measure(program, design)
            print(f"measured {dict(design)}: {took:.2f} ms")
            study.measure(design, {"time_ms": took}, date=today, machine=machine)


def check(folder: Path, n: int, decision: Decision, program: str) -> None:
    """Measure designs that nobody asked for, and print the errors of model and calibration."""
    task = archgym.Task.make(tiles)
    measured = folder / MEASURED_NAME
    calibrated = CalibratedSimulator(tiles, measured if measured.exists() else None)
    rng = np.random.default_rng(1)
    indices = np.stack([rng.integers(0, size, n) for size in task.space.sizes], axis=1)
    best = task.space.indices_of(dict(decision.best.design))
    indices = np.concatenate((best[None], indices))
    workload = task.workloads[0].workload
    truth = np.array([measure(program, task.space.design_at(row)) for row in indices])
    names = [spec.name for spec in calibrated.metrics]
    values = calibrated.evaluate_batch(indices, workload).values
    column = {name: values[:, names.index(name)] for name in names}
    model, ours = column["simulated_time_ms"], column["time_ms"]
    for name, predicted in (("model", model), ("calibrated", ours)):
        error = 100.0 * np.abs(predicted / truth - 1.0)
        order = spearmanr(predicted, truth).statistic
        print(
            f"{name}: median error {np.median(error):.0f} %, 90 % below "
            f"{np.quantile(error, 0.9):.0f} %, rank correlation {order:.2f}"
        )
    inside = (column["low_time_ms"] <= truth) & (truth <= column["high_time_ms"])
    print(f"90 % intervals hold {100.0 * inside.mean():.0f} % of {len(truth)} designs")
    print(
        f"decided design: {truth[0]:.2f} ms; fastest of {n} random ones: {truth[1:].min():.2f} ms; "
        f"the model's first choice would be "
        f"{truth[int(np.argmin(model))]:.2f} ms among these"
    )


if __name__ == "__main__":
    main()
