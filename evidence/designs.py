"""Designs that a search accepts, exported and run by the tools themselves, unedited.

    python -m evidence.designs FORM [PLACE [COUNT]]

`FORM` is the format of a tool, and `PLACE` its program or folder, as for `archgym confirm --at`.
With it, the rows of the tool, a design on a workload each, are written again; a stopped run
continues. The model is then compared with them.
"""

import gzip
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from archgym.report.confirmation import Compared, Confirmation, confirm
from archgym.report.export import files_by_workload
from archgym.simulators.kit.exports import expected
from archgym.tasks.choices import TaskChoices
from archgym.tasks.task import Task
from evidence.agreement import Agreement
from evidence.recorded import json_lines, reading

NAME: Final = "confirmed"
SEED: Final = 20261203
_REFUSED: Final = "not expressible"


@final
@dataclass(frozen=True)
class Pair:
    """Simulator and a tool that its designs run in.

    Attributes:
      simulator: Name of the simulator.
      tool: Name of the tool.
      options: Choices of a task, of which every design draws one.
      workloads: Workloads, likewise; files lie in the folder of the rows.
    """

    simulator: str
    tool: str
    options: tuple[Mapping[str, str], ...]
    workloads: tuple[str, ...]
    count: int = 300
    """Runs that are recorded; SCALE-Sim's are all designs of its space on both networks."""

    @property
    def folder(self) -> Path:
        """Folder with the rows."""
        return Path(__file__).parent / self.simulator / "data"


_SPREAD: Final = (
    "cloud-1", "stream", "random", "strided", "mixed-rw", "bursty-rw", "sparse-rw", "multicore-rw",
    "kv-cache-gather", "recorded-hash-join", "recorded-sort",
)  # fmt: skip
PAIRS: Final[Mapping[str, Pair]] = {
    "dramsys": Pair(
        "dram", "DRAMSys 4.0",
        tuple(
            {"device": device, "requests": requests}
            for device in (
                "ddr3-1600", "ddr3-1066", "ddr4-2400", "ddr4-1866", "lpddr4-3200", "hbm2",
            )
            for requests in ("300", "900")
        ),
        _SPREAD,
    ),
    "ramulator": Pair(
        "dram", "Ramulator 2.1",
        tuple(
            {"device": device, "requests": "500"}
            for device in ("ddr5", "lpddr5", "hbm3", "gddr6", "ddr4")
        ),
        _SPREAD,
    ),
    "champsim": Pair(
        "cpu", "ChampSim, commit 2ff2501",
        (
            {"instructions": "12000"},
            {"instructions": "24000"},
            {"instructions": "16000", "warmup": "0"},
            {"instructions": "20000", "warmup": "2000"},
            {"instructions": "30000", "warmup": "20000"},
            {"space": "dvfs", "instructions": "12000"},
            {"space": "dvfs", "instructions": "20000", "node": "7nm"},
        ),
        (
            "hash-join", "hash-join-small", "graph-search", "pointer-chase", "pointer-chase-small",
            "b-tree", "sparse-matrix", "sort", "stencil", "interpreter", "k-mer-count",
            "matrix-product", "decompress", "circuit-simulation", "digest", "picture-filter",
            "rules",
        ),
    ),
    # Eight and sixteen NPUs, since ASTRA-sim takes a microsecond for each message of each NPU.
    "astra-sim": Pair(
        "cluster", "ASTRA-sim 2.2.0",
        tuple(
            {"fidelity": "congestion-free", "tool": "astra-sim", **more}
            for more in (
                {"npus": "8"}, {"npus": "16"}, {"npus": "8", "simulated": "all"},
                {"npus": "16", "efficiency": "0.37"},
                {"npus": "8", "peak_tflops": "201.5", "memory_gb_per_s": "1555"},
            )
        ),
        (
            "gpt2-xl-1.5b", "megatron-22b", "gpt3-175b", "llama2-70b", "mixtral-8x7b",
            "deepseek-moe-16b", "dlrm-mlperf", "bert-large",
        ),
    ),
    "scalesim": Pair(
        "accelerator", "SCALE-Sim 3.0.0", ({"space": "systolic"},),
        ("small-convolutions.csv", "small-products.csv"), 294,
    ),
}  # fmt: skip


