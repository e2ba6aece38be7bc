"""Speed of the accelerator model: mappings/s, whole networks/s, and the mapper against the bound.

Run it as `python benchmarks/accelerator.py`. Times are CPU times of this process on one thread, so
that other load on the machine weighs less. Mappings are distinct, random and valid.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from archgym.simulators.accelerator import (
    AcceleratorSimulator,
    Architecture,
    load_architecture,
    load_network,
)
from archgym.simulators.accelerator.evaluation import evaluate_mappings
from archgym.simulators.accelerator.mapper import anneal_mapping, map_space
from archgym.simulators.accelerator.mapping import MappingArrays
from archgym.simulators.accelerator.methods import _Pool
from archgym.simulators.accelerator.networks import Layer, layer_named

# Fully evaluated mappings/s of Timeloop's own mapper on one core: measured in another run, on a
# quiet machine of this kind.
TIMELOOP_PER_S = 28
ARCHITECTURES = ("eyeriss-like", "simba-like", "ws-systolic-16")
LAYERS = ("resnet-18/layer1.0.conv1", "resnet-18/conv1")
EFFORTS = (1_000, 4_000, 20_000, 100_000, 600_000)


def main() -> None:
    """Prints three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=5_000, help="distinct ones a row")
    parser.add_argument("--designs", type=int, default=12, help="random accelerators")
    arguments = parser.parse_args()
    report_mappings(arguments.mappings)
    report_networks(arguments.designs)
    report_efforts(arguments.designs)


def valid_mappings(architecture: str, layer: str, n: int) -> MappingArrays:
    """Distinct random mappings that fit."""
    machine, problem = load_architecture(architecture), layer_named(layer).problem
    pool = _Pool(map_space(problem, machine), "edp", "timeloop")
    rng = np.random.default_rng(0)
    found: list[MappingArrays] = []
    while sum(map(len, found)) < n:
        batch = pool.arrays(*pool.random(4 * n, rng))
        fits = evaluate_mappings(problem, machine, batch, details=False).status == 0
        found.append(MappingArrays(batch.factors[fits], batch.orders[fits], batch.keeps[fits]))
    return MappingArrays(
        *(
            np.concatenate([getattr(m, name) for m in found])[:n]
            for name in ("factors", "orders", "keeps")
        )
    )


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
    for fidelity in AcceleratorSimulator.fidelity_names:
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
    """What an effort costs, how far it is from a second's, and whether it ranks designs alike."""
    from archgym.simulators.accelerator.hardware import hardware, hardware_space

    space = hardware_space()
    layers = load_network("resnet-18").layers[:3]
    designs = space.sample(n, np.random.default_rng(1))
    edp, seconds = {}, {}
    for tries in EFFORTS:
        began = time.process_time()
        edp[tries] = np.array(
            [_edp(hardware(dict(space.design_at(row))), layers, tries) for row in designs]
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


if __name__ == "__main__":
    main()
