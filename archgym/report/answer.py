"""Answer of a report on one task: the design, its gain, and the confidence in it."""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from archgym.evaluation.capabilities import never_compared
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.metrics import MetricSpec, growth
from archgym.report.best_design import Chosen
from archgym.report.decision import decide
from archgym.report.evidence import TaskEvidence
from archgym.report.explain import reward_room
from archgym.report.quantities import change_text, counted, metric_title, quantity, size_text
from archgym.report.simplification import AblationPath
from archgym.studies.snapshot import read_study

# chosen: runs and designs within 1 % of the best are as good in practice.
_CLOSE = math.log(1.01)
# chosen: a metric that got worse by more is part of the price.
_PRICE = 0.02
_MAX_PRICES = 4
# chosen: a smaller error than 0.01 % is that of rounding.
_SHOWN_ERROR = 0.01
# chosen: a smaller loss of the reward is not worth a remark.
_NOTHING = 5e-5


@final
@dataclass(frozen=True)
class DesignChange:
    """One parameter of the best design that differs from the default design."""

    parameter: str
    unit: str
    old: str
    new: str
    brought: str
    """Effect of the change, in words; empty if it was not evaluated or is nothing."""


@final
@dataclass(frozen=True)
class Gain:
    """One metric of the best design against the default design."""

    metric: str
    title: str
    best: str
    default: str
    change: str
    verdict: str
    """One of better, worse, same."""


@final
@dataclass(frozen=True)
class Answer:
    """The three cards at the head of a report."""

    design: tuple[DesignChange, ...]
    idle: tuple[str, ...]
    """Changed parameters that could all keep their defaults."""
    is_evaluated: bool
    """True if the effects of the changes are known."""
    gains: tuple[Gain, ...]
    """Metrics of the objective and of its limits."""
    prices: tuple[Gain, ...]
    """Other metrics that are worse than the default design's, worst first."""
    sure: tuple[tuple[str, str], ...]
    """Topic and finding."""
    closest: str = ""
    """Distance of the best design from the limits, in words; empty if it meets them."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON."""
        return {
            "design": [vars(change) for change in self.design],
            "without_effect": list(self.idle),
            "gains": [vars(gain) for gain in self.gains],
            "prices": [vars(gain) for gain in self.prices],
            "confidence": dict(self.sure),
            "closest_to_limits": self.closest or None,
        }


def answer_of(task: TaskEvidence, chosen: Chosen | str | None) -> Answer | None:
    """Return the answer of a task; None if no design was built.

    Args:
      task: Evaluations of the task.
      chosen: Its best design evaluated again, or the reason why it was not.
    """
    best = task.best
    if best is None:
        return None
    run, row = best
    again = chosen if isinstance(chosen, Chosen) else None
    design, idle = _changes(task, run.indices[row], again)
    values, default = run.values[row], task.reference
    named = task.objective.metrics
    gains, prices = [], []
    for place, spec in enumerate(task.metrics):
        gain = _gain(spec, float(values[place]), float(default[place]))
        if spec.name in named:
            gains.append((named.index(spec.name), gain))
        elif gain.verdict == "worse":
            value, base = float(values[place]), float(default[place])
            loss = abs(float(growth(np.array([value]), base, spec.resolution)[0])) if base else 0.0
            if loss > _PRICE:
                prices.append((-loss, gain))
    return Answer(
        design,
        idle,
        again is not None,
        tuple(gain for _, gain in sorted(gains, key=lambda entry: entry[0])),
        tuple(gain for _, gain in sorted(prices, key=lambda entry: entry[0])[:_MAX_PRICES]),
        tuple(_sure(task, again)),
        _closest(task),
    )


# ---- the design


def _changes(
    task: TaskEvidence, indices: np.ndarray, chosen: Chosen | None
) -> tuple[tuple[DesignChange, ...], tuple[str, ...]]:
    """Return the changed parameters that brought something, and the names of the others."""
    if chosen is None:
        design = task.space.design_at(np.asarray(indices, np.int64))
        default = task.space.default
        changed = task.space.changes(design).items()
        return tuple(_change(task, name, default[name], new, "") for name, new in changed), ()
    path = chosen.path
    changes: list[DesignChange] = []
    for number, step in enumerate(path.effective_steps):
        brought = brought_text(path, number)
        for name, old, new in step.changes:
            changes.append(_change(task, name, old, new, brought))
            brought = "together with the one above"
    return tuple(changes), path.without_effect


