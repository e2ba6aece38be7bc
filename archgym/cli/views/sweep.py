"""Text rendering of the results of a sweep."""

import math
from typing import TYPE_CHECKING

from archgym.cli.console.terminal import heading, number, say, table

if TYPE_CHECKING:
    from archgym.sweep.results import AgentSummary, SweepReport, TaskSummary

# chosen: more columns than this do not fit a line.
_SHOWN_BUDGETS = 5


def write_sweep_report(read: "SweepReport") -> None:
    """Write the results of a sweep, task by task."""
    runs = read.runs
    finished = sum(run.status == "finished" for run in runs)
    say(
        f"{finished} of {len(runs)} runs finished; {read.plan.budget:,} evaluations each, "
        f"seeds {', '.join(map(str, read.plan.seeds))}."
    )
    for task in read.tasks:
        _write_task(task, read)
    for run in runs:
        if run.problem is not None:
            say(f"{run.run.id}: {' '.join(run.problem.split())}")


def _write_task(task: "TaskSummary", read: "SweepReport") -> None:
    say()
    heading(task.task.id or task.task.label)
    if not math.isfinite(task.best_known):
        say("No feasible design has been found yet.")
    # Sorting is stable: agents without results keep the order of the plan.
    last = read.budgets[-1]
    ranked = sorted(task.agents, key=lambda agent: -_rank(agent, last))
    shown = read.budgets[-_SHOWN_BUDGETS:]
    say("Best reward by number of evaluations: median over the seeds (minimum … maximum).")
    columns = ("agent", "seeds", *(f"{budget:,}" for budget in shown))
    rows = [
        (agent.label, f"{agent.finished}", *(_spread(agent, budget) for budget in shown))
        for agent in ranked
    ]
    table(columns, rows, right=columns[1:])
    _write_limits(task)
    what = "designs" if task.metric is None else f"{task.metric.split(' ')[0]}"
    say(
        f"Best known reward: {number(task.best_known)}. To 5 %: median number of evaluations until "
        f"{what} within 5 % of the best known. Own: time of agent and journal."
    )
    columns = (
        "agent",
        "to 5 %",
        "reached",
        "asks",
        "distinct designs",
        "simulator [ms/evaluation]",
        "own [ms/evaluation]",
    )
    rows = [_costs(agent) for agent in ranked]
    table(columns, rows, right=columns[1:])


def _write_limits(task: "TaskSummary") -> None:
    """Write how many runs found a design that meets the limits, and what the others miss."""
    runs = [run for agent in task.agents for run in agent.runs if run.has_limits]
    if not runs:
        return
    missing = [run for run in runs if run.missed]
    say(f"Limits: met by the best designs of {len(runs) - len(missing)} of {len(runs)} runs.")
    for run in missing:
        say(f"Limits: missed by that of {run.run.id}: {'; '.join(run.missed)}")


def _rank(agent: "AgentSummary", budget: int) -> float:
    value = agent.rewards[budget].median
    return float("-inf") if value != value else value


def _spread(agent: "AgentSummary", budget: int) -> str:
    spread = agent.rewards[budget]
    if not spread.n:
        return "–"
    if spread.median == float("-inf"):
        return "none feasible"
    return f"{spread.median:.4f} ({spread.low:.4f} … {spread.high:.4f})"


def _costs(agent: "AgentSummary") -> tuple[str, ...]:
    needed = agent.to_within
    begun = sum(run.evaluations > 0 for run in agent.runs)
    reached = sum(reached is not None for reached in agent.reached)
    return (
        agent.label,
        "–" if needed != needed else "not reached" if needed == float("inf") else f"{needed:,.0f}",
        f"{reached} of {begun}",
        number(agent.mean("asks")),
        number(agent.mean("distinct")),
        f"{1000 * agent.mean('simulator_s'):.3g}".replace("nan", "–"),
        f"{1000 * agent.mean('own_s'):.3g}".replace("nan", "–"),
    )
