"""Second look at the best design of a task: its neighbours, and its results on other workloads."""

import math
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from archgym.errors import ArchGymError
from archgym.evaluation.function import is_of_function
from archgym.evaluation.simulator import FEASIBLE
from archgym.report.commands import evaluate_command
from archgym.report.evidence import TaskEvidence
from archgym.report.explain import (
    ASSUMED_ERROR_PERCENT,
    Change,
    Explanation,
    Relief,
    explain,
    reward_room,
    shares,
    tradeoffs,
)
from archgym.report.quantities import Cell, Table, change_text, size_text
from archgym.report.simplification import AblationPath, ablation_path
from archgym.runtime.progress import StageProgress
from archgym.runtime.reductions import reports_about
from archgym.tasks.task import Task

# chosen: each costs as many evaluations as the best design has neighbours.
_MAX_FRONT = 3
# chosen: the strongest of each design; more would bury them.
_SHOWN_TRADES = 4
# chosen: designs and workloads that take seconds where an evaluation takes 0.1 s.
_TOP = 10
_MAX_WORKLOADS = 4
# chosen: a cost whose removal changes a metric by less does not bound it.
_BINDS = 5e-4


@final
@dataclass(frozen=True)
class Standing:
    """The best designs of a task on another workload of its simulator."""

    task: Task
    """The same but for the workload."""
    rewards: np.ndarray
    """(n,), by rank on the task itself, NaN where the design cannot be built."""
    problem: str = ""
    """Reason why the best design cannot be built there."""


@final
@dataclass(frozen=True)
class Chosen:
    """Designs of a task that were evaluated again."""

    explanation: Explanation
    logged_reward: float
    fronts: tuple[Explanation, ...]
    """Other designs of the front, evenly spread along its first term."""
    error_percent: float
    error_from: str
    top: np.ndarray
    """(n, n_parameters), the best designs in the log, best first."""
    top_rewards: np.ndarray
    """(n,)"""
    standings: tuple[Standing, ...]
    path: AblationPath
    """Changes that lead from the default design to the best one."""

    @property
    def is_error_stated(self) -> bool:
        """True if the simulator states the error that is used here."""
        return not self.error_from.startswith("assumed")

    @property
    def note(self) -> str:
        """Note on the simulator or stand-in that answered."""
        found = self.explanation.reward
        if math.isclose(found, self.logged_reward, rel_tol=1e-9, abs_tol=1e-9):
            return ""
        return (
            f"The simulator gives the best design reward {found:.6g} where the log has "
            f"{self.logged_reward:.6g}; the numbers here are the simulator's."
        )


def choose(evidence: TaskEvidence, progress: StageProgress | None = None) -> Chosen | str:
    """Evaluate the best design, its neighbours, and both on other workloads.

    Args:
      evidence: Evaluations of the task.
      progress: Called with the number of evaluated designs.

    Returns:
      What was found, or why nothing could be evaluated.
    """
    best = evidence.best
    if best is None:
        return "no design was built"
    if evidence.known is None and is_of_function(evidence.recipe):
        return "the task is a Python function, which a report cannot call."
    run, row = best
    subject = f"{evidence.label}, designs next to evaluation {row + 1} of {run.label}"
    try:
        task = _task(evidence)
        error = task.simulator.spec.accuracy_percent.get(task.simulator.fidelity)
        with reports_about(subject):
            found = explain(task, run.indices[row].astype(np.int64), progress)
            fronts = tuple(explain(task, each, progress) for each in _front(evidence, found))
            top, rewards = _top(evidence)
            standings = tuple(_standings(task, top))
            path = ablation_path(task, found.indices)
    except ArchGymError as problem:
        return " ".join(str(problem).split())
    return Chosen(
        found,
        float(run.reward[row]),
        fronts,
        ASSUMED_ERROR_PERCENT if error is None else error,
        f"assumed, since {task.simulator.name} states none"
        if error is None
        else f"that of fidelity {task.simulator.fidelity} against its reference",
        top,
        rewards,
        standings,
        path,
    )


def _task(evidence: TaskEvidence) -> Task:
    recipe = dict(evidence.recipe)
    stand_in = recipe.get("stand_in")
    if isinstance(stand_in, dict) and stand_in.get("kind") == "table":
        # A table answers as the simulator does, but for fewer workloads.
        del recipe["stand_in"]
    try:
        return Task.from_json(recipe)
    except ArchGymError:
        if evidence.known is None:
            raise
        return evidence.known.task


