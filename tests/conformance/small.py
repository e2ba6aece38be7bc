"""What the tests of each simulator say about it, in `small.py` of its folder."""

from importlib import import_module
from typing import Any

from archgym.evaluation.simulator import simulator_names


def declared(name: str) -> dict[str, Any]:
    """Return a constant of `small.py` by simulator, of those that have it."""
    modules = {
        simulator: import_module(f"tests.simulators.{simulator.replace('+', '_plus_')}.small")
        for simulator in simulator_names()
    }
    return {key: getattr(module, name) for key, module in modules.items() if hasattr(module, name)}
