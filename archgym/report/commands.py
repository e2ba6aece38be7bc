"""Command lines that compute again what a report or an explanation says."""

import shlex

import numpy as np

from archgym.evaluation.stand_in import StandIn
from archgym.evaluation.task import Task
from archgym.evaluation.task_choices import objective_choice


def evaluate_command(task: Task, indices: np.ndarray) -> str:
    """Return the command line that evaluates a design of a task.

    Args:
      task: Its workloads that came from files are named by their paths.
      indices: (n_parameters,)
    """
    words = ["archgym", "evaluate", task.id]
    simulator, source = task.simulator, task.simulator.unrestricted
    is_proxy = isinstance(source, StandIn) and source.kind == "proxy"
    if is_proxy or any(weighted.source != weighted.workload.name for weighted in task.workloads):
        words = ["archgym", "evaluate", simulator.name, "--space", task.space_name]
        for weighted in task.workloads:
            words += ["-w", f"{weighted.source}={weighted.weight:g}"]
        words += ["--objective", objective_choice(task.objective, simulator)]
        words += ["--fidelity", simulator.fidelity]
        for name, value in simulator.options.items():
            # That of a proxy says which file it is.
            if not (is_proxy and name == "proxy"):
                words += ["-o", f"{name}={value}"]
    if isinstance(source, StandIn) and is_proxy:
        words += ["--from-proxy", str(source.path)]
    design, default = (task.space.design_at(each) for each in (indices, task.space.default_indices))
    for parameter, setting in design.items():
        if setting != default[parameter]:
            text = ",".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)
            words += ["--set", f"{parameter}={text}"]
    return shlex.join(words)
