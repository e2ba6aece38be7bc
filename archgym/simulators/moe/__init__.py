"""Serving of mixture-of-experts models: expert caches, prefetch, tiers, parallelism."""

from archgym.simulators.moe.engines import ENGINE_NAMES
from archgym.simulators.moe.hardware import (
    Gpu,
    Host,
    Link,
    NodePreset,
    gpu,
    gpu_names,
    node,
    node_names,
)
from archgym.simulators.moe.hardware import node_names as hardware_names
from archgym.simulators.moe.models import LatentAttention, MoeModel
from archgym.simulators.moe.presets import model, model_names
from archgym.simulators.moe.requests import Requests, generate_requests, read_requests
from archgym.simulators.moe.routing import (
    Routing,
    RoutingPreset,
    generate,
    routing_preset,
    routing_preset_names,
)
from archgym.simulators.moe.serving import Serving
from archgym.simulators.moe.simulator import MoeSimulator

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
