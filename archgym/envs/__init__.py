"""Environments: thin adapters round a task, for Gymnasium and libraries of agents."""

from typing import TYPE_CHECKING

from archgym.runtime.importing import names_on_first_use

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


__getattr__ = names_on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
