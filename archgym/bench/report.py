"""Report of a benchmark: regret to proofs and to the best known, with intervals."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.agent.agent import agent_class
from archgym.analysis.statistics import (
    Interval,
    improvement_p_value,
    kaplan_meier,
    stratified_bootstrap,
)
from archgym.bench.suite import BestKnown, bench_tasks
from archgym.errors import ArchGymError
from archgym.evaluation.objective import INFEASIBLE_REWARD
from archgym.studies.snapshot import StudyLog
from archgym.sweep.plan import AgentPlan
from archgym.sweep.results import (
    AgentSummary,
    TaskSummary,
    read_report,
    require_evaluations,
    within_reward,
)
from archgym.sweep.study_run import Curves

BUDGETS = (10, 25, 50, 100, 200, 1000)
"""Evaluations at which agents are compared."""
WITHIN = 0.01
"""Distance to the best known reward that counts as found."""
# chosen: the usual level of tests and intervals.
_LEVEL = 0.05


@final
@dataclass(frozen=True)
class AgentScore:
    """An agent on a task."""

    agent: str
    regret: dict[int, Interval]
    """Best known reward minus the best so far, interquartile mean over seeds, by budget.

    The best known is that of the benchmark's record and of the runs, whichever is better.
    """
    to_within: float
    """Median evaluations to within 1 % of the best known; infinite where most runs ended before."""
    found: int
    """Runs that came within 1 %."""
    runs: int

    def to_json(self) -> dict[str, Any]:
        """Return the score as data."""
        return {
            "agent": self.agent,
            "regret": {
                str(b): {"iqm": i.value, "low": i.low, "high": i.high}
                for b, i in self.regret.items()
            },
            "evaluations_to_within": self.to_within,
            "found": self.found,
            "runs": self.runs,
        }


@final
@dataclass(frozen=True)
class TaskScore:
    """A task with the score of each agent."""

    task: str
    best_known: float
    is_proven: bool
    """True if the benchmark has simulated all designs of the task, so that none is better."""
    agents: tuple[AgentScore, ...]


@final
@dataclass(frozen=True)
class Proven:
    """An agent over the tasks whose optimum is proven."""

    agent: str
    regret: dict[int, Interval]
    """Mean over tasks and seeds of the share by which the best design so far is worse than the
    optimum, by budget: 0 for the optimum, 1 for designs twice as bad or worse, and for none that
    meets the limits.
    """


@final
@dataclass(frozen=True)
class Standing:
    """An agent over all tasks at the largest budget."""

    agent: str
    mean_rank: dict[int, float]
    """Mean rank of the interquartile mean over tasks, by budget; 1 is best."""
    p_value: float
    """Permutation test against the agent of the best mean rank; NaN for that agent."""
    against: Mapping[str, float]
    """Permutation tests of a program or a plug-in against each agent that ArchGym ships."""


@final
@dataclass(frozen=True)
class BenchReport:
    """All that a benchmark's folder shows."""

    budgets: tuple[int, ...]
    tasks: tuple[TaskScore, ...]
    proven: tuple[Proven, ...]
    """Agents by regret to the proof at the largest budget; empty if no task has one."""
    standings: tuple[Standing, ...]
    """Agents by mean rank at the largest budget."""
    unfinished: int
    """Runs that are not finished, which count with the evaluations they have."""
    damage: dict[str, str]
    """Damaged parts of journals, which are left out, by run."""

    @property
    def verdict(self) -> str:
        """Sentence that names a winner only where every other agent is significantly behind."""
        first, *others = self.standings
        if not others:
            return "One agent alone: nothing to compare."
        # Holm: the smallest p-value must pass the level divided by the number of agents.
        values = sorted(other.p_value for other in others)
        n = len(values)
        if all(p <= _LEVEL / (n - place) for place, p in enumerate(values)):
            return f"{first.agent} is better than every other agent (p <= {_LEVEL}, Holm)."
        tied = [other.agent for other in others if not other.p_value <= _LEVEL / n]
        return f"No winner: no difference shown between {first.agent} and {', '.join(tied)}."

    def to_json(self) -> dict[str, Any]:
        """Return the report as data."""
        return {
            "budgets": list(self.budgets),
            "within": WITHIN,
            "unfinished": self.unfinished,
            "damage": self.damage,
            "verdict": self.verdict,
            "regret_to_proof": {
                "tasks": [t.task for t in self.tasks if t.is_proven],
                "agents": {
                    p.agent: {
                        str(b): {"mean": i.value, "low": i.low, "high": i.high}
                        for b, i in p.regret.items()
                    }
                    for p in self.proven
                },
            },
            "standings": [
                {
                    "agent": s.agent,
                    "mean_rank": {str(b): r for b, r in s.mean_rank.items()},
                    "p_value": s.p_value,
                    "p_value_against": dict(s.against),
                }
                for s in self.standings
            ],
            "tasks": [
                {
                    "task": t.task,
                    "best_known_reward": t.best_known,
                    "is_proven": t.is_proven,
                    "agents": [agent.to_json() for agent in t.agents],
                }
                for t in self.tasks
            ],
        }


