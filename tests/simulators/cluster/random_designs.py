"""Random systems and parallelisations for which one NPU stands for its stage."""

from typing import Any

import numpy as np

from archgym.simulators.cluster.machine.parallelism import Parallelism
from archgym.simulators.cluster.machine.system import COLLECTIVES, INTRA, System


def random_design(rng: np.random.Generator, n_layers: int) -> tuple[System, Parallelism]:
    """Return a design without trees or congestion, of at most 64 NPUs."""

    def pick(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    while True:
        n = int(rng.integers(1, 4))
        npus = tuple(int(pick(2, 3, 4, 8)) for _ in range(n))
        roles = tuple(pick("tp", "ep", "dp", "pp", "cp") for _ in range(n))
        degrees = {
            role: int(np.prod([k for k, r in zip(npus, roles, strict=True) if r == role]))
            for role in ("tp", "ep", "dp", "pp", "cp")
        }
        interleave = pick(1, 1, 2)
        if np.prod(npus) <= 64 and degrees["pp"] * interleave <= n_layers:
            break
    usual = ("ring", "direct", "direct2")
    algorithms = {
        name: tuple(
            pick(*usual, "halvingDoubling")
            if k & (k - 1) == 0 and name != "all_to_all"
            else pick(*usual)
            for k in npus
        )
        for name in COLLECTIVES
    }
    system = System(
        topology=tuple(pick("Ring", "FullyConnected", "Switch") for _ in range(n)),
        npus=npus,
        bandwidth=tuple(float(pick(6.25, 25.0, 187.5, 300.0)) for _ in range(n)),
        latency=tuple(float(pick(0.0, 20.0, 356.62, 1700.0)) for _ in range(n)),
        algorithms=algorithms,
        splits=pick(1, 2, 4, 7),
        policy=pick("LIFO", "FIFO"),
        active_chunks=pick(1, 2, 4),
        optimization=pick("baseline", "localBWAware"),
        intra=pick(*INTRA),
        inflight=pick(1, 2, 4),
        endpoint_ns=pick(1, 10, 100),
        peak_tflops=float(pick(10, 312, 989)),
    )
    parallelism = Parallelism(
        **degrees,
        roles=roles,
        microbatches=degrees["pp"] * pick(1, 2),
        microbatch=pick(1, 2),
        schedule=pick("gpipe", "1f1b"),
        zero=pick(0, 1, 2, 3),
        sp=pick(False, True),
        recompute=pick("none", "full", "selective"),
        interleave=interleave,
        exchanges=pick(1, 2, 4),
        split=pick("blocks", "layers"),
    )
    return system, parallelism