def _front(evidence: TaskEvidence, best: Explanation) -> list[np.ndarray]:
    """Return designs of the front, evenly spread, but the best one."""
    if len(evidence.objective.terms) < 2:
        return []
    rows = evidence.front_rows
    terms = evidence.stacked("terms")[rows]
    ordered = evidence.stacked("indices")[rows[np.argsort(terms[:, 0], kind="stable")]]
    ordered = ordered.astype(np.int64)
    ordered = ordered[(ordered != best.indices).any(axis=1)]
    chosen = np.linspace(0, len(ordered) - 1, min(_MAX_FRONT, len(ordered))).astype(np.int64)
    return list(ordered[chosen])


def _top(evidence: TaskEvidence) -> tuple[np.ndarray, np.ndarray]:
    """Return the best designs that differ, and their rewards."""
    reward, indices = evidence.stacked("reward"), evidence.stacked("indices")
    # Runs find the same designs: of the best evaluations most may be of one.
    rows = np.argsort(-reward, kind="stable")[: 1000 * _TOP]
    rows = rows[np.isfinite(reward[rows])]
    _, first = np.unique(indices[rows], axis=0, return_index=True)
    rows = rows[np.sort(first)][:_TOP]
    return indices[rows].astype(np.int64), reward[rows]


def _standings(task: Task, top: np.ndarray) -> list[Standing]:
    own = {weighted.workload.digest for weighted in task.workloads}
    names = [
        n for n in task.simulator.workload_names() if task.simulator.workload(n).digest not in own
    ]
    spread = np.linspace(0, len(names) - 1, min(_MAX_WORKLOADS, len(names))).astype(np.int64)
    found = []
    for name in [names[place] for place in spread]:
        try:
            made = Task.make(task.simulator, name, task.objective)
            other = replace(task, workloads=made.workloads, reference=made.reference)
            evaluation = other.evaluate(top)
        except ArchGymError:
            # The default design may not run there, to which rewards are relative.
            continue
        is_built = (evaluation.reason == FEASIBLE).all(axis=1)
        problem = ""
        if not is_built[0]:
            reason = int(evaluation.reason[0][0])
            problem = task.simulator.spec.reasons[reason] if reason > 0 else "the simulator broke"
        found.append(Standing(other, np.where(is_built, evaluation.reward, np.nan), problem))
    return found


# ---- tables


def chosen_tables(label: str, chosen: Chosen) -> list[Table]:
    """Return costs by effect, neighbours by parameter, and the tradeoff and risk table."""
    found = chosen.explanation
    tables = [_costs(label, found), _tornado(label, found), _risks(label, chosen)]
    return [table for table in tables if table.rows]


def binding(found: Explanation) -> list[Relief]:
    """Return the costs whose removal changes a sought metric: those that bound the design."""
    sought = {term.metric for term in found.task.objective.terms}
    return [
        relief
        for relief in found.reliefs
        if any(abs(shares(found, relief).get(metric, 0.0)) >= _BINDS for metric in sought)
    ]


def _costs(label: str, found: Explanation) -> Table:
    sought = list(dict.fromkeys(term.metric for term in found.task.objective.terms))
    rows: list[tuple[Cell, ...]] = []
    for relief in binding(found):
        moved = shares(found, relief)
        others = ", ".join(f"{m} {change_text(s)}" for m, s in moved.items() if m not in sought)
        percents = (None if m not in moved else 100 * moved[m] for m in sought)
        rows.append((relief.cost, relief.doc, *percents, others))
    note = (
        "What metrics of the best design would change by on an ideal machine that does not pay one "
        "cost, all else being the same: what that cost causes. Costs overlap, so that these do not "
        "add up. `archgym explain` computes it again."
    )
    bound = {relief.cost for relief in binding(found)}
    idle = [relief.cost for relief in found.reliefs if relief.cost not in bound]
    note += f" Costs that bound nothing here: {', '.join(idle)}." if idle else ""
    columns = ("without", "what is free", *(f"{metric} [%]" for metric in sought), "others")
    return Table(
        f"costs {label}", "What bounds the best design, in numbers", columns, tuple(rows), note, 2
    )