def _change(task: TaskEvidence, name: str, old: Any, new: Any, brought: str) -> DesignChange:
    return DesignChange(name, task.space.parameter(name).unit, str(old), str(new), brought)


def brought_text(path: AblationPath, number: int) -> str:
    """Return the effect of one step of a path in words, such as "total time −12.3 %"."""
    before = path.start if number == 0 else path.steps[number - 1]
    after, objective = path.steps[number], path.task.objective
    if objective.limits and before.reward <= LIMITED_REWARD < after.reward:
        return "meets the limits"
    if not (np.isfinite(before.values).all() and np.isfinite(after.values).all()):
        return (
            "makes the design feasible" if np.isfinite(after.values).all() else "infeasible alone"
        )
    names = [spec.name for spec in path.task.metrics]
    texts = []
    for metric in objective.metrics:
        place = names.index(metric)
        old, new = float(before.values[place]), float(after.values[place])
        if old and abs(new / old - 1) >= 5e-4:
            texts.append(f"{metric_title(path.task.metrics[place])} {percent_text(new, old)}")
    if not texts:
        return "no change above 0.05 %"
    is_worse = after.reward < before.reward - _NOTHING
    return ", ".join(texts) + "; the objective gets worse" * is_worse


# ---- the gain


def percent_text(value: float, base: float) -> str:
    """Return a change relative to a base, such as "−31.2 %" or "3.7 times"."""
    return change_text(value / base - 1).replace("-", "−") if base else ""


def _gain(spec: MetricSpec, value: float, default: float) -> Gain:
    is_same = abs(value - default) <= max(spec.resolution / 2, 5e-4 * abs(default))
    is_better = (value < default) == (spec.goal == "minimise")
    verdict = "same" if is_same or spec.goal == "none" else "better" if is_better else "worse"
    texts = quantity(value, spec.unit), quantity(default, spec.unit)
    return Gain(spec.name, metric_title(spec), *texts, percent_text(value, default), verdict)


# ---- the confidence


def _sure(task: TaskEvidence, chosen: Chosen | None) -> list[tuple[str, str]]:
    """Return topics and findings on how far the best design can be trusted."""
    found = [("limits", _limits(task)), ("runs", _runs(task)), ("optimum", _optimum(task, chosen))]
    if chosen is not None:
        found.append(("simulator", _error(task, chosen)))
    return [*found, *_real(task)]


def _real(task: TaskEvidence) -> list[tuple[str, str]]:
    """Return what the simulator's error means for the choice; nothing without the study."""
    assert task.best is not None
    folder = task.best[0].folder
    if not (folder / "study.json").is_file():
        return []
    decision = decide(read_study(folder))
    best, n = decision.best, len(decision.alternatives)
    basis = {
        "learned": "error learned from measured rows",
        "exact": f"no error against {decision.calibration.prior.source}",
        "chosen": "error not known, guessed by the author",
    }[decision.origin]
    if decision.calibration.n_runs:
        basis += f" and {counted(decision.calibration.n_runs, 'measurement')}"
    text = (
        f"evaluation {best.evaluation} {decision.title} of its run with "
        f"{100 * best.p_equal:.0f} %, expected loss {decision.percent(best.loss)}{decision.aside}"
    )
    if decision.is_blind:
        text = f"the error of {' and '.join(decision.not_known)} is not known"
    text += "".join(f"; {t} with {100 * p:.0f} %" for t, p in best.p_limits.items())
    together = [f"{n} designs hold the best with 90 %"] if n > 1 else []
    if decision.front:
        together.append(f"{len(decision.front)} may be on the front of its terms")
    errors = [
        f"{metric_title(spec)} ±{best.margin(spec.name):.2g} %"
        for spec in task.metrics
        if spec.name in best.metrics and best.margin(spec.name)
    ]
    within = f"90 % intervals: {', '.join(errors)} ({basis})" if errors else basis
    found = [("real machine", text), ("as good there", "; ".join(together)), ("its error", within)]
    return [(topic, line) for topic, line in found if line]


def _limits(task: TaskEvidence) -> str:
    limits = task.objective.limits
    if not limits:
        return "none set"
    assert task.best is not None
    missed = task.best[0].missed
    return (
        f"missed: {'; '.join(missed)}"
        if missed
        else f"met as simulated: {', '.join(map(str, limits))}"
    )


