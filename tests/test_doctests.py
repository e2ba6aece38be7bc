"""Examples in docstrings run: those of public classes, and any other in their modules."""

import doctest
import importlib
import inspect

import pytest

# Public classes that people use or implement, by their module; each has an example.
CLASSES = {
    "archgym.envs.batch": ["DesignVectorEnv"],
    "archgym.envs.design": ["DesignEnv"],
    "archgym.envs.multi_agent": ["ParallelDesignEnv"],
    "archgym.envs.sb3": ["Sb3VecEnv"],
    "archgym.evaluation.objective": ["Objective"],
    "archgym.evaluation.simulator": ["Simulator"],
    "archgym.evaluation.task": ["Task"],
    "archgym.proxy.simulator": ["ProxySimulator"],
    "archgym.agent.agent": ["Agent", "AskTellAgent"],
    "archgym.spaces.space": ["DesignSpace"],
    "archgym.studies.study": ["Study"],
}
LIBRARIES = {"archgym.envs.multi_agent": "pettingzoo", "archgym.envs.sb3": "stable_baselines3"}


@pytest.mark.parametrize("name", CLASSES)
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
