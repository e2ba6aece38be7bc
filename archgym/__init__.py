"""ArchGym: a gymnasium for hardware design-space exploration."""

import importlib
from typing import TYPE_CHECKING, Any

from archgym.envs.registration import register_with_gymnasium
from archgym.version import __version__

if TYPE_CHECKING:
    from archgym.agent import Agent, AskTellAgent, Trial, Trials
    from archgym.errors import ArchGymError
    from archgym.expression import P
    from archgym.external import ExternalSimulator
    from archgym.metrics import Metrics, MetricSpec
    from archgym.objective import Objective, Term
    from archgym.parameter import (
        Categorical,
        Factorisation,
        Integer,
        Ordinal,
        Parameter,
        Permutation,
        PowerOfTwo,
        Real,
    )
    from archgym.policy import Policy
    from archgym.simulator import BatchResult, Simulator, Workload
    from archgym.space import Condition, Constraint, Design, DesignSpace
    from archgym.study import Study, read_study
    from archgym.task import Task

# Where each public name lives. They are imported on first use, so that `import archgym` and the
# command line's help stay quick.
_HOMES = {
    "Agent": "agent",
    "ArchGymError": "errors",
    "AskTellAgent": "agent",
    "BatchResult": "simulator",
    "Categorical": "parameter",
    "Condition": "space",
    "Constraint": "space",
    "Design": "space",
    "DesignSpace": "space",
    "ExternalSimulator": "external",
    "Factorisation": "parameter",
    "Integer": "parameter",
    "MetricSpec": "metrics",
    "Metrics": "metrics",
    "Objective": "objective",
    "Ordinal": "parameter",
    "P": "expression",
    "Parameter": "parameter",
    "Permutation": "parameter",
    "Policy": "policy",
    "PowerOfTwo": "parameter",
    "Real": "parameter",
    "Simulator": "simulator",
    "Study": "study",
    "Task": "task",
    "Term": "objective",
    "Trial": "agent",
    "Trials": "agent",
    "Workload": "simulator",
    "read_study": "study",
}

__all__ = [
    "Agent",
    "ArchGymError",
    "AskTellAgent",
    "BatchResult",
    "Categorical",
    "Condition",
    "Constraint",
    "Design",
    "DesignSpace",
    "ExternalSimulator",
    "Factorisation",
    "Integer",
    "MetricSpec",
    "Metrics",
    "Objective",
    "Ordinal",
    "P",
    "Parameter",
    "Permutation",
    "Policy",
    "PowerOfTwo",
    "Real",
    "Simulator",
    "Study",
    "Task",
    "Term",
    "Trial",
    "Trials",
    "Workload",
    "__version__",
    "read_study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'archgym' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"archgym.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


register_with_gymnasium()
