"""Speed of the accelerator model: mappings/s, networks/s, the mapper, and SCALE-Sim beside it.

Run it as `python benchmarks/accelerator.py`. Times are CPU times of this process on one thread, so
that other load on the machine weighs less. Mappings are distinct, random and valid. SCALE-Sim runs
on the same layers and arrays where `--scale-sim` names a Python that has it. It needs an older
numpy than ArchGym may have, and so an environment of its own:

    python -m venv scale-sim && scale-sim/bin/pip install scalesim==3.0.0 "numpy<2" "pandas<3"
    python benchmarks/accelerator.py --scale-sim scale-sim/bin/python
"""

import argparse
import csv
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archgym.simulators.accelerator import (
    AcceleratorSimulator,
    Architecture,
    load_architecture,
    load_network,
)
from archgym.simulators.accelerator.kernel.evaluation import evaluate_mappings
from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS, systolic_run
from archgym.simulators.accelerator.machine.mapping import MappingArrays
from archgym.simulators.accelerator.mapping.mapper import MapSpace, anneal_mapping, map_space
from archgym.simulators.accelerator.problem import convolution
from archgym.simulators.accelerator.workloads import Layer, layer_named

# Fully evaluated mappings/s of Timeloop's own mapper on one core: measured in another run, on a
# quiet machine of this kind.
TIMELOOP_PER_S = 28
ARCHITECTURES = ("eyeriss-like", "simba-like", "ws-systolic-16")
LAYERS = ("resnet-18/layer1.0.conv1", "resnet-18/conv1")
EFFORTS = (1_000, 4_000, 20_000, 100_000, 600_000)
# Channels, filters, side of the output and of the kernel, and stride: what SCALE-Sim does in
# seconds; the last is a layer of ResNet-18.
SYSTOLIC_LAYERS = {
    "small": (8, 16, 8, 3, 1),
    "odd": (10, 21, 7, 3, 1),
    "layer2.0.downsample": (64, 128, 28, 1, 2),
}
SYSTOLIC_SIDE = 16
# What it wants to know in full; traces of DRAM, sparsity and layouts are off, memory never stalls.
SCALE_SIM_CONFIG = """
[general]
run_name = run
[architecture_presets]
ArrayHeight = {side}
ArrayWidth = {side}
IfmapSramSzkB = 256
FilterSramSzkB = 256
OfmapSramSzkB = 256
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
Bandwidth = 10
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


SCALE_SIM_RUN = """
import time
from scalesim.scale_sim import scalesim
began = time.process_time()
simulation = scalesim(
    save_disk_space=True, verbose=False, config="scale.cfg", topology="net.csv", layout="layout.csv"
)
simulation.run_scale(top_path=".")
print(time.process_time() - began)
"""


def main() -> None:
    """Print four tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=5_000, help="distinct ones a row")
    parser.add_argument("--designs", type=int, default=12, help="random accelerators")
    parser.add_argument("--scale-sim", metavar="PYTHON", help="an interpreter that has SCALE-Sim")
    arguments = parser.parse_args()
    report_mappings(arguments.mappings)
    report_networks(arguments.designs)
    report_efforts(arguments.designs)
    report_scale_sim(arguments.scale_sim)


def random_mappings(space: MapSpace, n: int, rng: np.random.Generator) -> MappingArrays:
    """Random mappings: every prime in a random slot, every free order equally likely."""
    n_levels, _, n_dimensions = space.orders.shape
    factors = np.ones((n, n_levels * 3, n_dimensions), dtype=np.int64)
    for d, value, _ in space.primes:
        picks = rng.integers(space.n_slots[d], size=n)
        factors[np.arange(n), space.slots[d, picks], d] *= value
    orders = np.tile(space.orders, (n, 1, 1, 1))
    free = space.is_order_free != 0
    orders[:, free, 0] = np.argsort(rng.random((n, int(free.sum()), n_dimensions)), axis=2)
    keeps = np.tile(space.keeps, (n, 1, 1))
    return MappingArrays(factors.reshape(n, n_levels, 3, n_dimensions), orders, keeps)


def valid_mappings(architecture: str, layer: str, n: int) -> MappingArrays:
    """Distinct random mappings that fit."""
    machine, problem = load_architecture(architecture), layer_named(layer).problem
    space = map_space(problem, machine)
    rng = np.random.default_rng(0)
    found: list[MappingArrays] = []
    while sum(len(m.factors) for m in found) < n:
        batch = random_mappings(space, 4 * n, rng)
        fits = evaluate_mappings(problem, machine, batch, details=False).status == 0
        found.append(MappingArrays(batch.factors[fits], batch.orders[fits], batch.keeps[fits]))
    return MappingArrays(*(np.concatenate(arrays)[:n] for arrays in zip(*found, strict=True)))


def report_mappings(n: int) -> None:
    """Mappings/s in both modes, all statistics included."""
    print(f"{'architecture':16}{'layer':28}{'timeloop/s':>12}{'ideal/s':>12}{'x Timeloop':>12}")
    for architecture in ARCHITECTURES:
        for layer in LAYERS:
            mappings = valid_mappings(architecture, layer, n)
            machine, problem = load_architecture(architecture), layer_named(layer).problem
            rates = []
            for mode in ("timeloop", "ideal"):
                best = 0.0
                for _ in range(7):
                    began = time.process_time()
                    evaluate_mappings(problem, machine, mappings, mode)
                    best = max(best, n / (time.process_time() - began))
                rates.append(best)
            print(
                f"{architecture:16}{layer:28}{rates[0]:12,.0f}{rates[1]:12,.0f}"
                f"{rates[0] / TIMELOOP_PER_S:12,.0f}"
            )
    print()


