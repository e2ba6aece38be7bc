"""Environments: thin adapters round a task, for Gymnasium and libraries of agents."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archgym.envs.batch import DesignVectorEnv
    from archgym.envs.control import ControlEnv
    from archgym.envs.control_team import ParallelControlEnv
    from archgym.envs.design import DesignEnv
    from archgym.envs.episodes import evaluator
    from archgym.envs.minari import record_minari
    from archgym.envs.multi_agent import ParallelDesignEnv, parallel
    from archgym.envs.registration import environment_id, environment_ids, register_all
    from archgym.envs.sb3 import Sb3VecEnv

# Where each public name lives; imported on first use, since Gymnasium, PettingZoo and
# Stable-Baselines3 are heavy or optional and registration needs none of them.
_HOMES = {
    "ControlEnv": "control",
    "DesignEnv": "design",
    "DesignVectorEnv": "batch",
    "ParallelControlEnv": "control_team",
    "ParallelDesignEnv": "multi_agent",
    "Sb3VecEnv": "sb3",
    "environment_id": "registration",
    "environment_ids": "registration",
    "evaluator": "episodes",
    "parallel": "multi_agent",
    "record_minari": "minari",
    "register_all": "registration",
}

__all__ = [
    "ControlEnv",
    "DesignEnv",
    "DesignVectorEnv",
    "ParallelControlEnv",
    "ParallelDesignEnv",
    "Sb3VecEnv",
    "environment_id",
    "environment_ids",
    "evaluator",
    "parallel",
    "record_minari",
    "register_all",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archgym.envs' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"archgym.envs.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