def _closest(task: TaskEvidence) -> str:
    """Return by how much the best design misses each limit; empty if it meets them."""
    assert task.best is not None
    missed = task.best[0].missed
    if not missed:
        return ""
    specs = {spec.name: spec for spec in task.metrics}
    texts = []
    for text in missed:
        metric, value, sign, bound = text.split()
        spec, found, limit = specs[metric], float(value), float(bound)
        side = "most" if sign == ">" else "least"
        off = f" ({change_text(found / limit - 1).replace('-', '−')})" if limit else ""
        texts.append(
            f"{metric_title(spec)} is {quantity(found, spec.unit)} instead of at {side} "
            f"{quantity(limit, spec.unit)}{off}"
        )
    return f"No design meets the limits. The closest one misses: {'; '.join(texts)}."


def _runs(task: TaskEvidence) -> str:
    runs = [run for run in task.runs if len(run.reward)]
    top = max(float(run.curve[-1]) for run in runs)
    close = 0.0 if task.objective.is_published_form else _CLOSE
    n_close = sum(float(run.curve[-1]) >= top - close - 1e-12 for run in runs)
    seeds = len({run.seed for run in runs})
    agents = len({run.label for run in runs})
    total = sum(len(run.reward) for run in runs)
    text = (
        f"{counted(len(runs), 'run')} ({counted(agents, 'agent')}, {counted(seeds, 'seed')}), "
        f"{counted(total, 'evaluation')}"
    )
    if len(runs) == 1:
        return text
    return f"{text}; {n_close} of {len(runs)} runs came within 1 % of this design"


def _optimum(task: TaskEvidence, chosen: Chosen | None) -> str:
    assert task.best is not None
    run, row = task.best
    reward = float(run.reward[row])
    if task.known is not None:
        n_better = task.known.n_better(reward)
        if not n_better:
            return f"proven: the best of all {len(task.known.rewards):,} designs"
        behind = ""
        if not task.objective.is_published_form:
            behind = f"; {_behind(task.known.reward, reward)} the proven one"
        return f"{n_better:,} of {len(task.known.rewards):,} designs are better{behind}"
    if chosen is None:
        return "best known; not proven (`archgym prove STUDY` tries, a table proves it: --table)"
    change = chosen.explanation.best_change
    n = sum(each.is_built for each in chosen.explanation.changes)
    if change is None:
        is_missing = bool(task.objective.limits) and reward <= LIMITED_REWARD
        better = "closer to the limits" if is_missing else "better"
        return f"not proven; {better} than all {n:,} designs that differ in one parameter"
    better = _better(task, change.reward, chosen.explanation.reward)
    return f"not reached: {change.parameter} {change.old} → {change.new} is {better}"


def _behind(best: float, reward: float) -> str:
    """Return how far a reward is behind a better one, such as "12 % worse than"."""
    if reward <= LIMITED_REWARD:
        is_met = best > LIMITED_REWARD
        return "misses limits, unlike" if is_met else "further from the limits than"
    return f"{size_text(best - reward)} worse than"


def _better(task: TaskEvidence, reward: float, other: float) -> str:
    """Return how much better a reward is than another one, such as "12 % better"."""
    if other <= LIMITED_REWARD and task.objective.limits:
        return "within the limits" if reward > LIMITED_REWARD else "closer to the limits"
    return "better" if task.objective.is_published_form else f"{size_text(reward - other)} better"


def _error(task: TaskEvidence, chosen: Chosen) -> str:
    room = reward_room(chosen.explanation, chosen.error_percent)
    simulator, error = chosen.explanation.task.simulator, chosen.error_percent
    text = simulator.spec.compared or f"{simulator.name} was compared with nothing that it states"
    reasons = [
        never_compared(simulator, each.workload) for each in chosen.explanation.task.workloads
    ]
    text = next((f"{reason}; without them: {text}" for reason in reasons if reason), text)
    if not chosen.is_error_stated:
        text += f"; designs are compared with an error of ±{error:g} %"
    elif error >= _SHOWN_ERROR:
        text += f"; it states ±{error:g} % for fidelity {simulator.fidelity}"
    gain = chosen.explanation.reward - task.default_reward
    if 0 < gain <= room and task.default_reward > LIMITED_REWARD:
        return f"{text}: larger than the gain, so the default design may be as good"
    behind = chosen.top_rewards[0] - chosen.top_rewards[1:]
    n_close = int((behind < room).sum())
    if n_close:
        return f"{text}; {n_close} of the next {len(behind)} designs are within it"
    return text
