"""Serving of mixture-of-experts models: expert caches, prefetch, tiers, parallelism."""

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
from archgym.simulators.moe.models import LatentAttention, MoeModel, model, model_names
from archgym.simulators.moe.requests import Requests, generate_requests, read_requests
from archgym.simulators.moe.routing import (
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
    "NodePreset",
    "Requests",
    "Routing",
    "RoutingPreset",
    "generate",
    "generate_requests",
    "gpu",
    "gpu_names",
    "model",
    "model_names",
    "node",
    "node_names",
    "read_requests",
    "routing_preset",
    "routing_preset_names",
]
