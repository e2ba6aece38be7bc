"""Errors of the DRAM fidelity `auto` against `exact`, by metric and device.

Run it as `python experiments/dram_fidelity.py [--designs N] [--write]`: N random designs in all, of
the default space, spread over the shipped devices and workloads. `--write` puts the tables into
experiments/dram.md and the largest errors into the simulator's `data/fidelity.json`, which keeps
those of earlier samples that are larger.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from archgym.evaluation.capabilities import facts_about
from archgym.simulators.dram import DramSimulator
from archgym.simulators.dram.kernel.devices import dramsys_device_names

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "experiments" / "dram.md"
LARGEST = ROOT / "archgym" / "simulators" / "dram" / "data" / "fidelity.json"
BEGIN, END = "<!-- fidelity: begin -->", "<!-- fidelity: end -->"
METRICS = (
    "total_time_ns", "mean_latency_ns", "p50_latency_ns", "p95_latency_ns", "p99_latency_ns",
    "bandwidth_gb_per_s", "total_energy_pj", "power_mw",
)  # fmt: skip
# Results file ddr3_archgym_random of `archgym validate dram --reference`: data/accuracy.json.
RECORDED_PERCENT = {"total_time_ns": 0.0005, "total_energy_pj": 0.0081, "power_mw": 0.0085}
# Deeper percentiles scatter more.
BARS = {"p95_latency_ns": 2.0, "p99_latency_ns": 2.0}


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=20_000, help="random designs in all")
    parser.add_argument("--write", action="store_true", help="update experiments/dram.md")
    arguments = parser.parse_args()
    names = DramSimulator().workload_names()
    each = max(1, arguments.designs // (len(dramsys_device_names()) * len(names)))
    errors: dict[str, dict[str, np.ndarray]] = {}
    speed: dict[str, tuple[float, float]] = {}
    for device in dramsys_device_names():
        errors[device], speed[device] = measure(device, each)
        print(f"{device}: {each * len(names)} designs", flush=True)
    text = table(errors, speed)
    print(text)
    if arguments.write:
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}")
        largest = {
            metric: float(
                f"{100 * max(m[metric].max() for m in errors.values() if metric in m):.2g}"
            )
            for metric in METRICS
        }
        # Also earlier samples, and recorded runs of DRAMSys on back-to-back traces.
        known = json.loads(LARGEST.read_text())["auto"]
        for metric, percent in (*known.items(), *RECORDED_PERCENT.items()):
            largest[metric] = max(largest[metric], percent)
        LARGEST.write_text(json.dumps({"auto": largest}, indent=2) + "\n")


def measure(device: str, each: int) -> tuple[dict[str, np.ndarray], tuple[float, float]]:
    """Return relative errors by metric, and the CPU times of `auto` and `exact`."""
    auto, exact = (DramSimulator(device=device, fidelity=name) for name in ("auto", "exact"))
    columns = {m.name: i for i, m in enumerate(auto.metrics) if m.name in METRICS}
    rng = np.random.default_rng(20)
    found: list[np.ndarray] = []
    seconds, n_bursts = [0.0, 0.0], 0
    for name in auto.workload_names():
        workload = auto.workload(name)
        indices = auto.space.sample(each, rng)
        results = []
        for place, simulator in enumerate((auto, exact)):
            simulator.evaluate_batch(indices[:1], workload)
            start = time.process_time()
            results.append(simulator.evaluate_batch(indices, workload))
            seconds[place] += time.process_time() - start
        n_bursts += each * int(facts_about(auto, workload)["bursts"][0])
        assert (results[0].reason == results[1].reason).all(), (device, name)
        built = results[0].reason == 0
        values, true = (r.values[built][:, list(columns.values())] for r in results)
        error = np.abs(values - true) / np.maximum(np.abs(true), 1e-12)
        found.append(error)
    by_metric = dict(zip(columns, np.concatenate(found).T, strict=True))
    return by_metric, (seconds[0] / n_bursts, seconds[1] / n_bursts)


def table(errors: dict[str, dict[str, np.ndarray]], speed: dict[str, tuple[float, float]]) -> str:
    """Return the tables in Markdown."""
    n = sum(len(next(iter(m.values()))) for m in errors.values())
    lines = [
        f"`auto` against `exact` on {n:,} random designs: how many differ by over 1 % "
        "(p95, p99: 2 %), and the largest difference.",
        "",
        "| device | " + " | ".join(METRICS) + " |",
        "|---|" + "---|" * len(METRICS),
    ]
    for device, by_metric in errors.items():
        cells = []
        for metric in METRICS:
            if metric not in by_metric:
                cells.append("–")
                continue
            percent = 100.0 * by_metric[metric]
            above = int((percent > BARS.get(metric, 1.0)).sum())
            top = f"{percent.max():.2g} %" if percent.max() > 0 else "0"
            cells.append(f"{above}, {top}")
        lines.append(f"| {device} | {' | '.join(cells)} |")
    lines.append("")
    lines += [
        "CPU time of 10,000 requests, mean over those designs:",
        "",
        "| device | auto [ms] | exact [ms] | designs per second, auto | exact |",
        "|---|---:|---:|---:|---:|",
    ]
    for device, (auto, exact) in speed.items():
        lines.append(
            f"| {device} | {1e7 * auto:.2f} | {1e7 * exact:.2f} "
            f"| {1e-4 / auto:.0f} | {1e-4 / exact:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
