"""`archgym policy`: use of a trained policy on its own task or another."""

from pathlib import Path
from typing import Annotated

import typer

from archgym.cli.console.terminal import say, write_json
from archgym.cli.options.groups import with_groups
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

_MAX_DESIGNS = 100_000
_INFEASIBLE_CODE = 3

policy_app = typer.Typer(
    name="policy",
    help="Use policies that reinforcement learning agents trained.",
    rich_markup_mode=None,
)


@policy_app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Use policies that reinforcement learning agents trained."""
    if context.invoked_subcommand is None:
        say(context.get_help())


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
    from archgym.cli.views.policy import write_policy_evaluation
    from archgym.report.policy_evaluation import evaluate_policy, read_policy, retarget

    policy = read_policy(source)
    announce_compilation()
    with prompt_stops():
        trained = policy.trained_task(lambda name: make_task(task_choices(name, TaskOptions())))
        weights = workload_weights(goal.workload)
        task = retarget(trained, weights, goal.objective, stand_in.path)
        found = evaluate_policy(policy, trained, task, designs, seed)
    write_json(found.to_json()) if json else write_policy_evaluation(found)
    if not found.n_feasible:
        raise typer.Exit(_INFEASIBLE_CODE)