def report_networks(n: int) -> None:
    """Seconds a network with the mapper inside, nothing remembered."""
    print(f"{'network':24}{'fidelity':10}{'shapes':>8}{'s/design':>10}{'designs/s':>10}")
    for fidelity in AcceleratorSimulator.spec.fidelity_names:
        simulator = AcceleratorSimulator(fidelity=fidelity)
        for name in ("resnet-18", "resnet-50", "mobilenet-v2", "bert-base", "llama-decode"):
            # Other designs each time, so that nothing is remembered.
            seed = sum(map(ord, name + fidelity))
            designs = simulator.space.sample(n, np.random.default_rng(seed))
            workload = simulator.workload(name)
            simulator.evaluate_batch(designs[:1], workload)
            began = time.process_time()
            simulator.evaluate_batch(designs[1:], workload)
            seconds = (time.process_time() - began) / (n - 1)
            n_shapes = len(load_network(name).layers)
            print(f"{name:24}{fidelity:10}{n_shapes:8}{seconds:10.4f}{1 / seconds:10.1f}")
    print()


def report_efforts(n: int) -> None:
    """Compare an effort with a second: time, distance of results, and ranking of designs."""
    from archgym.simulators.accelerator.space import hardware_space, machine_of

    space = hardware_space()
    layers = load_network("resnet-18").layers[:3]
    designs = space.sample(n, np.random.default_rng(1))
    edp, seconds = {}, {}
    for tries in EFFORTS:
        began = time.process_time()
        edp[tries] = np.array(
            [
                _edp(machine_of("default", dict(space.design_at(row))), layers, tries)
                for row in designs
            ]
        )
        seconds[tries] = (time.process_time() - began) / (n * len(layers))
    last = edp[EFFORTS[-1]]
    print(f"{'tries':>8}{'s/layer':>10}{'EDP / last':>12}{'rank correlation':>18}")
    for tries in EFFORTS:
        ranks = [np.argsort(np.argsort(values)) for values in (edp[tries], last)]
        correlation = np.corrcoef(*ranks)[0, 1]
        ratio = np.exp(np.log(edp[tries] / last).mean())
        print(f"{tries:8}{seconds[tries]:10.4f}{ratio:12.4f}{correlation:18.4f}")


def _edp(architecture: Architecture, layers: Sequence[Layer], tries: int) -> float:
    """Energy times cycles of some layers."""
    energy = cycles = 0.0
    for layer in layers:
        found = anneal_mapping(map_space(layer.problem, architecture), tries=tries)
        energy += layer.count * found.energy_pj
        cycles += layer.count * found.cycles
    return energy * cycles


def report_scale_sim(python: str | None) -> None:
    """Cycles on a systolic array beside SCALE-Sim's own, and how much longer that takes."""
    print()
    if python is None:
        print("SCALE-Sim was not run: see --scale-sim at the top of this file.")
        return
    print(
        f"{'layer':22}{'dataflow':20}{'cycles':>9}{'SCALE-Sim':>11}"
        f"{'us':>8}{'SCALE-Sim s':>13}{'ratio':>12}"
    )
    for name, (channels, filters, side, kernel, stride) in SYSTOLIC_LAYERS.items():
        problem = convolution(
            name,
            channels=channels,
            filters=filters,
            output=(side, side),
            kernel=(kernel, kernel),
            stride=(stride, stride),
        )
        for dataflow in DATAFLOWS:
            n_runs = 2_000
            began = time.process_time()
            for _ in range(n_runs):
                run = systolic_run(problem, SYSTOLIC_SIDE, SYSTOLIC_SIDE, dataflow)
            seconds = (time.process_time() - began) / n_runs
            cycles, their_seconds = scale_sim(python, SYSTOLIC_LAYERS[name], dataflow)
            print(
                f"{name:22}{dataflow:20}{run.cycles:9}{cycles:11}"
                f"{1e6 * seconds:8.1f}{their_seconds:13.2f}{their_seconds / seconds:12,.0f}"
                + ("" if cycles == run.cycles else "  they differ")
            )


def scale_sim(
    python: str, layer: tuple[int, int, int, int, int], dataflow: str
) -> tuple[int, float]:
    """SCALE-Sim's cycles without prefetching, and the seconds of processor that it takes."""
    channels, filters, side, kernel, stride = layer
    ifmap = (side - 1) * stride + kernel
    short = "".join(word[0] for word in dataflow.split("-"))
    sizes = [ifmap, ifmap, kernel, kernel, channels, filters, stride]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = SCALE_SIM_CONFIG.format(side=SYSTOLIC_SIDE, dataflow=short)
        (folder / "scale.cfg").write_text(text)
        row = ",".join(map(str, sizes))
        (folder / "net.csv").write_text(f"names of columns,\nlayer,{row},\n")
        (folder / "layout.csv").write_text("names of columns,\nlayer," + "1," * 20 + "\n")
        ran = subprocess.run(
            [python, "-W", "ignore", "-c", SCALE_SIM_RUN],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"SCALE-Sim failed: {ran.stderr[-400:]}")
        with (folder / "run" / "COMPUTE_REPORT.csv").open() as handle:
            (report,) = csv.DictReader(handle, skipinitialspace=True)
    return int(float(report["Total Cycles"])), float(ran.stdout.split()[-1])


if __name__ == "__main__":
    main()
