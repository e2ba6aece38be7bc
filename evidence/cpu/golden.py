"""Runs on generated programs whose every counter is recorded, so that no number changes unseen."""

import csv
import io
from pathlib import Path
from typing import Final

from archgym.simulators.cpu.kernel.run import COUNTERS, run
from archgym.simulators.cpu.machine import machine
from archgym.simulators.cpu.workloads.programs import load
from evidence.agreement import Agreement
from evidence.recorded import read_rows

_WARMUP, _LENGTH = 4_000, 8_000
GOLDEN_RUNS: Final = (
    ("b-tree", ""),
    ("b-tree", "CPU.branch_predictor=0 L1D.prefetcher=2 L1D.replacement=1"),
    ("hash-join-small", ""),
    ("hash-join-small", "CPU.branch_predictor=1 L2C.sets=64 L2C.ways=4 L2C.replacement=2"),
    ("interpreter", ""),
    ("interpreter", "CPU.branch_predictor=2 L1I.sets=32 L1I.ways=2 L1I.prefetcher=1"),
    ("stencil", "L2C.prefetcher=2 LLC.prefetcher=1 DRAM.channels=2 DRAM.ranks=2"),
    ("stencil", "CPU.rob=48 CPU.scheduler=8 CPU.registers=64 CPU.lq=8 CPU.sq=4"),
    ("rules", "LLC.sets=128 LLC.replacement=3 L1D.sets=32 L1D.ways=2 L1D.replacement=3"),
    ("pointer-chase", "DTLB.sets=4 STLB.sets=32 PTW.rq=2 DRAM.rq=8 DRAM.wq=8"),
)
"""Programs, and changes to the default machine."""


def _changes(text: str) -> dict[str, int]:
    return {name: int(value) for name, _, value in (word.partition("=") for word in text.split())}


def _counters(program: str, changes: str) -> list[int]:
    trace = load(program).instructions(_WARMUP + _LENGTH + 4096)
    counters = run(machine(_changes(changes)), trace, _WARMUP, _LENGTH)
    return [] if counters is None else [int(number) for number in counters]


def golden_text() -> str:
    """Return the content of `data/golden.csv` that makes the model as it is the recorded one."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("program", "changes", *COUNTERS))
    for program, changes in GOLDEN_RUNS:
        writer.writerow((program, changes, *_counters(program, changes)))
    return stream.getvalue()


def golden_line() -> Agreement:
    """Return how many of the recorded runs the model repeats."""
    path = Path(__file__).parent / "data" / "golden.csv"
    recorded = {(row.text("program"), row.text("changes")): row.cells for row in read_rows(path)}
    different: list[str] = []
    for run_key in GOLDEN_RUNS:
        row = recorded.get(run_key, {})
        ours = dict(zip(COUNTERS, _counters(*run_key), strict=False))
        wrong = [name for name in COUNTERS if str(ours.get(name)) != row.get(name)]
        different += [f"{' '.join(run_key)} differs in {wrong[0]}"] if wrong else []
    n, note = len(GOLDEN_RUNS), "; ".join(different[:3])
    return Agreement("recorded", "shipped", "every counter", n, n - len(different), note=note)
