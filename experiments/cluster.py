"""What full-stack search of training clusters brings, and how well exchanges of experts hide.

Run `python experiments/cluster.py stacks` or `experts`.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from archgym.evaluation.simulator import Workload
from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.runs import run
from archgym.simulators.cluster.space import GROUPS


def _search(
    simulator: ClusterSimulator, free: tuple[str, ...], budget: int, seed: int, goal: Any
) -> float:
    """Return the least goal that an evolutionary search of some parameters finds."""
    space = simulator.space
    rng = np.random.default_rng(seed)
    places = [space.names.index(name) for name in free if name in space.names]
    sizes = np.array([parameter.size for parameter in space.parameters])
    best, least = space.default_indices.copy(), np.inf
    for trial in range(budget):
        design = best.copy()
        while trial:
            design = (best if rng.random() < 0.7 else space.default_indices).copy()
            n = 1 + int(rng.geometric(0.4)) if rng.random() < 0.7 else len(places)
            for place in rng.permutation(places)[:n]:
                design[place] = rng.integers(sizes[place])
            if space.violations(space.canonical(design[None, :]))[0] < 0:
                break
        value = goal(design)
        if value < least:
            best, least = design, value
    return float(least)


def _goal(
    simulator: ClusterSimulator, workload: Workload, columns: list[int], memory: int
) -> Callable[[np.ndarray], float]:
    """Return a function from a design to the product of metrics, endless if it does not fit."""
    known: dict[bytes, float] = {}

    def goal(design: np.ndarray) -> float:
        key = design.tobytes()
        if key not in known:
            result = simulator.evaluate_batch(design[None, :], workload)
            values = result.values[0]
            fits = result.reason[0] == 0 and values[memory] <= 100.0
            known[key] = float(np.prod(values[columns])) if fits else np.inf
        return known[key]

    return goal


def stacks(budget: int, seeds: int, model: str) -> None:
    """Print what full-stack search gains over the best search of a single stack (COSMIC)."""
    groups = {name: GROUPS[name] for name in ("workload", "collective", "network")}
    groups["full"] = tuple(name for members in groups.values() for name in members)
    print(f"{model}: geometric mean over {seeds} seeds of {budget} evaluations")
    print("latency [ms], time-cost [ms x $], time-bandwidth [ms x GB/s]; smaller is better.")
    print("gain: the best single stack (workload, collective or network) over the full one")
    print(
        "system      objective            start   workload collective    network       full  gain"
    )
    for system in ("cosmic-1.1", "cosmic-1.2", "cosmic-1.3"):
        simulator = ClusterSimulator("cosmic-2025", system)
        workload = simulator.workload(model)
        names = [spec.name for spec in simulator.metrics]
        for objective, metrics in (
            ("latency", ("time_ms",)),
            ("time-cost", ("time_ms", "network_dollars")),
            ("time-bandwidth", ("time_ms", "bandwidth_gb_per_s")),
        ):
            columns = [names.index(name) for name in metrics]
            goal = _goal(simulator, workload, columns, names.index("memory_percent"))
            found = {}
            for name, free in groups.items():
                runs = [_search(simulator, free, budget, seed, goal) for seed in range(seeds)]
                found[name] = float(np.exp(np.mean(np.log(runs))))
            start = goal(simulator.space.default_indices)
            single = min(found[name] for name in groups if name != "full")
            shown = [start, *(found[name] for name in groups)]
            cells = " ".join(f"{value:10.4g}" for value in shown)
            print(f"{system}  {objective:14} {cells}  {single / found['full']:5.2f} x", flush=True)


def experts() -> None:
    """Print how much of the exchange of experts is exposed, by the number of parts (FSMoE)."""
    print("256 A100, experts over the 8 of a server, data parallel across; one sample a microbatch")
    simulator = ClusterSimulator("parallel", "a100-256")
    print("model              parts  time [ms]  exposed exchange [ms]")
    for model in ("mixtral-8x7b", "deepseek-moe-16b"):
        workload = simulator.workload(model)
        design = dict(simulator.space.design_at(simulator.space.default_indices))
        design |= {"role_0": "ep", "role_1": "dp", "microbatch": 1, "inflight": 4, "zero": 1}
        built = simulator.run(design, workload).built
        exposures = {}
        for parts in (1, 2, 4, 8, 16):
            chosen = replace(built.parallelism, exchanges=parts)
            outcome = run(replace(built, parallelism=chosen)).outcome
            exposed = exposures[parts] = outcome.exposed_ns[:, 1].mean() / 1e6
            print(f"{model:18} {parts:5} {outcome.finish_ns.max() / 1e6:10.3f} {exposed:10.3f}")
        best = min(exposures, key=exposures.__getitem__)
        print(f"{model}: {best} parts expose least, {exposures[1]:.1f} -> {exposures[best]:.1f} ms")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", default="experts", choices=("stacks", "experts"))
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--model", default="vit-large")
    given = parser.parse_args()
    if given.what == "stacks":
        stacks(given.budget, given.seeds, given.model)
    else:
        experts()


if __name__ == "__main__":
    main()
