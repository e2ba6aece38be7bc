"""Serving of mixture-of-experts models: expert caches, prefetch, tiers, parallelism."""

from typing import Final

from archgym.simulators.moe.machine.hardware import NodePreset, node
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.workloads.models import MoeModel
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.routing import Routing, generate, routing_preset
from archgym.simulators.moe.workloads.routing_trace import write_routing

USES: Final = ("cluster",)
"""Other simulators whose parts this one runs."""

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