def drawn(form: str) -> Iterator[tuple[dict[str, str], Task, np.ndarray]]:
    """Yield choices, their task and a canonical design, without end and with a fixed seed."""
    pair, rng = PAIRS[form], np.random.default_rng(SEED)
    while True:
        chosen = {
            **pair.options[int(rng.integers(len(pair.options)))],
            "workload": pair.workloads[int(rng.integers(len(pair.workloads)))],
        }
        task = task_of(form, chosen)
        yield chosen, task, task.space.canonical(task.space.sample(1, rng))[0]


def task_of(form: str, chosen: Mapping[str, str]) -> Task:
    """Return the task of a row's choices."""
    made = TaskChoices.of(simulator=PAIRS[form].simulator, **chosen)
    return Task.resolve(TaskChoices(**{**vars(made), "folder": PAIRS[form].folder}))


def row_of(chosen: Mapping[str, str], found: Confirmation) -> dict[str, Any]:
    """Return what is kept of a run: choices, design, and what the tool printed."""
    printed = {number.metric: number.tool for number in found.numbers}
    row = {"task": dict(chosen), "design": found.design, "printed": printed}
    return {**row, "problem": found.problem} if found.problem else row


def compare(form: str, stride: int = 1) -> Agreement:
    """Compare the model with a tool's rows, as a search and an export give its numbers."""
    path = PAIRS[form].folder / f"{NAME}-{form}.jsonl.gz"
    met = n = first = n_refused = 0
    for number, row in json_lines(path):
        if (number - 1) % stride:
            continue
        with reading(path, number):
            task = task_of(form, row["task"])
            indices = task.space.indices_of(row["design"])
            values = task.evaluate(indices[None, :]).values[0, 0]
            metrics = dict(zip((spec.name for spec in task.metrics), values, strict=True))
            if row.get("problem", "").startswith(_REFUSED):
                n_refused += 1
                continue
            (files,) = files_by_workload(task, indices, form).values()
            is_equal = all(
                wanted.value == metrics[wanted.metric]
                and Compared(
                    metric=wanted.metric, unit=wanted.unit, stated=wanted.stated,
                    tool=row["printed"].get(wanted.metric, math.nan), tolerance=wanted.tolerance,
                ).is_equal
                for wanted in expected(files)[1]
            )  # fmt: skip
        n, met = n + 1, met + is_equal
        first = first or (0 if is_equal else number)
    note = f"{n_refused} more are refused by name." if n_refused else ""
    return Agreement(NAME, form, "all numbers", n, met, float(n - met), first, note)


def record(form: str, place: Path, count: int | None = None) -> None:
    """Run designs in a tool, and write its rows.

    Rows gather in a file next to the last one, from which a run that was stopped continues.
    """
    n_run = n_refused = n_equal = 0
    seen: set[str] = set()
    path = PAIRS[form].folder / f"{NAME}-{form}.jsonl.gz"
    part = path.with_suffix(".part")
    part.touch()
    before = [line for line in part.read_text().splitlines(keepends=True) if line.endswith("\n")]
    part.write_text("".join(before))
    with part.open("a") as file:
        for chosen, task, indices in drawn(form):
            key = repr((chosen, indices.tolist()))
            if key in seen or task.evaluate(indices[None, :]).reason.any():
                continue
            seen.add(key)
            if len(seen) > len(before):
                (found,) = confirm(task, [indices], form, at=place)
                file.write(json.dumps(row_of(chosen, found)) + "\n")
                file.flush()
                if not found.is_equal:
                    sys.stdout.write(f"{chosen} {found.design} {found.result}\n")
                problem, n_equal = found.problem, n_equal + found.is_equal
            else:
                problem = json.loads(before[len(seen) - 1]).get("problem", "")
            is_refused = problem.startswith(_REFUSED)
            n_refused, n_run = n_refused + is_refused, n_run + (not is_refused)
            if n_run == (count or PAIRS[form].count):
                break
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as packed:
        packed.write(part.read_bytes())
    part.unlink()
    sys.stdout.write(
        f"{form}: {n_equal} of {n_run} equal now; {n_refused} refused by name; "
        f"{len(before)} ran before\n"
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        record(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
    found = compare(sys.argv[1])
    sys.stdout.write(f"{found.results}: {found.n_met} of {found.n_rows} equal. {found.note}\n")
    sys.exit(not found.is_met)
