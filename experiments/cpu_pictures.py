"""Pictures of the CPU's default design: where dispatch slots go, and gains on ideal machines.

Usage: ``python experiments/cpu_pictures.py FOLDER [WORKLOAD ...]``.

Writes ``cpu-top-down.png`` and ``cpu-ideal.png`` into the folder, and prints both as tables.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from archgym.evaluation.capabilities import results_without
from archgym.simulators.cpu import CpuSimulator

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SLOTS = (
    "retiring_percent", "front_end_percent", "bad_speculation_percent",
    "memory_bound_percent", "core_bound_percent",
)  # fmt: skip
COLOURS = ("#4c956c", "#f2a541", "#d1495b", "#2e6f95", "#8d99ae", "#6d597a")


def _bars(
    path: Path, title: str, unit: str, rows: Sequence[str], parts: dict[str, np.ndarray]
) -> None:
    """Draw one horizontal bar for each row, its parts next to each other."""
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.6))
    left = np.zeros(len(rows))
    for colour, (name, widths) in zip(COLOURS, parts.items(), strict=False):
        axes.barh(rows, widths, left=left, color=colour, label=name.replace("_", " "))
        left += widths
    axes.invert_yaxis()
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel(unit)
    axes.set_title(title)
    axes.legend(ncol=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _map(path: Path, rows: Sequence[str], gains: dict[str, np.ndarray]) -> None:
    """Draw a table of gains, darker where they are larger."""
    values = np.array(list(gains.values())).T
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(rows) + 1.4))
    axes.imshow(np.log1p(np.maximum(values, 0.0)), cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(gains)), list(gains), rotation=20)
    axes.set_yticks(range(len(rows)), list(rows))
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            colour = "white" if value > 60.0 else "black"
            axes.text(column, row, f"{round(value) + 0:+d}", ha="center", va="center", color=colour)
    axes.set_title("Gain in IPC without one cost [%]")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str]) -> None:
    """Evaluate the default design with and without each cost, and draw."""
    folder = Path(arguments[0])
    simulator = CpuSimulator()
    names = list(arguments[1:] or simulator.workload_names())
    place = {spec.name: i for i, spec in enumerate(simulator.metrics)}
    indices = simulator.space.default_indices[None]
    slots = {name.removesuffix("_percent"): np.zeros(len(names)) for name in SLOTS}
    gains = {cost: np.zeros(len(names)) for cost in simulator.spec.costs}
    for row, name in enumerate(names):
        workload = simulator.workload(name)
        found = simulator.evaluate_batch(indices, workload).values[0]
        for slot in SLOTS:
            slots[slot.removesuffix("_percent")][row] = found[place[slot]]
        for cost in simulator.spec.costs:
            ideal = results_without(simulator, cost, indices, workload).values[0]
            gains[cost][row] = 100.0 * (ideal[place["ipc"]] / found[place["ipc"]] - 1.0)
        cells = [f"{name} ipc {found[place['ipc']]:.3f}"]
        cells += [f"{part} {values[row]:.1f} %" for part, values in slots.items()]
        cells += [f"without {cost} {values[row]:+.1f} %" for cost, values in gains.items()]
        print(" | ".join(cells), flush=True)
    _bars(folder / "cpu-top-down.png", "Dispatch slots", "% of the slots", names, slots)
    _map(folder / "cpu-ideal.png", names, gains)


if __name__ == "__main__":
    main(sys.argv[1:])
