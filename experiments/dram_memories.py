"""One workload on all device families at equal capacity: tables and pictures of a docs page.

Run it as `python experiments/dram_memories.py [--write] [--trace FILE]`. `--write` updates
experiments/dram.md and experiments/pictures.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from memory_families import (
    Candidate,
    compare_memories,
    picture_curves,
)

from archgym.evaluation.metrics import Metrics
from archgym.simulators.dram import Trace, load_trace

EXPERIMENTS = Path(__file__).resolve().parent
BEGIN, END = "<!-- memories: begin -->", "<!-- memories: end -->"
WORKLOADS = ("weight-stream", "kv-cache-gather", "expert-load", "expert-misses", "gups")
WORKLOADS += ("recorded-moe-gather",)


def main() -> None:
    """Print the tables, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="update experiments/dram.md")
    parser.add_argument("--trace", help="name or file of a trace; default: five that ship")
    arguments = parser.parse_args()
    names = (arguments.trace,) if arguments.trace else WORKLOADS
    lines = []
    for name in names:
        trace = load_trace(name)
        found = list(compare_memories(trace))
        lines += [f"**{trace.name}**", "", *table(found), ""]
        if arguments.write and name == names[0]:
            picture(trace, found, EXPERIMENTS / "pictures" / "dram-memories.png")
            picture_curves(
                load_trace("kv-cache-gather"), EXPERIMENTS / "pictures" / "dram-latency.png"
            )
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        page = EXPERIMENTS / "dram.md"
        before, rest = page.read_text().split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}")


def energy_of(metrics: Metrics) -> tuple[float, bool]:
    """Return the energy [uJ] and True if it is an estimate per bit."""
    if "total_energy_pj" in metrics:
        return metrics["total_energy_pj"] / 1e6, False
    return metrics["estimated_energy_pj"] / 1e6, True


def table(found: list[tuple[Candidate, Metrics]]) -> list[str]:
    """Return the rows of a table."""
    lines = [
        "| memory | channels | data pins | time [us] | bandwidth [GB/s] | of peak [%] | p99 [ns] "
        "| energy [uJ] |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for memory, metrics in found:
        energy, is_estimate = energy_of(metrics)
        lines.append(
            f"| {memory.family}, {memory.organisation.split('_', 1)[1]}, "
            f"{memory.speed_bin.split('_', 1)[1]} | {memory.channels} "
            f"| {metrics['data_pins']:.0f} | {metrics['total_time_ns'] / 1e3:.1f} "
            f"| {metrics['bandwidth_gb_per_s']:.1f} | {metrics['bandwidth_percent']:.0f} "
            f"| {metrics['p99_latency_ns']:.0f} "
            f"| {'estimate ' if is_estimate else ''}{energy:.1f} |"
        )
    return lines


def picture(trace: Trace, found: list[tuple[Candidate, Metrics]], path: Path) -> None:
    """Draw time, energy and bandwidth of each memory."""
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    names = [memory.family for memory, _ in found]
    energies = [energy_of(metrics) for _, metrics in found]
    panels = (
        ("time [us]", [m["total_time_ns"] / 1e3 for _, m in found], None),
        ("energy [uJ]", [energy for energy, _ in energies], [is_rough for _, is_rough in energies]),
        ("bandwidth [GB/s]", [m["bandwidth_gb_per_s"] for _, m in found], None),
    )
    for axes, (label, values, rough) in zip(figure.subplots(1, 3), panels, strict=True):
        bars = axes.bar(names, values, color="tab:blue")
        for bar, is_rough in zip(bars, rough or [False] * len(values), strict=True):
            if is_rough:
                bar.set(hatch="//", alpha=0.4)
        axes.set_ylabel(label)
        axes.bar_label(bars, fmt="%.3g", fontsize=8)
        axes.margins(y=0.15)
    figure.suptitle(f"{trace.name} on 8 GiB each; hatched: estimate from pJ per bit")
    figure.savefig(path)


if __name__ == "__main__":
    main()
