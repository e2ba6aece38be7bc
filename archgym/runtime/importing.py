"""Imports that wait for their use or draw random numbers, and libraries on one thread."""

import importlib
import random
import sys
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar


def names_on_first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package whose public names are imported when they are used.

    Args:
      package: Its dotted name.
      homes: Module in the package of each public name.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return find


def import_library(name: str, extra: str | None = None) -> Any:
    """Import a module without changing Python's global random state.

    scikit-learn's trees draw some the first time that they are imported, which would make what
    others draw depend on who came first.

    Raises:
      MissingExtraError: It is not installed, and `extra` would bring it.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        return module
    state = random.getstate()
    try:
        return importlib.import_module(name)
    except ImportError:
        if extra is None:
            raise
        # Here, since names of packages are found before anything else is imported.
        from archgym.errors import MissingExtraError

        raise MissingExtraError(name, extra) from None
    finally:
        random.setstate(state)


P = ParamSpec("P")
R = TypeVar("R")


def one_thread(function: Callable[P, R], user_api: str = "blas") -> Callable[P, R]:
    """Run a function's linear algebra on one thread, whatever the user's settings are.

    OpenBLAS takes all cores for matrices of a hundred rows, and is then several times slower on a
    busy machine. One thread also gives the same last digits on every machine of a kind. With
    `user_api="openmp"`, the trees of scikit-learn, which must be imported, have one thread.
    """

    @wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        with _controller(user_api).limit(limits=1):
            return function(*arguments, **named)

    return run


@cache
def _controller(user_api: str) -> Any:
    """Return the controller of the libraries of a kind that are loaded, found once."""
    import scipy.linalg  # noqa: F401  # its own library is controlled too
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api=user_api)
