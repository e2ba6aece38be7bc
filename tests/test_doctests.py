"""Examples in docstrings run: those of public classes, and any other in their modules."""

import doctest
import importlib
import inspect

import pytest

import archgym

# Public classes outside `archgym.__all__`, by their module; each has an example.
CLASSES = {
    "archgym.envs.batch": ["DesignVectorEnv"],
    "archgym.envs.design": ["DesignEnv"],
    "archgym.envs.multi_agent": ["ParallelDesignEnv"],
    "archgym.envs.sb3": ["Sb3VecEnv"],
    "archgym.proxy.proxy": ["ProxySimulator"],
}
LIBRARIES = {
    "archgym.envs.multi_agent": "pettingzoo",
    "archgym.envs.sb3": "stable_baselines3",
    "archgym.explorer.subject": "panel",
}


NAMES = [name for name in archgym.__all__ if name != "__version__"]
MODULES = sorted({getattr(archgym, name).__module__ for name in NAMES} | set(CLASSES))


@pytest.mark.parametrize("name", NAMES)
def test_public_name_shows_an_example(name: str) -> None:
    doc = inspect.getdoc(getattr(archgym, name)) or ""

    assert "Example:" in doc
    assert ">>>" in doc


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name: str) -> None:
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    module = importlib.import_module(name)

    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(("name", "kind"), [(n, kind) for n, ks in CLASSES.items() for kind in ks])
def test_public_class_shows_an_example(name: str, kind: str) -> None:
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name])
    doc = inspect.getdoc(getattr(importlib.import_module(name), kind)) or ""

    assert "Example:" in doc
    assert ">>>" in doc
