"""What the tests of each simulator say about it, in `small.py` of its folder."""

from importlib import import_module
from pathlib import Path
from typing import Any

from archgym.evaluation.simulator import simulator_names

_SIMULATORS = Path(__file__).resolve().parents[1] / "simulators"


def declared(name: str) -> dict[str, Any]:
    """Return a constant of `small.py` by simulator, of those that have it."""
    found = {}
    for simulator in simulator_names():
        folder = simulator.replace("+", "_plus_")
        # Tests register simulators of their own, too.
        if (_SIMULATORS / folder / "small.py").is_file():
            module = import_module(f"tests.simulators.{folder}.small")
            if hasattr(module, name):
                found[simulator] = getattr(module, name)
    return found
