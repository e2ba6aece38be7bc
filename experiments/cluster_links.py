"""How far one NPU's links stand for those of all, and what forwarding whole messages costs.

Run `python -m experiments.cluster_links`; it takes some minutes of one core. 320 random designs of
four spaces run small models on 16 NPUs, which compute little and exchange much. Each table has the
error of the default against one network in which every link is simulated: its own kind, and that of
ASTRA-sim with congestion. There a switch waits for the tail of a message, or of a packet.
"""

from dataclasses import replace

import numpy as np

from archgym.simulators.cluster import ClusterSimulator
from archgym.simulators.cluster.machine.design import Built, Infeasible
from archgym.simulators.cluster.runs import run
from archgym.simulators.cluster.workloads import transformer

_SHAPE = {"hidden": 1024, "blocks": 4, "heads": 8, "sequence": 256, "vocabulary": 1000}
MODELS = (
    transformer("dense", 32, **_SHAPE),
    transformer("mixture", 32, **_SHAPE, experts=16, top_k=2),
)
SPACES = ("default", "network", "table", "archgym-astrasim")
NETWORKS = {
    "default": {},
    "every-link": {"backend": "aware"},
    "store-and-forward": {"backend": "aware", "shared": False},
    "4 packets": {"backend": "aware", "shared": False, "packets": 4},
    "16 packets": {"backend": "aware", "shared": False, "packets": 16},
}
_EACH = 80


def times(built: Built) -> list[float]:
    """Return times of an iteration by `NETWORKS` [ms]."""
    found = []
    for changes in NETWORKS.values():
        outcome = run(replace(built, system=replace(built.system, **changes))).outcome
        found.append(float(outcome.finish_ns.max()) / 1e6)
    return found


def sample(space: str, n: int, seed: int = 0) -> np.ndarray:
    """Return `times` of random designs of a space, (n, n_networks)."""
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


def _lines(name: str, found: np.ndarray) -> str:
    text = []
    for at, other in enumerate(NETWORKS):
        if at:
            error = 100.0 * np.abs(found[:, 0] / found[:, at] - 1.0)
            median, p90 = np.quantile(error, (0.5, 0.9))
            text.append(f"| {name} | {other} | {median:.2f} | {p90:.2f} | {error.max():.1f} |")
    return "\n".join(text)


if __name__ == "__main__":
    print("| space | against | median [%] | p90 [%] | worst [%] |\n|---|---|---|---|---|")
    every = []
    for name in SPACES:
        every.append(sample(name, _EACH))
        print(_lines(name, every[-1]), flush=True)
    print(_lines("all", np.concatenate(every)))
