"""Two rooflines as entries to the accuracy board: bytes over bandwidth plus operations over peak.

    archgym bench accuracy run "python -m evidence.moe.roofline [--scaled]" --out FOLDER

With `--scaled`, each time is multiplied by the median of measured over predicted of the rows to
learn from, and its 90 % interval is that of these rows.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from archgym.bench.accuracy import QUANTITIES, TIMES, Row, goal_of
from archgym.simulators.moe.machine.engines import BITS, attention_bits
from evidence.moe.bars import SAME
from evidence.moe.measured import find_gpu, find_model

Floats = npt.NDArray[np.float64]


def roofline(row: Row) -> tuple[float, float]:
    """Return TPOT and TTFT of a row [ms]."""
    served, gpu = find_model(SAME.get(row["model"], row["model"]), {}), find_gpu(row["gpu"], {})
    shortest = float(row["shortest"])
    prompt, output = (
        float(row[f"{name}_mean"] or float(row[f"{name}_tokens"] or 0) * (1.0 + shortest) / 2.0)
        for name in ("prompt", "output")
    )
    bits, clients = BITS[row["precision"]], int(row["clients"])
    unused = (1.0 - served.top_k / served.experts) ** np.array([clients, prompt])
    experts = served.moe_layers * served.experts * served.expert_bytes(bits) * (1.0 - unused)
    rest = served.other_parameters * attention_bits(served, row["precision"]) / 8.0
    kept = clients * (prompt + output / 2.0) * served.kv_bytes_per_token()
    read = rest + experts + np.array([kept, 0.0])
    operations = 2.0 * served.active_parameters * np.array([clients, prompt])
    per_ms = int(row["gpus"]) * 1e6
    times = read / (gpu.memory_gb_per_s * per_ms) + operations / (gpu.tflops(bits) * 1e3 * per_ms)
    return float(times[0]), float(times[1])


def read_rows(path: Path) -> list[Row]:
    """Return the rows of questions, or of what may be learned."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_predictions(
    folder: Path, rows: Sequence[Row], columns: Mapping[str, Floats | list[float]]
) -> None:
    """Write `predictions.csv`.

    Args:
      folder: Folder of the group.
      rows: Questions.
      columns: (n_rows,) times by column; those of no use are left empty.
    """
    names = [name for name in TIMES if name in columns]
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", *names])
        for at, row in enumerate(rows):
            values = [float(columns[name][at]) for name in names]
            table.writerow([row["id"], *(v if 0.0 < v < 1e12 else "" for v in values)])


def main() -> None:
    """Predict the group of a folder."""
    folder, is_scaled = Path(sys.argv[-1]), "--scaled" in sys.argv
    learn, asked = (read_rows(folder / f"{name}.csv") for name in ("learn", "questions"))
    columns: dict[str, Floats | list[float]] = {}
    for at, name in enumerate(QUANTITIES):
        predicted = np.array([roofline(row)[at] for row in asked])
        columns[f"{name}_ms"] = predicted
        if is_scaled:
            goals = ((goal_of(row, name), roofline(row)[at]) for row in learn)
            ratios = [goal / value for goal, value in goals if goal is not None]
            for end, factor in zip(
                ("_low", "", "_high"), np.quantile(ratios, (0.05, 0.5, 0.95)), strict=True
            ):
                columns[f"{name}{end}_ms"] = factor * predicted
    write_predictions(folder, asked, columns)


if __name__ == "__main__":
    main()
