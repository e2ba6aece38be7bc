"""Runs that validation rows share: requests that come at once, on a model and a server."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from archgym.simulators.moe.kernel.run import Run, documents, run
from archgym.simulators.moe.machine.hardware import NodePreset
from archgym.simulators.moe.machine.plan import Plan, plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.routing import (
    Routing,
    RoutingPreset,
    generate,
    popularity,
    routing_preset,
)
from evidence.moe.row import Row


def at_once(n: int, prompt: int, output: int) -> Requests:
    """So many equal requests, all at time 0."""
    return Requests(
        np.zeros(n, dtype=np.int64),
        np.full(n, prompt, dtype=np.int32),
        np.full(n, output, dtype=np.int32),
        "at once",
    )


def routed(
    model: MoeModel,
    n_documents: int,
    tokens: int,
    seed: int = 5,
    preset: RoutingPreset | None = None,
) -> Routing:
    """Return routing of documents of a model, or of a preset in its place."""
    found = routing_preset(model.routing) if preset is None else preset
    if (found.n_experts, found.top_k) != (model.experts, model.top_k):
        found = replace(found, n_experts=model.experts, top_k=model.top_k)
    return generate(found, seed, [tokens] * n_documents, model.moe_layers)


def serve_at_once(
    model: MoeModel,
    node: NodePreset,
    serving: Serving,
    requests: Requests,
    routing: Routing,
    *,
    placement: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None = None,
    contention: float = 1.0,
    change: Callable[[Plan], Plan] | None = None,
) -> Run:
    """Serve requests one way; `change` edits what the kernel takes."""
    ready = plan(model, node, serving, requests, contention)
    if change is not None:
        ready = change(ready)
    ranking = popularity(routing)
    where = documents(requests, routing)
    return run(ready, requests, routing, where, ranking, placement=placement, warm=serving.warm)


def with_memory(node: NodePreset, memory_gb: float) -> NodePreset:
    """Return a server whose accelerators have another capacity: where an estimate ignores it."""
    return replace(node, gpu=replace(node.gpu, memory_gb=memory_gb))


def relative_row(
    row_id: str,
    what: str,
    published: float,
    ours: float,
    unit: str,
    tolerance: float,
    constants: tuple[str, ...] = (),
    note: str = "",
) -> Row:
    """Return a row whose error is relative [%]."""
    error = 100.0 * abs(ours / published - 1.0)
    return Row(
        row_id, what, published, ours, unit, error, tolerance, "percent", constants,
        note if error > tolerance else "",
    )  # fmt: skip
