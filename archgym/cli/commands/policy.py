"""`archgym policy`: use of a trained policy on its own task or another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archgym.cli.console.terminal import heading, number, say, table, write_json
from archgym.cli.options.groups import command_group, with_groups
from archgym.cli.options.run import MAX_SEED
from archgym.cli.options.task import (
    GoalOptions,
    JsonOption,
    StandInOptions,
    TaskOptions,
    make_task,
    task_choices,
    workload_weights,
)

if TYPE_CHECKING:
    from archgym.report.policy_evaluation import PolicyEvaluation

UNTRAINED = "The policy is untrained: the search ended before the agent's first update."
_MAX_DESIGNS = 100_000
_INFEASIBLE_CODE = 3

policy_app = command_group("policy", "Use policies that reinforcement learning agents trained.")


@policy_app.command()
@with_groups
def evaluate(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of a study, or a policy.npz file.", metavar="STUDY|POLICY"),
    ],
    goal: GoalOptions,
    stand_in: StandInOptions,
    designs: Annotated[
        int,
        typer.Option(
            "--designs",
            help="Number of designs: the most likely one, the others drawn at random.",
            min=1,
            max=_MAX_DESIGNS,
        ),
    ] = 16,
    seed: Annotated[
        int,
        typer.Option("--seed", help="Random seed of the drawn designs.", min=0, max=MAX_SEED),
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Evaluate designs that a trained policy proposes.

    The default design and the best design of the policy's study are shown for comparison. The task
    is the one that the policy was trained on, or that with another workload or objective.
    """
    from archgym.cli.console.progress import announce_compilation
    from archgym.cli.console.signals import prompt_stops
    from archgym.report.policy_evaluation import evaluate_policy, read_policy, retarget

    policy = read_policy(source)
    announce_compilation()
    with prompt_stops():
        trained = policy.trained_task(lambda name: make_task(task_choices(name, TaskOptions())))
        weights = workload_weights(goal.workload)
        task = retarget(trained, weights, goal.objective, stand_in.path)
        found = evaluate_policy(policy, trained, task, designs, seed)
    write_json(found.to_json()) if json else _write(found)
    if not found.n_feasible:
        raise typer.Exit(_INFEASIBLE_CODE)


def _write(found: "PolicyEvaluation") -> None:
    """Write the designs of a policy with their rewards, metrics and parameters."""
    from archgym.cli.views.study import limits_text

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
