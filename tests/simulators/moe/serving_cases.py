"""A small mixture on a small server, for tests of serving."""

from dataclasses import replace
from typing import Final

import numpy as np

from archgym.simulators.moe import MoeModel, NodePreset, Requests, Routing, node
from archgym.simulators.moe.kernel.run import Run, documents, run
from archgym.simulators.moe.machine.hardware import Link
from archgym.simulators.moe.machine.plan import plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.routing import RoutingPreset, generate, popularity

MODEL: Final = MoeModel(
    name="small",
    layers=4,
    moe_layers=4,
    hidden=512,
    experts=16,
    top_k=2,
    expert_inner=1024,
    matrices=3,
    heads=8,
    kv_heads=8,
    head_size=64,
    vocabulary=4_000,
)
N_BLOCKS: Final = MODEL.moe_layers * MODEL.experts
SERVER: Final = node("rtx-4090")
_PRESET: Final = RoutingPreset("small", 16, 2, 0.2, 0.5, 0.3)
ROUTING: Final[Routing] = generate(_PRESET, 5, [64] * 4, 4)


def server_with(gb_per_s: float, latency_ns: float = 0.0) -> NodePreset:
    """The server with another host link."""
    return replace(SERVER, host_to_gpu=Link(gb_per_s, latency_ns))


def closed(n: int = 3, prompt: int = 8, output: int = 24) -> Requests:
    """So many requests at once."""
    return Requests(
        np.zeros(n, dtype=np.int64),
        np.full(n, prompt, dtype=np.int32),
        np.full(n, output, dtype=np.int32),
    )


def serve(
    serving: Serving,
    requests: Requests | None = None,
    server: NodePreset = SERVER,
    model: MoeModel = MODEL,
    routing: Routing = ROUTING,
) -> Run:
    """Runs requests, three at once unless told otherwise."""
    asked = closed() if requests is None else requests
    ready = plan(model, server, serving, asked)
    assert ready.infeasible is None
    where = documents(asked, routing)
    return run(ready, asked, routing, where, popularity(routing), warm=serving.warm)
