"""Serving of mixture-of-experts models: expert caches, prefetch, tiers, parallelism."""

from archgym.simulators.moe.formats.routing_trace import write_routing
from archgym.simulators.moe.machine.hardware import NodePreset, node
from archgym.simulators.moe.machine.models import MoeModel
from archgym.simulators.moe.machine.presets import model
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.routing import Routing, generate, routing_preset

__all__ = [
    "MoeModel",
    "MoeSimulator",
    "NodePreset",
    "Requests",
    "Routing",
    "generate",
    "model",
    "node",
    "routing_preset",
    "write_routing",
]
