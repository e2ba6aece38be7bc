"""Finds simulators and agents: by folder or file here, by entry point in other packages."""

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from archgym.agent import Agent
from archgym.errors import ArchGymError, InvalidArgumentError, unknown_name
from archgym.simulator import Simulator

__all__ = ["agent_class", "agent_names", "simulator_class", "simulator_names"]


def simulator_names() -> tuple[str, ...]:
    """Names of all simulators, sorted."""
    return tuple(sorted(_found("archgym.simulators")))


def simulator_class(name: str) -> type[Simulator]:
    """The simulator with this name, imported now.

    Raises:
      UnknownNameError: There is none; the message lists the near ones.
    """
    return _load("archgym.simulators", "simulator", name, Simulator)


def agent_names() -> tuple[str, ...]:
    """Names of all agents, sorted."""
    return tuple(sorted(_found("archgym.agents")))


def agent_class(name: str) -> type[Agent]:
    """The agent with this name, imported now.

    Raises:
      UnknownNameError: There is none; the message lists the near ones.
    """
    return _load("archgym.agents", "agent", name, Agent)


@cache
def _found(group: str) -> dict[str, str | EntryPoint]:
    package = importlib.import_module(group)
    found: dict[str, str | EntryPoint] = {
        module.name: f"{group}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    }
    for point in entry_points(group=group):
        known = found.get(point.name)
        # A package that is on the path twice is registered once.
        is_same = isinstance(known, EntryPoint) and known == point
        if known is not None and not is_same:
            raise InvalidArgumentError(
                f"Each name in {group!r} must be registered once; {point.name!r} comes from "
                f"{getattr(known, 'value', known)!r} and from {point.value!r}. Rename or uninstall "
                "one of them."
            )
        found[point.name] = point
    return found


def _load(group: str, kind: str, name: str, interface: type[Any]) -> type[Any]:
    found = _found(group)
    if name not in found:
        raise unknown_name(kind, name, found)
    target = found[name]
    if isinstance(target, EntryPoint):
        try:
            loaded = target.load()
        except ArchGymError:
            raise
        except (ImportError, AttributeError) as error:
            raise InvalidArgumentError(
                f"Entry point {name!r} in {group!r} must name a subclass of {interface.__name__}; "
                f"{target.value!r} cannot be loaded: {error}. Repair or uninstall its package."
            ) from error
        if not (inspect.isclass(loaded) and issubclass(loaded, interface)):
            raise InvalidArgumentError(
                f"Entry point {name!r} in {group!r} must name a subclass of {interface.__name__}; "
                f"got {target.value!r}."
            )
        return loaded
    return _only_class(importlib.import_module(target), interface)


def _only_class(module: ModuleType, interface: type[Any]) -> type[Any]:
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, interface)
        and not inspect.isabstract(value)
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]
    if len(own) != 1:
        raise ArchGymError(f"{module.__name__} must hold one {interface.__name__}; got {len(own)}.")
    return own[0]
