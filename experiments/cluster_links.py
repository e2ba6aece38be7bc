"""How far one NPU's links stand for those of all, against a simulation of each link.

Run `python -m experiments.cluster_links`; it takes some minutes of one core. 320 random designs of
four spaces run small models on 16 NPUs, which compute little and exchange much. The last column has
ASTRA-sim's network with congestion, where a switch waits for the tail of a message.
"""

from dataclasses import replace

import numpy as np

from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.machine import Built, Infeasible, run
from archgym.simulators.cluster.workloads import transformer

_SHAPE = {"hidden": 1024, "blocks": 4, "heads": 8, "sequence": 256, "vocabulary": 1000}
MODELS = (
    transformer("dense", 32, **_SHAPE),
    transformer("mixture", 32, **_SHAPE, experts=16, top_k=2),
)
SPACES = ("default", "network", "table", "archgym-astrasim")
_EACH = 80


def times(built: Built) -> list[float]:
    """Return times by one NPU a stage, by each link, by ASTRA-sim and without congestion [ms]."""
    networks = (
        {},
        {"backend": "aware"},
        {"backend": "aware", "shared": False},
        {"shared": False},
    )
    found = []
    for changes in networks:
        outcome = run(replace(built, system=replace(built.system, **changes))).outcome
        found.append(float(outcome.finish_ns.max()) / 1e6)
    return found


def sample(space: str, n: int, seed: int = 0) -> np.ndarray:
    """Return `times` of random designs of a space, (n, 4)."""
    simulator, rng = ClusterSimulator(space, npus="16"), np.random.default_rng(seed)
    found: list[list[float]] = []
    while len(found) < n:
        design = simulator.space.design_at(
            simulator.space.canonical(simulator.space.sample(1, rng))[0]
        )
        workload = simulator.workload_of(MODELS[len(found) % 2])
        try:
            found.append(times(simulator._build(design, workload.content)))
        except Infeasible:
            continue
    return np.array(found)


def _line(name: str, found: np.ndarray) -> str:
    text = f"| {name} | {len(found)} |"
    for other in (1, 2):
        error = 100.0 * np.abs(found[:, 0] / found[:, other] - 1.0)
        median, p90 = np.quantile(error, (0.5, 0.9))
        text += f" {median:.2f} | {p90:.2f} | {error.max():.1f} |"
    return f"{text} {100.0 * np.mean(found[:, 0] / found[:, 3] > 1.01):.0f} % |"


if __name__ == "__main__":
    print("| space | designs | median | p90 | worst | median | p90 | worst | longer by over 1 % |")
    every = []
    for name in SPACES:
        every.append(sample(name, _EACH))
        print(_line(name, every[-1]), flush=True)
    print(_line("all", np.concatenate(every)))
