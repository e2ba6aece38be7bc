"""Tuning: random draws of an agent's hyperparameters, run as a sweep, and the best of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from archgym.checks import check_whole
from archgym.errors import ArchGymError, InvalidArgumentError
from archgym.sweep.driver import SweepOutcome, SweepState, run_sweep
from archgym.sweep.plan import AgentPlan, SweepPlan, TaskPlan
from archgym.sweep.results import AgentSummary, read_report
from archgym.sweep.settings import draw_hyperparameters
from archgym.sweep.tuned_settings import TunedEntry
from archgym.version import __version__

if TYPE_CHECKING:
    from archgym.agent.agent import Agent
    from archgym.spaces.space import DesignSpace

DEFAULTS = "draw-0"
"""Label of the agent with its defaults."""
_MAX_DRAWS = 10_000
# chosen: in addition to the defaults; of three, one is rarely a winner by luck alone.
_FINALISTS = 3
# chosen: rewards nearer than this are equal but for rounding.
_TIE = 1e-9


@final
@dataclass(frozen=True)
class Draw:
    """Hyperparameters, and what an agent with them found.

    `mean` and `best` are of the best rewards that the seeds reached; `early` is the mean reward
    over log-spaced budgets, which tells draws apart that reach the same end.
    """

    label: str
    hyperparameters: Mapping[str, Any]
    mean: float
    best: float
    early: float


@final
@dataclass(frozen=True)
class Tuning:
    """Result of a tuning.

    The first of many draws owe some of their lead to luck, so the best few and the defaults run
    again with fresh seeds. The one that is best over all seeds wins, if the fresh seeds alone say
    that it is better than the defaults, too; else the defaults stand.
    """

    draws: tuple[Draw, ...]
    """Those whose runs all finished, best first."""
    best: Draw
    """The best over all seeds, with its numbers of the first ones; so are the defaults'."""
    default: Draw
    fresh_best: float
    """Mean of the best draw with fresh seeds alone."""
    fresh_default: float
    outcomes: tuple[SweepOutcome, ...]
    entry: TunedEntry

    @property
    def is_better(self) -> bool:
        """True if the best draw beats the defaults with fresh seeds too."""
        return self.best.label != DEFAULTS and self.fresh_best > self.fresh_default + _TIE


def tune(
    task: TaskPlan,
    agent: str,
    folder: str | Path,
    *,
    draws: int = 24,
    seeds: int = 3,
    budget: int = 200,
    workers: int = 1,
    fixed: Mapping[str, Any] | None = None,
    command: str = "",
    progress: Callable[[SweepState], None] | None = None,
) -> Tuning:
    """Find hyperparameters of an agent on a task; an existing folder is resumed.

    Args:
      agent: A registered name.
      draws: Number of settings to try; the defaults are the first.
      seeds: Studies of each setting.
      budget: Evaluations of each study.
      workers: Studies that run at once.
      fixed: Hyperparameters that all draws share.

    Raises:
      InvalidArgumentError: An argument does not fit, or runs of the defaults failed.
      StudyInterrupted: A signal came; the same call resumes.
    """
    plan = tuning_plan(task, agent, draws, seeds, budget, fixed).decided()
    settings = {each.label: each.hyperparameters for each in plan.agents}
    trial, fresh = list(range(seeds)), list(range(seeds, 2 * seeds))
    first = run_sweep(plan, folder, workers=workers, seeds=trial, progress=progress)
    ranked = _ranked(folder, settings, trial)
    found = {draw.label: draw for draw in ranked}
    _require_defaults(found, agent, first)
    finalists = [DEFAULTS]
    finalists += [draw.label for draw in ranked if draw.label != DEFAULTS][:_FINALISTS]
    second = run_sweep(
        plan, folder, workers=workers, only=finalists, seeds=fresh, progress=progress
    )
    checked = {draw.label: draw for draw in _ranked(folder, settings, fresh)}
    _require_defaults(checked, agent, second)
    final = [
        draw for draw in _ranked(folder, settings, [*trial, *fresh]) if draw.label in finalists
    ]
    best, default = found[final[0].label], found[DEFAULTS]
    fresh_best, fresh_default = checked[best.label].mean, checked[DEFAULTS].mean
    is_better = best.label != DEFAULTS and fresh_best > fresh_default + _TIE
    found_by = {
        "draws": len(plan.agents),
        "seeds": seeds,
        "budget": budget,
        "finalists": len(final),
        "best_draw": best.label,
        **_rounded(
            default_mean=default.mean,
            default_best=default.best,
            tuned_mean=best.mean,
            tuned_best=best.best,
            default_mean_on_fresh_seeds=fresh_default,
            tuned_mean_on_fresh_seeds=fresh_best,
        ),
        "better_on_fresh_seeds": is_better,
        "archgym": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
    }
    winner = best if is_better else default
    entry = TunedEntry(plan.tasks[0].id, agent, dict(winner.hyperparameters), found_by)
    return Tuning(ranked, best, default, fresh_best, fresh_default, (first, second), entry)


