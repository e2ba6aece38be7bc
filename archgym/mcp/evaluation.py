"""Tools that create studies and spend their budgets."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import numpy as np

from archgym.agent.agent import agent_class, make_agent
from archgym.errors import BudgetExhausted, InvalidArgumentError
from archgym.evaluation.trials import Trials
from archgym.files.json_types import tuples
from archgym.mcp.workspace import (
    Count,
    Input,
    StudyName,
    TaskInput,
    Text,
    Workspace,
    plain_name,
    read_design,
)
from archgym.report.design_explanation import explain_design
from archgym.report.explain import single_changes
from archgym.studies.snapshot import Known, StudyLog
from archgym.studies.study import Study
from archgym.tasks.task import Task

# chosen: a call takes seconds with every simulator that ships.
_MAX_DESIGNS = 256
# chosen: the largest journal that a reader holds in well below a gigabyte.
_MAX_BUDGET = 100_000


class CreateStudy(TaskInput, frozen=True, kw_only=True):
    """Create a study of a task with a budget, which cannot be raised later.

    The task cannot change either. The default design is simulated; it is not charged.
    """

    study: StudyName
    budget: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=_MAX_BUDGET, description="Evaluations that the study may make in all."
        ),
    ]


class Evaluate(Input, frozen=True, kw_only=True):
    """Evaluate designs in a study; each new design costs one evaluation of its budget.

    Missing parameters take their default values. Designs that were evaluated before cost nothing.
    Results hold the reward (larger is better, 0 for the default design), metrics with units, limits
    that are missed, and the reason if a design is infeasible.
    """

    study: StudyName
    designs: Annotated[
        list[dict[str, Any]],
        msgspec.Meta(
            min_length=1, max_length=_MAX_DESIGNS, description="Designs as objects of values."
        ),
    ]
    all_metrics: Annotated[
        bool, msgspec.Meta(description="Return all metrics, not only those of the objective.")
    ] = False


class Propose(Input, frozen=True, kw_only=True):
    """Return designs that an agent would evaluate next, given the results of the study.

    Nothing is charged. The same journal, agent and seed give the same proposal.
    """

    study: StudyName
    agent: Text = "genetic"
    count: Annotated[int, msgspec.Meta(ge=1, le=_MAX_DESIGNS)] = 8
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    hyperparameters: dict[str, Any] = msgspec.field(default_factory=dict)


class Advise(Input, frozen=True, kw_only=True):
    """Rank designs worth evaluating next, and your own ideas, by a model of the study's results.

    Each has predicted metrics with 90 % intervals, the probability of meeting each limit and of
    being a new best. Intervals of an `extrapolated` one, far from all results, may be too narrow.
    It also says which parameters matter near the best design, and which values nobody has tried.
    Nothing is evaluated or charged.
    """

    study: StudyName
    count: Annotated[int, msgspec.Meta(ge=1, le=32)] = 5
    designs: Annotated[
        list[dict[str, Any]], msgspec.Meta(max_length=64, description="Ideas to rank as well.")
    ] = msgspec.field(default_factory=list)
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0


class Search(Input, frozen=True, kw_only=True):
    """Let an agent search in a study for a number of evaluations, which are charged.

    It starts from the results that the study holds wherever it asks for the same designs.
    """

    study: StudyName
    evaluations: Count
    agent: Text = "auto"
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    hyperparameters: dict[str, Any] = msgspec.field(default_factory=dict)


class Explain(Input, frozen=True, kw_only=True):
    """Explain a design: what bounds it, the effect of each single change, tradeoffs.

    All designs that differ in one parameter are evaluated and charged, unless they are known.
    """

    study: StudyName
    design: Annotated[
        dict[str, Any] | None, msgspec.Meta(description="Design (default: the best so far).")
    ] = None
    changes: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Number of single changes to return.")
    ] = 10


def status(log: StudyLog) -> dict[str, Any]:
    """Return the state of a study in a few numbers."""
    budget = log.header.budget
    return {
        "task": plain_name(log.task_id),
        "budget": budget,
        "remaining": None if budget is None else max(0, budget - log.evaluations),
        **log.counts(),
    }


def shown_metrics(log: StudyLog, is_all: bool) -> list[str]:
    """Return names of the metrics in the objective and the limits, or of all."""
    names = [spec.name for spec in log.metrics]
    if is_all:
        return names
    terms = {str(term["metric"]) for term in log.header.task["objective"]["terms"]}
    terms |= {limit.metric for limit in log.limits}
    return [name for name in names if name in terms]


def _create_study(workspace: Workspace, given: CreateStudy) -> dict[str, Any]:
    task = workspace.task(given.choices())
    return created(given.study, workspace.create(given.study, task, given.budget))


def created(name: str, study: Study) -> dict[str, Any]:
    """Return a new study as tools report it: its budget, task and default design."""
    task, log = study.task, study.read()
    return {
        "study": name,
        **status(log),
        "digest": task.digest,
        "objective": task.objective.doc or task.objective.name,
        "limits": [str(limit) for limit in task.limits],
        "units": {spec.name: spec.unit for spec in task.metrics},
        "default": {
            "design": dict(task.space.default),
            "reward": 0.0,
            "metrics": _named(log, log.weights @ log.reference, shown_metrics(log, False)),
        },
    }


def _named(log: StudyLog, values: np.ndarray, shown: Sequence[str]) -> dict[str, float]:
    names = [spec.name for spec in log.metrics]
    return {name: float(values[names.index(name)]) for name in shown}


def _evaluate(workspace: Workspace, given: Evaluate) -> dict[str, Any]:
    study = workspace.study(given.study)
    space = study.task.space
    designs = [read_design(space, values, n) for n, values in enumerate(given.designs)]
    indices = np.array([space.indices_of(design) for design in designs])
    trials = _charged(study, indices, given.study)
    log = study.read()
    shown = shown_metrics(log, given.all_metrics)
    return {
        "study": given.study,
        **status(log),
        "units": {spec.name: spec.unit for spec in log.metrics if spec.name in shown},
        "results": _results(log, trials, shown),
    }


def _charged(study: Study, indices: np.ndarray, name: str) -> Trials:
    """Return results of designs, all of them or none, within the budget.

    Raises:
      BudgetExhausted: The budget does not suffice for all of them.
    """
    log = study.read()
    missing = len(Known(study.task, log).missing(indices))
    left = _left(study, log)
    if missing > left:
        raise BudgetExhausted(
            f"Study {name!r} has {left} evaluations left; this call needs {missing}. Nothing was "
            "evaluated."
        )
    if not missing and not left:
        # A used-up study takes no more asks; what it holds is read.
        return Known(study.task, log).trials(indices)
    return study.evaluate(indices)


def _left(study: Study, log: StudyLog) -> int:
    asks_left = (study.max_asks or 2**53) - log.asks
    return max(0, min((study.budget or 0) - log.evaluations, asks_left))


def _results(log: StudyLog, trials: Trials, shown: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    rows = _rows(log, trials.indices)
    for trial, row in zip(trials, rows, strict=True):
        result: dict[str, Any] = {
            "evaluation": (outcome := log.outcome(row)).evaluation,
            "reward": trial.reward,
            "feasible": trial.feasible,
        }
        if trial.feasible:
            result["missed_limits"] = log.missed(outcome)
            result["metrics"] = _named(log, trial.values, shown)
        elif trial.failed:
            result["reason"] = "The simulator failed on this design."
        else:
            result["reason"] = log.reasons[trial.reason]
        if trial.repeated:
            result["known_before"] = True
        found.append(result)
    return found


def _rows(log: StudyLog, indices: np.ndarray) -> list[int]:
    """Return the row of the evaluation of each design."""
    space = log.space
    rows = np.flatnonzero(log.is_evaluation)
    keys = np.ascontiguousarray(space.canonical(log.records.indices[rows]))
    row_of = {key.tobytes(): int(row) for key, row in zip(keys, rows, strict=True)}
    wanted = np.ascontiguousarray(space.canonical(np.asarray(indices, dtype=np.int64)))
    return [row_of[key.tobytes()] for key in wanted]


def _propose(workspace: Workspace, given: Propose) -> dict[str, Any]:
    study = workspace.study(given.study)
    found = propose(
        study.task,
        study.read(),
        given.agent,
        seed=given.seed,
        hyperparameters=tuples(given.hyperparameters),
    )
    designs = study.task.space.designs(found[: given.count])
    return {
        "study": given.study,
        "agent": given.agent,
        "seed": given.seed,
        "waiting": len(found),
        "designs": [dict(design) for design in designs],
    }


def _advise(workspace: Workspace, given: Advise) -> dict[str, Any]:
    study = workspace.study(given.study)
    space = study.task.space
    designs = [read_design(space, values, n) for n, values in enumerate(given.designs)]
    return study.advise(given.count, designs, given.seed).to_json()


def _search(workspace: Workspace, given: Search) -> dict[str, Any]:
    study = workspace.study(given.study)
    kind = agent_class(given.agent)
    agent = make_agent(kind, study.task.space, given.seed, tuples(given.hyperparameters))
    before = study.read()
    if _left(study, before) == 0:
        raise BudgetExhausted(f"Study {given.study!r} has no evaluations left.")
    end = min(before.evaluations + given.evaluations, study.budget or 0)

    def evaluate(indices: np.ndarray) -> Trials:
        known = Known(study.task, study.read())
        n_new = known.running_count(indices)
        fits = int(np.searchsorted(n_new, end - study.evaluations, side="right"))
        if fits < len(indices):
            if fits:
                study.evaluate(indices[:fits])
            raise BudgetExhausted("The evaluations of this call are used up.")
        return study.evaluate(indices)

    ended = "agent"
    try:
        agent.search(evaluate, study.task)
    except BudgetExhausted:
        ended = "evaluations"
    log = study.read()
    best = log.best()
    return {
        "study": given.study,
        "agent": given.agent,
        "seed": given.seed,
        "spent": log.evaluations - before.evaluations,
        "ended_by": ended,
        **status(log),
        "best_before": None if (old := before.best()) is None else old.reward,
        "best": None
        if best is None
        else {
            "evaluation": best.evaluation,
            "reward": best.reward,
            "missed_limits": log.missed(best),
            "metrics": {name: best.metrics[name] for name in shown_metrics(log, False)},
            "design": dict(best.design),
        },
    }


def _explain(workspace: Workspace, given: Explain) -> dict[str, Any]:
    study = workspace.study(given.study)
    task, log = study.task, study.read()
    if given.design is not None:
        indices = task.space.indices_of(read_design(task.space, given.design, 0))
    elif (best := log.best()) is not None:
        indices = task.space.indices_of(best.design)
    else:
        raise InvalidArgumentError(
            f"Study {given.study!r} has no feasible design to explain. Evaluate one, or give one."
        )
    designs, _ = single_changes(task.space, indices)
    _charged(study, designs, given.study)
    found = explain_design(task, indices).to_json()
    log = study.read()
    shown = shown_metrics(log, False)
    changes = sorted(found["changes"], key=lambda change: -change["reward"])
    return {
        "study": given.study,
        **status(log),
        "design": found["design"],
        "reward": found["reward"],
        "metrics": found["metrics"],
        "without": [
            {"cost": w["cost"], "what_is_free": w["what_is_free"], "reward": w["reward"]}
            for w in found["without"]
        ],
        "best_changes": [
            {**change, "metrics": {name: change["metrics"][name] for name in shown}}
            for change in changes[: given.changes]
        ],
        "of_changes": len(changes),
        "points": [point["text"] for point in found["points"]],
    }


TOOLS = (
    (CreateStudy, _create_study, False),
    (Evaluate, _evaluate, False),
    (Propose, _propose, True),
    (Advise, _advise, True),
    (Search, _search, False),
    (Explain, _explain, False),
)
"""Input, function and True for tools that change nothing."""


# ---- proposals of an agent for a study that has none
#
# The agent is made from its seed and runs over the results that the study holds. The first ask that
# holds a design without a result is the proposal. So a proposal is a function of the agent, its
# hyperparameters, its seed and the journal, and nothing about it needs to be stored.

# chosen: asks for designs that are known before an agent counts as finished.
_MAX_KNOWN_ASKS = 100_000


def propose(
    task: Task,
    log: StudyLog,
    agent: str,
    *,
    seed: int = 0,
    hyperparameters: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Return the designs that an agent would ask for next, without results so far.

    Args:
      task: Task of the study.
      log: The study.
      agent: Name of a registered agent.
      seed: Seed of the agent.
      hyperparameters: Hyperparameters that differ from the defaults.

    Returns:
      (k, n_parameters) canonical designs; at least one.

    Raises:
      UnknownNameError: The agent or a hyperparameter does not exist.
      InvalidArgumentError: The agent cannot be replayed, or has no more to propose.
    """
    kind = agent_class(agent)
    made = make_agent(kind, task.space, seed, dict(hyperparameters or {}))
    if not made.replayable:
        raise InvalidArgumentError(
            f"Agent {agent!r} does not propose the same designs again, so it cannot be asked here. "
            "Use another one, such as 'genetic'."
        )
    known = Known(task, log)
    waiting: list[np.ndarray] = []
    asked = 0
    is_finished = True

    def evaluate(indices: np.ndarray) -> Trials:
        nonlocal asked, is_finished
        task.space.check_indices(np.asarray(indices))
        missing = known.missing(indices)
        asked += len(indices)
        if len(missing) or asked > _MAX_KNOWN_ASKS:
            is_finished = len(missing) > 0
            waiting.append(missing)
            raise BudgetExhausted("The agent waits for results.")
        return known.trials(np.asarray(indices, dtype=np.int64))

    with suppress(BudgetExhausted):
        made.search(evaluate, task)
    if not waiting or not len(waiting[0]):
        limit = "" if is_finished else f" in its first {_MAX_KNOWN_ASKS:,} asks"
        raise InvalidArgumentError(
            f"Agent {agent!r} with seed {seed} has nothing new to propose{limit}. Use another seed "
            "or agent."
        )
    return waiting[0]
