"""ArchGym: a gymnasium for hardware design-space exploration."""

from typing import TYPE_CHECKING

from archgym.envs.registration import register_with_gymnasium
from archgym.runtime.importing import names_on_first_use
from archgym.version import __version__

if TYPE_CHECKING:
    from archgym.agent.agent import Agent, AskTellAgent
    from archgym.composition.compose import FunctionComposition, compose
    from archgym.composition.composition import Composition, Part
    from archgym.errors import ArchGymError
    from archgym.evaluation.external import ExternalSimulator, Infeasible
    from archgym.evaluation.function import FunctionSimulator, OutsideSimulator, simulator
    from archgym.evaluation.limits import Limit
    from archgym.evaluation.metrics import Metrics, MetricSpec
    from archgym.evaluation.objective import Objective, Term
    from archgym.evaluation.simulator import BatchResult, Simulator, Workload
    from archgym.evaluation.spec import SimulatorSpec
    from archgym.evaluation.trials import Trial, Trials
    from archgym.explorer.subject import explore
    from archgym.files.policy import Policy
    from archgym.searching import SearchResult, search
    from archgym.spaces.design import Condition, Constraint, Design
    from archgym.spaces.expression import P
    from archgym.spaces.parameter import (
        Categorical,
        Factorisation,
        Integer,
        Ordinal,
        Parameter,
        Permutation,
        PowerOfTwo,
        Real,
    )
    from archgym.spaces.space import DesignSpace
    from archgym.studies.snapshot import read_study
    from archgym.studies.study import Study
    from archgym.tasks.task import Task

# Where each public name lives. They are imported on first use, so that `import archgym` and the
# command line's help stay quick.
_HOMES = {
    "Agent": "agent.agent",
    "ArchGymError": "errors",
    "AskTellAgent": "agent.agent",
    "BatchResult": "evaluation.simulator",
    "Categorical": "spaces.parameter",
    "Composition": "composition.composition",
    "Condition": "spaces.design",
    "Constraint": "spaces.design",
    "Design": "spaces.design",
    "DesignSpace": "spaces.space",
    "ExternalSimulator": "evaluation.external",
    "Factorisation": "spaces.parameter",
    "FunctionComposition": "composition.compose",
    "FunctionSimulator": "evaluation.function",
    "Infeasible": "evaluation.external",
    "Integer": "spaces.parameter",
    "Limit": "evaluation.limits",
    "MetricSpec": "evaluation.metrics",
    "Metrics": "evaluation.metrics",
    "Objective": "evaluation.objective",
    "Ordinal": "spaces.parameter",
    "OutsideSimulator": "evaluation.function",
    "P": "spaces.expression",
    "Parameter": "spaces.parameter",
    "Part": "composition.composition",
    "Permutation": "spaces.parameter",
    "Policy": "files.policy",
    "PowerOfTwo": "spaces.parameter",
    "Real": "spaces.parameter",
    "SearchResult": "searching",
    "Simulator": "evaluation.simulator",
    "SimulatorSpec": "evaluation.spec",
    "Study": "studies.study",
    "Task": "tasks.task",
    "Term": "evaluation.objective",
    "Trial": "evaluation.trials",
    "Trials": "evaluation.trials",
    "Workload": "evaluation.simulator",
    "compose": "composition.compose",
    "explore": "explorer.subject",
    "read_study": "studies.snapshot",
    "search": "searching",
    "simulator": "evaluation.function",
}

__all__ = [
    "Agent",
    "ArchGymError",
    "AskTellAgent",
    "BatchResult",
    "Categorical",
    "Composition",
    "Condition",
    "Constraint",
    "Design",
    "DesignSpace",
    "ExternalSimulator",
    "Factorisation",
    "FunctionComposition",
    "FunctionSimulator",
    "Infeasible",
    "Integer",
    "Limit",
    "MetricSpec",
    "Metrics",
    "Objective",
    "Ordinal",
    "OutsideSimulator",
    "P",
    "Parameter",
    "Part",
    "Permutation",
    "Policy",
    "PowerOfTwo",
    "Real",
    "SearchResult",
    "Simulator",
    "SimulatorSpec",
    "Study",
    "Task",
    "Term",
    "Trial",
    "Trials",
    "Workload",
    "__version__",
    "compose",
    "explore",
    "read_study",
    "search",
    "simulator",
]


__getattr__ = names_on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__


register_with_gymnasium()