def tuning_plan(
    task: TaskPlan,
    agent: str,
    draws: int,
    seeds: int,
    budget: int,
    fixed: Mapping[str, Any] | None = None,
) -> SweepPlan:
    """Return the sweep that a tuning runs: one agent a draw, and twice the seeds.

    The second half of the seeds is for the best draw and the defaults alone.

    Raises:
      UnknownNameError: There is no such agent or hyperparameter.
      InvalidArgumentError: An argument does not fit.
    """
    from archgym.agent.agent import agent_class, make_agent

    check_whole("draws", draws, 1, _MAX_DRAWS)
    check_whole("seeds", seeds, 1, 1000)
    check_whole("budget", budget, 1, 10**9)
    kind, space, fixed = agent_class(agent), task.make().space, fixed or {}
    # An error of these is the caller's.
    make_agent(kind, space, 0, fixed)
    settings = draw_hyperparameters(
        kind, draws, fixed, lambda values: _is_accepted(kind, space, values)
    )
    return SweepPlan(
        (task,),
        tuple(AgentPlan(f"draw-{number}", agent, values) for number, values in enumerate(settings)),
        tuple(range(2 * seeds)),
        budget,
    )


def _is_accepted(kind: "type[Agent]", space: "DesignSpace", values: Mapping[str, Any]) -> bool:
    from archgym.agent.agent import make_agent

    try:
        make_agent(kind, space, 0, values)
    except ArchGymError:
        return False
    return True


def _ranked(
    folder: str | Path, settings: Mapping[str, Mapping[str, Any]], seeds: list[int]
) -> tuple[Draw, ...]:
    """Draw whose runs with these seeds are all finished, best first."""
    report = read_report(folder)
    (task,) = report.tasks
    found = []
    for agent in task.agents:
        runs = [run for run in agent.runs if run.run.seed in seeds]
        if all(run.status == "finished" for run in runs):
            found.append(_draw(agent, settings[agent.label], seeds, report.budgets))
    # Sorting is stable, so that of equals the earlier draw, and so the defaults, stay first.
    found.sort(key=lambda draw: (-round(draw.mean / _TIE), -round(draw.early / _TIE)))
    return tuple(found)


def _draw(
    agent: AgentSummary, values: Mapping[str, Any], seeds: list[int], budgets: tuple[int, ...]
) -> Draw:
    runs = [run for run in agent.runs if run.run.seed in seeds]
    # No design that can be built is worth as much as one that cannot.
    table = np.array([[run.curve.at(budget) for budget in budgets] for run in runs])
    table = np.maximum(table, -25.0)
    ends = table[:, -1]
    return Draw(agent.label, values, float(ends.mean()), float(ends.max()), float(table.mean()))


def _require_defaults(draws: Mapping[str, Draw], agent: str, outcome: SweepOutcome) -> None:
    if DEFAULTS not in draws:
        why = next(iter(outcome.failures.values()), "they were not run")
        raise InvalidArgumentError(
            f"The defaults of agent {agent!r} must run to be tuned; they failed: {why}"
        )


def _rounded(**values: float) -> dict[str, float]:
    return {name: round(value, 6) for name, value in values.items()}
