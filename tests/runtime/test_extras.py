"""Only the modules of an extra need its libraries."""

import json
import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, json, pkgutil, sys
for library in sys.argv[1:]:
    sys.modules[library] = None
import archgym
found = []
for module in pkgutil.walk_packages(archgym.__path__, "archgym."):
    try:
        importlib.import_module(module.name)
    except ImportError:
        found.append(module.name)
print(json.dumps(found))
"""

RLLIB = "archgym.agents._rllib."
RL = ["archgym.agents._sb3.training", "archgym.envs.sb3"]
TEAMS = ["archgym.envs.control_team", "archgym.envs.multi_agent"]


@pytest.mark.parametrize(
    ("libraries", "theirs"),
    [
        (["pettingzoo"], TEAMS),
        (["stable_baselines3", "sb3_contrib", "torch"], RL),
        (
            ["ray", "pymoo", "minari", "fsspec", "s3fs", "mcp", "onnx"],
            ["archgym.runtime.ray_session"],
        ),
    ],
)
def test_modules_that_need_an_extra_are_its_own(libraries: list[str], theirs: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *libraries], capture_output=True, text=True, check=True
    )

    found = {name for name in json.loads(ran.stdout) if not name.startswith(RLLIB)}
    assert found - {"archgym.envs.openenv"} == set(theirs)


def test_control_works_without_the_extra_of_teams() -> None:
    code = """
import sys
sys.modules["pettingzoo"] = None
import gymnasium, archgym
environment = gymnasium.make("archgym/DramControl-v0", task="dram-locality:requests=1000")
observation, _ = environment.reset(seed=0)
print(environment.observation_space.contains(observation))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "True"
