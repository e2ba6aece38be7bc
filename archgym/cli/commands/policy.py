"""`archgym policy`: what an agent has learned, used on its own task or another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.terminal import heading, number, say, table, unit, write_json
from archgym.cli.options.task import (
    FromProxyOption,
    FromTableOption,
    JsonOption,
    ObjectiveOption,
    TaskChoice,
    WorkloadOption,
    make_task,
    stand_in_path,
    workload_weights,
)
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.task import Evaluation, Task
    from archgym.search.policy import Policy
    from archgym.studies.snapshot import StudyLog

__all__ = ["UNTRAINED", "policy_app"]

UNTRAINED = "The policy is untrained: the search ended before the agent's first update."

_MAX_DESIGNS = 100_000
_NOT_BUILT = 3

policy_app = typer.Typer(
    name="policy",
    help="Use what a reinforcement learner has learned.",
    rich_markup_mode=None,
)


@policy_app.callback(invoke_without_command=True)
def _group(context: typer.Context) -> None:
    """Use what a reinforcement learner has learned."""
    if context.invoked_subcommand is None:
        say(context.get_help())


@dataclass(frozen=True)
class _Column:
    """A design, where it comes from, and what it is worth on the task."""

    name: str
    indices: "np.ndarray"
    reward: float
    values: "np.ndarray"
    """Averaged over the workloads, NaN where it was not built."""
    why: str | None
    """Why it cannot be built."""


@policy_app.command()
def evaluate(
    source: Annotated[
        Path,
        typer.Argument(help="A study's folder, or a policy.npz.", metavar="STUDY|POLICY"),
    ],
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    from_table: FromTableOption = None,
    from_proxy: FromProxyOption = None,
    designs: Annotated[
        int,
        typer.Option(
            "--designs",
            help="How many it makes: its most likely one, the others drawn.",
            min=1,
            max=_MAX_DESIGNS,
        ),
    ] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.", min=0, max=2**63 - 1)] = 0,
    json: JsonOption = False,
) -> None:
    """Evaluate designs that a trained policy makes.

    They stand beside the default design and the best that the policy's study has found, all on the
    task it was trained on or on another workload.
    """
    import numpy as np

    from archgym.cli.console.signals import prompt_stops
    from archgym.evaluation.isolation import evaluate_isolated
    from archgym.search.agent import agent_class

    policy, log = _load(source)
    kind = agent_class(policy.agent)
    trained = _trained_on(source, policy, log)
    task = _task(trained, workload, objective, stand_in_path(from_table, from_proxy))
    with prompt_stops():
        proposed = kind.propose(policy, task, designs, seed)
        extra = [task.space.default_indices]
        best = None if log is None else log.best()
        if best is not None:
            extra.append(task.space.indices_of(best.design))
        results = evaluate_isolated(task, np.concatenate([proposed, np.stack(extra)]))
    rewards = results.reward[:designs]
    top = int(np.argmax(rewards))
    columns = [_column("most likely", task, proposed[0], results, 0)]
    if designs > 1:
        columns.append(_column(f"best of {designs}", task, proposed[top], results, top))
    if best is not None:
        columns.append(_column("study's best", task, extra[1], results, designs + 1))
    columns.append(_column("default", task, extra[0], results, designs))
    built = (results.reason[:designs] == 0).all(axis=1)
    facts = {
        "policy": str(source),
        "agent": policy.agent,
        "trained_on": trained.id,
        "task": task.id,
        "designs": designs,
        "distinct": len(np.unique(task.space.canonical(proposed), axis=0)),
        "built": int(built.sum()),
        "seed": seed,
        "mean_reward_of_built": float(rewards[built].mean()) if built.any() else float("nan"),
        "updates": policy.description.get("updates"),
    }
    if json:
        write_json({**facts, "results": [_json(column, task) for column in columns]})
    else:
        _write(facts, columns, task)
    if not built.any():
        raise typer.Exit(_NOT_BUILT)


# ---- what is evaluated


def _load(source: Path) -> "tuple[Policy, StudyLog | None]":
    from archgym.search.policy import Policy
    from archgym.studies.folder import POLICY_NAME
    from archgym.studies.study import read_study

    if not source.is_dir():
        return Policy.load(source), None
    log = read_study(source)
    path = source / POLICY_NAME
    if not path.is_file():
        raise InvalidArgumentError(
            f"A study must have learned a policy for this; {source} has no file {POLICY_NAME}: its "
            f"agent ({log.header.agent or 'none'}) learns none, or the study is not finished. "
            "Use a finished one of ppo or another learner."
        )
    policy = Policy.load(path)
    if policy.agent != log.header.agent:
        raise InvalidArgumentError(
            f"{path} must be of the study's agent, {log.header.agent!r}; it is of "
            f"{policy.agent!r}. Restore it, or run the study again."
        )
    return policy, log


def _trained_on(source: Path, policy: "Policy", log: "StudyLog | None") -> "Task":
    from archgym.cli.console.progress import announce_compilation
    from archgym.cli.console.signals import prompt_stops
    from archgym.evaluation.task import Task

    if log is not None:
        announce_compilation()
        with prompt_stops():
            return Task.from_json(log.header.task)
    name = policy.description.get("task")
    if not isinstance(name, str) or "/" not in name:
        raise InvalidArgumentError(
            f"A policy must name the task it was trained on; {source} names {name!r}. Use its "
            "study's folder."
        )
    return make_task(TaskChoice(name))


def _task(
    trained: "Task",
    workload: Sequence[str] | None,
    objective: str | None,
    stand_in: Path | None,
) -> "Task":
    from archgym.cli.console.signals import prompt_stops
    from archgym.evaluation.stand_in import StandIn
    from archgym.evaluation.task import Task

    if not workload and objective is None and stand_in is None:
        return trained
    simulator = trained.simulator
    options = simulator.options
    weights = workload_weights(workload) or {w.source: w.weight for w in trained.workloads}
    if isinstance(simulator, StandIn):
        options = simulator.declaration.options
        # Numbers of a table are the simulator's, which knows workloads that the table has not.
        if stand_in is None and (simulator.kind == "proxy" or simulator.knows(weights)):
            stand_in = simulator.path
    # The trained objective may be one of a script, which has no name here.
    with prompt_stops():
        return Task.make(
            simulator.name,
            weights,
            objective or trained.objective,
            trained.space_name,
            simulator.fidelity,
            stand_in=stand_in,
            **options,
        )


# ---- what is said


def _column(
    name: str, task: "Task", indices: "np.ndarray", results: "Evaluation", row: int
) -> _Column:
    why = None
    reasons = [int(reason) for reason in results.reason[row] if reason]
    if reasons:
        failure = results.failures.get(row, "the simulator broke")
        why = failure if reasons[0] < 0 else task.simulator.reasons[reasons[0]]
    values = task.average(results.values[row : row + 1])[0]
    return _Column(name, indices, float(results.reward[row]), values, why)


def _json(column: _Column, task: "Task") -> dict[str, Any]:
    names = [spec.name for spec in task.metrics]
    return {
        "name": column.name,
        "design": dict(task.space.design_at(column.indices)),
        "reward": column.reward,
        "metrics": dict(zip(names, column.values.tolist(), strict=True)),
        "infeasible": column.why,
    }


def _write(facts: dict[str, Any], columns: Sequence[_Column], task: "Task") -> None:
    heading(f"{facts['task']}: policy of {facts['agent']}")
    if facts["trained_on"] != facts["task"]:
        say(f"Trained on {facts['trained_on']}.")
    if facts["updates"] == 0:
        say(UNTRAINED)
    n, built = facts["designs"], facts["built"]
    of_built = "" if built in (0, n) else " over those"
    mean = f": mean reward{of_built} {facts['mean_reward_of_built']:.4f}" if built else ""
    say(
        f"{n} design{'' if n == 1 else 's'}, {facts['distinct']} distinct, {built} can be "
        f"built{mean}."
    )
    say()
    names = [column.name for column in columns]
    rows = [("reward", *(f"{column.reward:.4f}" for column in columns), "")]
    rows += [
        (spec.name, *(number(float(column.values[place])) for column in columns), unit(spec.unit))
        for place, spec in enumerate(task.metrics)
    ]
    table(("metric", *names, "unit"), rows, right=names)
    shown = [task.space.design_at(column.indices) for column in columns]
    rows = [
        (name, *(str(design[name]) for design in shown), unit(task.space.parameter(name).unit))
        for name in task.space.names
    ]
    table(("parameter", *names, "unit"), rows)
    for column in columns:
        if column.why is not None:
            say(f"The {column.name} design cannot be built: {column.why}")