def _tornado(label: str, found: Explanation) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for parameter, own in found.by_parameter().items():
        low = min(own, key=lambda change: change.reward)
        high = max(own, key=lambda change: change.reward)
        rows.append(
            (
                parameter, str(own[0].old), str(high.new), high.reward - found.reward,
                str(low.new), low.reward - found.reward,
            )
        )  # fmt: skip
    note = (
        "Change of the reward if one parameter of the best design takes its best or its worst "
        "other value; such designs were evaluated again."
    )
    columns = ("parameter", "is", "best other", "reward change", "worst other", "its reward change")
    title = "Best design, one parameter changed"
    return Table(f"tornado {label}", title, columns, tuple(rows), note, 4)


def _risks(label: str, chosen: Chosen) -> Table:
    found = chosen.explanation
    rows: list[tuple[Cell, ...]] = []
    for point in tradeoffs(found, chosen.error_percent):
        change = _change(found, point.change, point.text)
        rows.append((point.kind, "best", point.parameter, *change))
    for number, other in enumerate(chosen.fronts, start=1):
        trades = [p for p in tradeoffs(other, chosen.error_percent) if p.kind == "tradeoff"]
        for point in trades[:_SHOWN_TRADES]:
            name = f"front {number}"
            change = _change(other, point.change, point.text)
            rows.append((point.kind, name, point.parameter, *change))
    rows += _rank_rows(chosen)
    order = {"sensitivity": 0, "tradeoff": 1, "risk": 2, "non-risk": 3}
    rows.sort(key=lambda row: order[str(row[0])])
    note = (
        "Sensitivity: parameters that move the first metric. Tradeoff: changes that gain 1 % in "
        "one metric and cost 1 % in another, at the best design and along the front. Risk: what "
        "the simulator's error "
        f"({chosen.error_percent:g} %, {chosen.error_from}) may turn round, and "
        "workloads on which the best design is beaten. The last column computes an entry again."
    )
    columns = ("kind", "design", "parameter or workload", "change", "what comes of it", "again")
    return Table(f"risks {label}", "Tradeoffs and risks", columns, tuple(rows), note)


def _change(found: Explanation, change: Change | None, text: str) -> tuple[str, str, str]:
    if change is None:
        return "", text, evaluate_command(found.task, found.indices)
    return (
        f"{change.old} to {change.new}",
        text,
        evaluate_command(found.task, found.changed(change)),
    )


def _rank_rows(chosen: Chosen) -> list[tuple[Cell, ...]]:
    """Return rows on whether the best design stays best under the error and on other workloads."""
    task = chosen.explanation.task
    room = reward_room(chosen.explanation, chosen.error_percent)
    rows: list[tuple[Cell, ...]] = []
    if len(chosen.top) > 1:
        behind = chosen.top_rewards[0] - chosen.top_rewards[1:]
        n_close = int((behind < room).sum())
        text = (
            f"{n_close} of the next {len(behind)} designs are within {chosen.error_percent:g} %: "
            "their order may be another"
            if n_close
            else f"the next design is {size_text(behind[0])} worse"
        )
        again = evaluate_command(task, chosen.top[1])
        rows.append(("risk" if n_close else "non-risk", "best", "rank", "1 to 2", text, again))
    for standing in chosen.standings:
        name = standing.task.workloads[0].label
        kind, text = _standing_text(standing.rewards, standing.problem, room)
        again = evaluate_command(standing.task, chosen.top[0])
        rows.append((kind, "best", f"workload {name}", "", text, again))
    return rows


def _standing_text(rewards: np.ndarray, problem: str, room: float) -> tuple[str, str]:
    if problem:
        return "risk", f"cannot be built: {problem}"
    rank = int((rewards > rewards[0]).sum()) + 1
    behind = float(np.nanmax(rewards) - rewards[0])
    of = f"rank {rank} of the {len(rewards)} best designs"
    if rank > 1:
        of += f", {size_text(behind)} worse than the first"
    against = f"reward {rewards[0]:+.4f} against the default design"
    is_risk = behind > room or rewards[0] < 0
    return ("risk" if is_risk else "non-risk"), f"{of}; {against}"
