"""Command lines that compute again what a report or an explanation says."""

import shlex

import numpy as np

from archgym.task import Task

__all__ = ["evaluate_command"]


def evaluate_command(task: Task, indices: np.ndarray) -> str:
    """What evaluates a design of a task.

    Args:
      task: Its workloads that came from files are named by their paths.
      indices: (n_parameters,)
    """
    words = ["archgym", "evaluate", task.id]
    if any(weighted.source != weighted.workload.name for weighted in task.workloads):
        words = ["archgym", "evaluate", task.simulator.name, "--space", task.space_name]
        for weighted in task.workloads:
            words += ["-w", f"{weighted.source}={weighted.weight:g}"]
        words += ["--objective", task.objective.name, "--fidelity", task.simulator.fidelity]
        for name, value in task.simulator.options.items():
            words += ["-o", f"{name}={value}"]
    design, default = (task.space.design_at(each) for each in (indices, task.space.default_indices))
    for knob, setting in design.items():
        if setting != default[knob]:
            text = ",".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)
            words += ["--set", f"{knob}={text}"]
    return shlex.join(words)
