"""Random task graphs, in the manner of TGFF (Task Graphs For Free).

`python experiments/soc_graphs.py mine.json --tasks 40 --seed 1` writes one, for the simulator's
`--option graph=mine.json`.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from archgym.checks import check_whole
from archgym.simulators.soc.graph import MAX_TASKS, Accelerator, Budgets, Edge, Task, TaskGraph
from archgym.simulators.soc.kernel.state import PROCESSOR_ENERGY
from archgym.simulators.soc.machine import BANK_BYTES
from archgym.simulators.soc.metrics import COLUMNS, measure
from archgym.simulators.soc.simulator import FIDELITIES, run
from archgym.simulators.soc.space import soc_space
from archgym.simulators.soc.workloads import graph_text

# Ranges of the reference's generator (Dick, Rhodes, Wolf, *TGFF*, 1998, for the form of graphs).
_EDGE_KB: Final = (4.0, 512.0)
_CYCLES: Final = (1e5, 2e7)
_SPEEDUP: Final = (4.0, 63.0)
_AREA_UM2: Final = (500.0, 2e5)
_SAVING: Final = (10.0, 100.0)
_ITERATIONS: Final = (1, 16, 64, 256, 1024, 1500)
_PROCESSOR_FJ: Final = 1e15 * PROCESSOR_ENERGY
# chosen: random systems of which the best gives the tight budgets, so that random search needs
# about as many evaluations; by how much these may be exceeded, and the others.
_RANDOM: Final = 2000
_TIGHT_SLACK: Final = 1.1
_SLACK: Final = 2.0
_LIMITED: Final = ("latency_s", "power_w", "area_no_dram_mm2", "dram_area_mm2")


def generate_graph(
    tasks: int = 20, width: int = 4, seed: int = 0, accelerated: float = 1.0
) -> TaskGraph:
    """Return a random task graph in layers, with budgets that a system in the default space meets.

    Every task reads one task of the layer before it and up to two more of the last two layers.
    Tight budgets are a tenth above the latency, power and area of one system: of 2,000 random ones
    that with the least product of the three. The other budgets are twice as large as that system.

    Args:
      tasks: Tasks without the source and the sink, 1 to 398.
      width: Tasks of a layer, at most, at least 1.
      seed: Random seed.
      accelerated: Share of tasks that have an accelerator, 0 to 1.

    Raises:
      InvalidArgumentError: A number is outside its range.
    """
    n = check_whole("tasks", tasks, 1, MAX_TASKS - 3)
    check_whole("width", width, 1)
    rng = np.random.default_rng(check_whole("seed", seed, 0))
    layers: list[list[int]] = []
    made = 0
    while made < n:
        size = min(int(rng.integers(1, width + 1)), n - made)
        layers.append(list(range(made + 1, made + 1 + size)))
        made += size
    pairs: list[tuple[int, int]] = []
    for number, layer in enumerate(layers):
        before = layers[number - 1] if number else [0]
        recent = before + (layers[number - 2] if number > 1 else [])
        for t in layer:
            parents = {int(rng.choice(before))}
            parents |= {int(p) for p in rng.choice(recent, size=int(rng.integers(0, 3)))}
            pairs += [(p, t) for p in sorted(parents)]
    leaves = sorted(set(range(1, n + 1)) - {p for p, _ in pairs})
    nodes = [Task("source", 0.0)]
    nodes += [_task(f"task{t}", rng, accelerated) for t in range(1, n + 1)]
    last = leaves[0]
    if len(leaves) > 1:
        # One task joins the leaves, so that the workload has one last task.
        last = len(nodes)
        nodes.append(_task("join", rng, accelerated))
        pairs += [(leaf, last) for leaf in leaves]
    pairs.append((last, len(nodes)))
    nodes.append(Task("sink", 0.0))
    edges = tuple(Edge(p, c, _bytes(rng)) for p, c in pairs)
    name = f"random-{n}-seed-{seed}"
    graph = TaskGraph(
        name=name,
        tasks=tuple(nodes),
        edges=edges,
        last_tasks={name: last},
        budgets=Budgets({name: 1.0}, 1.0, 1.0),
        tight_budgets=Budgets({name: 1.0}, 1.0, 1.0),
        doc=f"Random graph of {n} tasks, layers of at most {width}, seed {seed}.",
        source_text="generated",
    )
    return _with_budgets(graph, name)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _bytes(rng: np.random.Generator) -> float:
    size = round(1024 * _log_uniform(rng, *_EDGE_KB))
    # Odd sizes never add up to an exact multiple of a memory's bank by chance alone.
    return float(size + (size % BANK_BYTES == 0) + 1 - size % 2)


def _task(name: str, rng: np.random.Generator, accelerated: float) -> Task:
    cycles = float(round(_log_uniform(rng, *_CYCLES)))
    ip = Accelerator(
        # An accelerator runs at a tenth of the processor's clock.
        cycles=float(max(1, round(cycles / _log_uniform(rng, *_SPEEDUP) / 10))),
        energy_fj=round(2 * cycles * _PROCESSOR_FJ / _log_uniform(rng, *_SAVING) / 0.064, 3),
        area_um2=round(_log_uniform(rng, *_AREA_UM2), 1),
        iterations=int(rng.choice(_ITERATIONS)),
    )
    return Task(name, cycles, ip if rng.random() < accelerated else None)


def _with_budgets(graph: TaskGraph, name: str) -> TaskGraph:
    made = soc_space("default", graph)
    designs, _ = made.machine_of(made.space.sample(_RANDOM, np.random.default_rng(0)))
    values = measure(graph, run(graph, designs, FIDELITIES["default"]))
    latency, power, *areas = (values[:, COLUMNS.index(metric)] for metric in _LIMITED)
    bounded = np.stack([latency, power, np.max(areas, axis=0) * 1e-6])
    time_s, power_w, area_m2 = bounded[:, np.argmin(bounded.prod(axis=0))].tolist()
    loose, tight = (
        Budgets({name: x * time_s}, x * power_w, x * area_m2) for x in (_SLACK, _TIGHT_SLACK)
    )
    return replace(graph, budgets=loose, tight_budgets=tight)


def main() -> None:
    """Write a graph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.write_text(graph_text(generate_graph(given.tasks, given.width, given.seed)))


if __name__ == "__main__":
    main()
