"""Serving of mixture-of-experts models: expert caches, prefetch, tiers, parallelism."""

from archgym.simulators.moe.machine.engines import ENGINE_NAMES
from archgym.simulators.moe.machine.hardware import (
    Gpu,
    Host,
    Link,
    NodePreset,
    gpu,
    gpu_names,
    node,
    node_names,
)
from archgym.simulators.moe.machine.hardware import node_names as hardware_names
from archgym.simulators.moe.machine.models import LatentAttention, MoeModel
from archgym.simulators.moe.machine.presets import model, model_names
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.workloads.requests import Requests, generate_requests, read_requests
from archgym.simulators.moe.workloads.routing import (
    Routing,
    RoutingPreset,
    generate,
    routing_preset,
    routing_preset_names,
)

__all__ = [
    "Gpu",
    "Host",
    "LatentAttention",
    "Link",
    "MoeModel",
    "MoeSimulator",
    "NodePreset",
    "Requests",
    "Routing",
    "RoutingPreset",
    "Serving",
    "engine_names",
    "generate",
    "generate_requests",
    "gpu",
    "gpu_names",
    "hardware_names",
    "model",
    "model_names",
    "node",
    "node_names",
    "read_requests",
    "routing_preset",
    "routing_preset_names",
]


def engine_names() -> tuple[str, ...]:
    """Return the names of all serving engines."""
    return ENGINE_NAMES
