"""Studies of compositions; what was measured is in `codesign.md`.

Usage:
    python -m experiments.codesign flip --picture experiments/pictures/codesign-flip.svg
    python -m experiments.codesign sampling
    python -m experiments.codesign ten

`flip`: six shapes of ResNet-18 on square arrays with and without their memory, by dataflow.
SCALE-Sim v3 (arXiv:2504.15377) reports that weight-stationary arrays need 21 % fewer cycles than
output-stationary ones alone, and output-stationary ones 30.1 % fewer with the memory.
`sampling`: error of the fidelities on random designs, against runs of every phase.
`ten`: ten pointwise layers that SCALE-Sim v3 was run on, by dataflow, alone and with the memory.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from archgym.evaluation.simulator import Workload
from archgym.simulators.accelerator.kernel.problem import matrix_multiply
from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS
from archgym.simulators.accelerator.workloads import Layer, Network, load_network
from archgym.simulators.accelerator_plus_dram import AcceleratorDramSimulator

SHAPES = 6
WHOLE = 2**40


def first_shapes(name: str, n: int) -> Workload:
    """Return the first shapes of a network as a workload, each layer once."""
    network = load_network(name)
    part = Network(f"{name}-first-{n}", network.layers[:n], network.source)
    return Workload(part.name, part.digest, part)


def flip(sides: list[int], picture: Path | None, **options: str) -> None:
    """Print cycles by dataflow with and without memory, and draw them."""
    simulator = AcceleratorDramSimulator(**options)
    simulator.limit = WHOLE
    workload = first_shapes("resnet-18", SHAPES)
    default = dict(simulator.space.design_at(simulator.space.default_indices))
    found: dict[tuple[int, str], tuple[float, float, float]] = {}
    print("array | dataflow | cycles alone [k] | with DRAM [k] | stalls % | GB/s | MB")
    for side in sides:
        for dataflow in DATAFLOWS:
            design: dict[str, Any] = {
                **default,
                "accelerator.array_height": side,
                "accelerator.array_width": side,
                "accelerator.dataflow": dataflow,
            }
            metrics = simulator.evaluate(design, workload)
            alone = metrics["accelerator.latency_cycles"] / 1e3
            together = metrics["latency_us"]
            found[side, dataflow] = alone, together, metrics["stall_percent"]
            print(
                f"{side} x {side} | {dataflow} | {alone:.0f} | {together:.0f} | "
                f"{metrics['stall_percent']:.0f} | {metrics['bandwidth_gb_per_s']:.1f} | "
                f"{metrics['accelerator.dram_bytes'] / 1e6:.0f}",
                flush=True,
            )
        ws, os = found[side, DATAFLOWS[0]], found[side, DATAFLOWS[1]]
        print(
            f"  weight- over output-stationary: alone {100 * (ws[0] / os[0] - 1):+.0f} %, "
            f"with DRAM {100 * (ws[1] / os[1] - 1):+.0f} %; output- over weight-stationary with "
            f"DRAM {100 * (os[1] / ws[1] - 1):+.0f} %"
        )
    if picture is not None:
        draw(found, sides, picture)


def draw(
    found: dict[tuple[int, str], tuple[float, float, float]], sides: list[int], path: Path
) -> None:
    """Draw the latency by dataflow without and with memory, one panel for each."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=False)
    for place, (axis, title) in enumerate(zip(axes, ("array alone", "with DRAM"), strict=True)):
        for number, dataflow in enumerate(DATAFLOWS):
            xs = np.arange(len(sides)) + 0.27 * (number - 1)
            axis.bar(xs, [found[s, dataflow][place] for s in sides], 0.25, label=dataflow)
        axis.set_xticks(range(len(sides)), [f"{side} x {side}" for side in sides])
        axis.set_title(title)
        axis.set_ylabel("latency [us]")
    axes[0].legend(fontsize=8)
    figure.savefig(path)


def sampling(n_designs: int, layers: str) -> None:
    """Print the error of sampled latencies on random designs."""
    options = {"accelerator.layers": layers}
    whole = AcceleratorDramSimulator(**options)
    whole.limit = WHOLE
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, whole.space.sizes, size=(n_designs, whole.space.n_parameters))
    workload = whole.workload("resnet-18")
    began = time.monotonic()
    exact = whole.evaluate_batch(drawn, workload)
    print(f"whole: {time.monotonic() - began:.1f} s")
    for fidelity in whole.fidelity_names:
        began = time.monotonic()
        simulator = AcceleratorDramSimulator(fidelity=fidelity, **options)
        result = simulator.evaluate_batch(drawn, workload)
        seconds = time.monotonic() - began
        built = (exact.reason == 0) & (result.reason == 0)
        pair = exact.values[built, 0], result.values[built, 0]
        off = 100.0 * np.abs(pair[1] / pair[0] - 1.0)
        order = np.corrcoef(*(np.argsort(np.argsort(each)) for each in pair))[0, 1]
        print(
            f"{fidelity}: {built.sum()} designs, latency off by {np.median(off):.1f} % (median), "
            f"{np.quantile(off, 0.9):.1f} % (p90), {off.max():.1f} % (worst); rank correlation "
            f"{order:.4f}; {seconds:.1f} s"
        )


# Outputs, input channels and filters of pointwise layers, small since SCALE-Sim v3 takes long.
TEN = (
    (576, 32, 16), (144, 16, 96), (144, 24, 144), (144, 144, 24), (36, 96, 24),
    (36, 144, 32), (36, 32, 192), (36, 192, 32), (36, 48, 288), (36, 288, 48),
)  # fmt: skip


def ten() -> None:
    """Print cycles of ten layers on a 16 x 16 array with 16 KiB buffers, and with DDR4-2400."""
    simulator = AcceleratorDramSimulator()
    simulator.limit = WHOLE
    design: dict[str, Any] = {
        **simulator.space.design_at(simulator.space.default_indices),
        **{f"accelerator.array_{side}": 16 for side in ("height", "width")},
        **{f"accelerator.{kind}_kib": 16 for kind in ("weight", "input", "output")},
        "dram.organisation": "DDR4_4Gb_x8",
        "dram.speed_bin": "DDR4_2400R",
        "dram.channels": 1,
        "dram.ranks": 1,
    }
    print("layer | dataflow | cycles alone | with DRAM")
    for rows, inner, columns in TEN:
        name = f"{inner}-{columns} x {rows}"
        problem = matrix_multiply(name, rows=rows, inner=inner, columns=columns)
        network = Network(name, (Layer(name, problem, 1),))
        workload = Workload(name, network.digest, network)
        for dataflow in DATAFLOWS:
            found = simulator.evaluate({**design, "accelerator.dataflow": dataflow}, workload)
            cycles = found["accelerator.latency_cycles"]
            print(f"{name} | {dataflow} | {cycles:.0f} | {1e3 * found['latency_us']:.0f}")


def main() -> None:
    """Run the study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("flip", "sampling", "ten"))
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--device", default="ddr4")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--designs", type=int, default=40)
    parser.add_argument("--layers", default="4")
    given = parser.parse_args()
    if given.study == "flip":
        flip(given.sides, given.picture, **{"dram.device": given.device})
    elif given.study == "ten":
        ten()
    else:
        sampling(given.designs, given.layers)


if __name__ == "__main__":
    main()
