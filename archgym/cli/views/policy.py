"""Text rendering of the evaluation of a policy."""

from typing import TYPE_CHECKING

from archgym.cli.console.terminal import heading, number, say, table
from archgym.cli.views.study import limits_text

if TYPE_CHECKING:
    from archgym.report.policy_evaluation import PolicyEvaluation

UNTRAINED = "The policy is untrained: the search ended before the agent's first update."


def write_policy_evaluation(found: "PolicyEvaluation") -> None:
    """Write the designs of a policy with their rewards, metrics and parameters."""
    task, designs = found.task, found.designs
    heading(f"{task.id}: policy of {found.source.policy.agent}")
    if found.trained_on != task.id:
        say(f"Trained on {found.trained_on}.")
    if found.updates == 0:
        say(UNTRAINED)
    n, feasible = found.n_designs, found.n_feasible
    of_feasible = "" if feasible in (0, n) else " of those"
    mean = f"; mean reward{of_feasible} {found.mean_reward:.4f}" if feasible else ""
    say(
        f"{n} design{'' if n == 1 else 's'}, {found.n_distinct} distinct, {feasible} "
        f"feasible{mean}."
    )
    say()
    names = [design.name for design in designs]
    rows = [("reward", *(f"{design.reward:.4f}" for design in designs), "")]
    rows += [
        (spec.name, *(number(float(design.values[column])) for design in designs), spec.unit)
        for column, spec in enumerate(task.metrics)
    ]
    table(("metric", *names, "unit"), rows, right=names)
    shown = [task.space.design_at(design.indices) for design in designs]
    rows = [
        (name, *(str(design[name]) for design in shown), task.space.parameter(name).unit)
        for name in task.space.names
    ]
    table(("parameter", *names, "unit"), rows)
    for design in designs:
        if design.problem is not None:
            say(f"The design {design.name!r} is infeasible: {design.problem}")
        elif task.limits:
            say(f"{design.name}: {limits_text(design.missed_limits)}")
