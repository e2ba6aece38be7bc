"""Runs of agents on suites, as sweeps."""

from collections.abc import Callable, Sequence
from pathlib import Path

from archgym.bench.suite import BenchTask
from archgym.checks import check_whole
from archgym.errors import InvalidArgumentError
from archgym.sweep.driver import SweepOutcome, SweepState, run_sweep
from archgym.sweep.plan import AgentPlan, SweepPlan

# chosen: a hundred times the seeds and the evaluations that published comparisons use.
_MAX_SEEDS = 1000
_MAX_BUDGET = 10**6


def bench_plan(
    agents: Sequence[str], tasks: Sequence[BenchTask], seeds: int = 5, budget: int = 100
) -> SweepPlan:
    """Return the sweep that runs agents with their defaults on tasks.

    Tasks that are not judged at as many evaluations are left out, since they are costly.

    Args:
      agents: Registered names.
      tasks: Tasks of the benchmark.
      seeds: Number of seeds, from 0.
      budget: Evaluations of each study.

    Raises:
      InvalidArgumentError: An argument does not fit, or no task is left.
      UnknownNameError: An agent does not exist.
    """
    from archgym.agent.agent import agent_class

    check_whole("seeds", seeds, 1, _MAX_SEEDS)
    check_whole("budget", budget, 1, _MAX_BUDGET)
    if not agents:
        raise InvalidArgumentError("A benchmark must have an agent; got none.")
    for name in agents:
        agent_class(name)
    chosen = tuple(task.plan for task in tasks if budget <= max(task.budgets))
    if not chosen:
        raise InvalidArgumentError(f"No task of the suite is judged at {budget} evaluations.")
    return SweepPlan(
        chosen,
        tuple(AgentPlan(name, name) for name in dict.fromkeys(agents)),
        tuple(range(seeds)),
        budget,
    )


def run_bench(
    plan: SweepPlan,
    folder: str | Path,
    *,
    workers: int | None = None,
    progress: Callable[[SweepState], None] | None = None,
) -> SweepOutcome:
    """Run the unfinished runs of a plan in a folder; see `archgym.sweep.run_sweep`."""
    return run_sweep(plan, folder, workers=workers, progress=progress)
