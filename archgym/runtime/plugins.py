"""Finds simulators and agents: by folder or file here, by entry point in other packages."""

import importlib
import inspect
import os
import pkgutil
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, final

from archgym.errors import (
    ArchGymError,
    InvalidArgumentError,
    MissingExtraError,
    UnknownNameError,
    unknown_name,
)

_OWN_CLASSES = "ARCHGYM_OWN_CLASSES"
"""Environment variable of classes without a package, which processes started from here know too."""


@final
@dataclass(frozen=True)
class _Clash:
    """Values registered under one name; none of them is used."""

    values: tuple[str, ...]


@cache
def registered(group: str) -> dict[str, str | EntryPoint | _Clash]:
    """Return what is registered in a group, by name.

    Args:
      group: Package whose modules are registered, and the entry-point group of the same name.
    """
    package = importlib.import_module(group)
    found: dict[str, str | EntryPoint | _Clash] = {
        # No module of Python may be called `cpu+dram`.
        module.name.replace("_plus_", "+"): f"{group}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_") and _is_complete(module)
    }
    for point in (*entry_points(group=group), *_own_points(group)):
        known = found.get(point.name)
        # A package that is on the path twice is registered once.
        if known is None or (isinstance(known, EntryPoint) and known == point):
            found[point.name] = point
        elif isinstance(known, _Clash):
            found[point.name] = _Clash((*known.values, point.value))
        else:
            found[point.name] = _Clash((str(getattr(known, "value", known)), point.value))
    return found


def _own_points(group: str) -> list[EntryPoint]:
    words = [word.split("|") for word in os.environ.get(_OWN_CLASSES, "").split()]
    return [EntryPoint(name, value, of) for of, name, value in words if of == group]


def register_own(group: str, value: str, interface: type[Any]) -> str:
    """Register a class of a file in the current folder, and return its name.

    Processes that are started from here know it too. Studies record its name, so a later process
    that reads them has to register it again.

    Args:
      group: Package and entry-point group, such as ``archgym.agents``.
      value: Module and class, such as ``my_agent:Mine``.
      interface: Base class that the class must derive from.

    Raises:
      InvalidArgumentError: It cannot be loaded, or is not such a class.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    name = _own_name(_loaded(f"Class {value!r}", EntryPoint(value, value, group), interface))
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]+", name):
        raise InvalidArgumentError(f"`name` of {value!r} must be one word; got {name!r}.")
    others = os.environ.get(_OWN_CLASSES, "").split()
    os.environ[_OWN_CLASSES] = " ".join([*others, f"{group}|{name}|{value}"])
    registered.cache_clear()
    return name


def _is_complete(module: pkgutil.ModuleInfo) -> bool:
    """Return True for a module, and for a package that holds a simulator, as the kit does not."""
    finder: Any = module.module_finder
    return not module.ispkg or (Path(finder.path) / module.name / "simulator.py").is_file()


def load(group: str, kind: str, name: str, interface: type[Any]) -> type[Any]:
    """Return the class registered under a name, imported now.

    Args:
      group: Package and entry-point group, such as ``archgym.agents``.
      kind: Word for error messages, such as ``agent``.
      name: Registered name.
      interface: Base class that the class must derive from.

    Raises:
      UnknownNameError: No such name; the message lists similar ones.
      InvalidArgumentError: Another package registers it, and it cannot be used.
    """
    found = registered(group)
    if name not in found and ":" in name:
        raise UnknownNameError(
            f"{kind.capitalize()} {name!r} must be a registered name, not a class. Register the "
            f"class in the entry-point group {group!r} of its package and give that name, or give "
            "the class itself from Python."
        )
    if name not in found:
        raise unknown_name(kind, name, found)
    target = found[name]
    if isinstance(target, _Clash):
        raise InvalidArgumentError(
            f"Each name in {group!r} must be registered once; {name!r} comes from "
            f"{' and from '.join(map(repr, target.values))}. Rename or uninstall one of them."
        )
    if isinstance(target, EntryPoint):
        return _load_point(group, target, interface)
    return _only_class(importlib.import_module(target), interface)


def _load_point(group: str, point: EntryPoint, interface: type[Any]) -> type[Any]:
    """Return the class that an entry point names, whatever its package does when it is imported."""
    what = f"Entry point {point.name!r} in {group!r}"
    loaded = _loaded(what, point, interface)
    # A study records the class's name, by which it is resumed.
    own = _own_name(loaded)
    if own != point.name:
        raise InvalidArgumentError(
            f"{what} must be named as its class is; the name of {point.value!r} is {own!r}. Give "
            "both the same name."
        )
    return loaded


def _loaded(what: str, point: EntryPoint, interface: type[Any]) -> type[Any]:
    try:
        loaded = point.load()
    except MissingExtraError:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidArgumentError(
            f"{what} must name a subclass of {interface.__name__}; {point.value!r} cannot be "
            f"loaded: {_words(error)}. Repair it, or uninstall its package."
        ) from error
    if not (inspect.isclass(loaded) and issubclass(loaded, interface)):
        raise InvalidArgumentError(
            f"{what} must name a subclass of {interface.__name__}; got {point.value!r}. Repair it, "
            "or uninstall its package."
        )
    return loaded


def _own_name(loaded: Any) -> Any:
    return loaded.spec.name if hasattr(loaded, "spec") else getattr(loaded, "name", None)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