def read_bench_report(folder: str | Path, *others: str | Path) -> BenchReport:
    """Read a benchmark's folder, finished or not, without changing anything.

    Agents of further folders are compared too; see `read_report`.

    Raises:
      FileFormatError: It is not a benchmark's, or a study in it is damaged beyond reading.
      InvalidArgumentError: Nothing has run, or folders have tasks of one name that differ.
      StorageError: It cannot be read.
    """
    report = read_report(folder, *others)
    require_evaluations(report)
    most = report.plan.budget
    budgets = (*(budget for budget in BUDGETS if budget < most), most)
    begun = [t for t in report.tasks if any(r.evaluations for a in t.agents for r in a.runs)]
    rewards = {
        budget: [[_rewards(agent, budget) for agent in task.agents] for task in begun]
        for budget in budgets
    }
    scores = tuple(
        _task_score(task, report.first_logs[task.task.label], {b: rewards[b][i] for b in budgets})
        for i, task in enumerate(begun)
    )
    unfinished = sum(run.status != "finished" for run in report.runs)
    damage = {run.run.id: run.problem for run in report.runs if run.problem is not None}
    labels = [agent.label for agent in report.plan.agents]
    return BenchReport(
        budgets,
        scores,
        _proven(labels, scores, rewards),
        _standings(report.plan.agents, rewards),
        unfinished,
        damage,
    )


def _proven(
    labels: Sequence[str],
    scores: Sequence[TaskScore],
    rewards: Mapping[int, Sequence[Sequence[np.ndarray]]],
) -> tuple[Proven, ...]:
    """Return regrets of agents to the proofs of all tasks that have one and that all agents ran."""
    found = []
    for place, label in enumerate(labels):
        regret = {}
        for budget, tasks in rewards.items():
            # A reward is a logarithm of ratios of metrics: exp(regret) is how many times as bad.
            met = [
                np.clip(2.0 - np.exp(np.minimum(task.best_known - runs[place], 1.0)), 0.0, 1.0)
                for task, runs in zip(scores, tasks, strict=True)
                if task.is_proven and all(len(run) for run in runs)
            ]
            if met:
                regret[budget] = stratified_bootstrap("gap", met)
        if regret:
            found.append(Proven(label, regret))
    return tuple(sorted(found, key=lambda each: each.regret[max(each.regret)].value))


def _rewards(agent: AgentSummary, budget: int) -> np.ndarray:
    """Return best rewards after a budget; those of runs that have not come so far are left out."""
    values = Curves([run.curve for run in agent.runs]).at(budget)
    known: np.ndarray = np.maximum(values[~np.isnan(values)], INFEASIBLE_REWARD)
    return known


def _task_score(
    task: TaskSummary, log: StudyLog, rewards: dict[int, list[np.ndarray]]
) -> TaskScore:
    recorded = _recorded_best(task.task.label, log)
    best_known = task.best_known if recorded is None else max(task.best_known, recorded.reward)
    threshold = within_reward(log, best_known, WITHIN)
    agents = []
    for place, agent in enumerate(task.agents):
        regret = {
            budget: _interval(best_known - each[place])
            for budget, each in rewards.items()
            if len(each[place])
        }
        begun = [run for run in agent.runs if run.evaluations]
        reached = Curves([run.curve for run in begun]).reached(threshold)
        arrived = [place is not None for place in reached]
        times = [place or run.evaluations for place, run in zip(reached, begun, strict=True)]
        to_within = kaplan_meier(times, arrived).median if any(arrived) else math.inf
        agents.append(AgentScore(agent.label, regret, to_within, sum(arrived), len(begun)))
    is_proven = recorded is not None and recorded.is_proven
    return TaskScore(task.task.label, best_known, is_proven, tuple(agents))


def _recorded_best(label: str, log: StudyLog) -> BestKnown | None:
    """Return the best design that the benchmark knows of a task; None for any other task."""
    for bench in bench_tasks("full"):
        if bench.label != label or bench.best is None:
            continue
        # A task of the same name may have other choices.
        if bench.plan.make().digest == log.header.task["digest"]:
            return bench.best
    return None


def _interval(values: np.ndarray) -> Interval:
    return stratified_bootstrap("iqm", [values])


def _standings(
    agents: Sequence[AgentPlan], rewards: dict[int, list[list[np.ndarray]]]
) -> tuple[Standing, ...]:
    ranks = {budget: _mean_ranks(tasks) for budget, tasks in rewards.items()}
    last = max(rewards)
    order = sorted(range(len(agents)), key=lambda i: (np.nan_to_num(ranks[last][i], nan=np.inf), i))
    shipped = [_is_shipped(agent.agent) for agent in agents]
    found = []
    for place in order:
        against = {
            agents[other].label: _p_value(rewards[last], other, place)
            for other in order
            if shipped[other] and not shipped[place]
        }
        p_value = math.nan if place == order[0] else _p_value(rewards[last], order[0], place)
        mean = {budget: float(ranks[budget][place]) for budget in ranks}
        found.append(Standing(agents[place].label, mean, p_value, against))
    return tuple(found)


def _is_shipped(name: str) -> bool:
    with suppress(ArchGymError):
        return agent_class(name).__module__.startswith("archgym.agents.")
    return False


def _p_value(tasks: list[list[np.ndarray]], one: int, other: int) -> float:
    """Return the permutation test of two agents over the tasks that both have; NaN for none."""
    pairs = [(task[one], task[other]) for task in tasks if len(task[one]) and len(task[other])]
    return improvement_p_value(*zip(*pairs, strict=True)) if pairs else math.nan


def _mean_ranks(tasks: list[list[np.ndarray]]) -> np.ndarray:
    """Return mean rank of each agent over the tasks on which all agents have results."""
    from scipy.stats import rankdata

    whole = [task for task in tasks if all(len(values) for values in task)]
    if not whole:
        return np.full(len(tasks[0]), np.nan)
    middle = [[-_interval(values).value for values in task] for task in whole]
    return np.asarray(rankdata(np.array(middle), axis=1).mean(axis=0))
