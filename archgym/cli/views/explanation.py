"""Text rendering of the explanation of a design."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from archgym.cli.console.terminal import heading, number, prose, say, table
from archgym.cli.views.study import limits_text
from archgym.evaluation.limits import LIMITED_REWARD
from archgym.evaluation.restriction import unrestricted
from archgym.evaluation.stand_in import StandIn
from archgym.report.commands import evaluate_command, task_title
from archgym.report.explain import shares
from archgym.report.quantities import change_text

if TYPE_CHECKING:
    from archgym.evaluation.capabilities import Bottleneck
    from archgym.report.design_explanation import DesignExplanation
    from archgym.report.explain import Change, Explanation, Point
    from archgym.tasks.task import Task

# chosen: more rows hide the important ones.
_SHOWN_PARAMETERS = 12
# chosen: more metrics in a row do not fit a terminal.
_SHOWN_TERMS = 2
_SHOWN_OTHERS = 3
# chosen: of each metric; --json has all.
_SHOWN_BOTTLENECKS = 3
# chosen: further ones are small.
_SHOWN_PARTS = 8
_ENERGY_UNITS = ("pJ", "nJ", "uJ", "mJ", "J")
# One decimal of a percentage would show less as 0.
_SHOWN_SHARE = 5e-4
# Four decimals would show less as 0.
_SHOWN_CHANGE = 5e-5
# chosen: a larger factor says no more.
_COUNTLESS = 1e4
_KINDS = {
    "sensitivity": "Sensitivities",
    "tradeoff": "Tradeoffs",
    "risk": "Risks: as good within the simulator's error",
    "non-risk": "Parameters that change nothing",
}


def write_explanation(found: "DesignExplanation") -> None:
    """Write costs, single changes and tradeoffs."""
    explanation = found.explanation
    task = explanation.task
    names = [weighted.workload.name for weighted in task.workloads]
    heading(task_title(task.simulator.name, names, task.objective, task.metrics))
    say(f"{task.id}: {_reward_text(task, explanation.reward)}")
    changes = task.space.changes(task.space.design_at(explanation.indices))
    changed = [f"{name}={value}" for name, value in changes.items()]
    rest = " (others at default)" if changed else ""
    prose(f"Design: {', '.join(changed) or 'the default'}{rest}")
    if task.limits:
        prose(limits_text(task.missed(explanation.by_workload)))
    say()
    _write_parts(found)
    if explanation.reliefs:
        _write_costs(explanation, {each.name: _relief(each) for _, each in found.bottlenecks})
    elif isinstance(source := unrestricted(task.simulator), StandIn):
        prose(
            f"A {source.kind} cannot evaluate a design without a cost. For the effect of "
            f"costs, use the simulator {task.simulator.name}."
        )
        say()
    else:
        say("The simulator names no costs that explain its time or energy.")
        say()
    _write_bottlenecks(found)
    _write_changes(explanation)
    _write_points(explanation, found.points)


def _write_parts(found: "DesignExplanation") -> None:
    """Write the largest parts of each metric that the simulator composes of parts."""
    units = {spec.name: spec.unit for spec in found.explanation.task.metrics}
    several = len(found.explanation.task.workloads) > 1
    if found.parts:
        heading("Largest parts")
    for workload, metric, values in found.parts:
        where = f"{metric} on {workload}" if several else metric
        prose(f"{where} is the sum of {parts_text(values, units[metric])}.")
    if found.parts:
        say()


def parts_text(values: Mapping[str, float], unit: str) -> str:
    """Return the largest parts with their shares of the sum, the largest first."""
    whole = sum(values.values())
    shown = sorted(values.items(), key=lambda pair: -pair[1])[:_SHOWN_PARTS]
    texts = [f"{name} {_quantity(v, unit)} ({100 * v / whole:.1f} %)" for name, v in shown]
    rest = whole - sum(value for _, value in shown)
    more = [f"{len(values) - len(shown)} others ({100 * rest / whole:.1f} %)"]
    return ", ".join(texts + more * (len(values) > len(shown)))


def _write_costs(found: "Explanation", relieved_by: Mapping[str, str]) -> None:
    """Write how the metrics would change without each cost, and which parameters relieve it."""
    heading("Effect of removing one cost")
    energies = [spec.name for spec in found.task.metrics if spec.unit in _ENERGY_UNITS]
    terms = list(dict.fromkeys(term.metric for term in found.task.objective.terms))
    by_relief = [(relief, shares(found, relief)) for relief in found.reliefs]
    moving = {
        name
        for _, moved in by_relief
        for name, share in moved.items()
        if abs(share) >= _SHOWN_SHARE
    }
    wanted = dict.fromkeys([*terms, *energies[:1]] if moving.intersection(terms) else [])
    shown = [metric for metric in wanted if metric in moving][:_SHOWN_TERMS]
    rows, free, idle = [], [], []
    for relief, moved in by_relief:
        if all(abs(share) < _SHOWN_SHARE for share in moved.values()):
            idle.append(relief.cost)
            continue
        others = [name for name in moved if name in moving and name not in shown][:_SHOWN_OTHERS]
        text = ", ".join(f"{name} {_percent(moved[name])}" for name in others)
        texts = [_percent(moved.get(metric)) for metric in shown]
        rows.append((relief.cost, *texts, text))
        relieving = relieved_by.get(relief.cost)
        by = f" Relieved by {relieving}." if relieving else ""
        free.append(f"{relief.cost} is free: {relief.doc}.{by}")
    if rows:
        table(("without", *shown, "other metrics"), rows, right=shown)
        for line in free:
            prose(line, indent="  ")
        prose(
            "Each cost is removed alone. Costs overlap, so the effects do not add up. A design "
            "optimised without the cost may gain more."
        )
    if not shown:
        prose(f"No cost changes {', '.join(terms)}; something else bounds it.")
    if idle:
        prose(f"Costs without effect on this design: {', '.join(idle)}.")
    say()


def _write_bottlenecks(found: "DesignExplanation") -> None:
    """Write the largest bottlenecks of each metric, with the first change that relieves each."""
    rows: list[tuple[str, ...]] = []
    count: Counter[tuple[str, str]] = Counter()
    several = len(found.explanation.task.workloads) > 1
    costs = {relief.cost for relief in found.explanation.reliefs}
    for workload, each in found.bottlenecks:
        if each.name in costs:
            # Among the effects of removing costs.
            continue
        count[workload, each.metric] += 1
        if count[workload, each.metric] <= _SHOWN_BOTTLENECKS:
            where = f"{each.metric} on {workload}" if several else each.metric
            rows.append((where, f"{100 * each.share:.3g} %", each.name, _relief(each)))
    if rows:
        heading("Bottlenecks")
        table(("of", "share", "bottleneck", "relieved by"), rows, right=("share",))


def _relief(bottleneck: "Bottleneck") -> str:
    """Return the first move, or the parameters that matter."""
    if bottleneck.moves:
        return ", ".join(f"{name}={value}" for name, value in bottleneck.moves[0].items())
    names = bottleneck.parameters
    more = len(names) - _SHOWN_OTHERS
    return ", ".join(names[:_SHOWN_OTHERS]) + (f" and {more} more" if more > 0 else "")


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return "over 10,000 times" if share > _COUNTLESS else change_text(share)


def _write_changes(found: "Explanation") -> None:
    heading("Best single change")
    best = found.best_change
    n_feasible = sum(change.is_built for change in found.changes)
    if best is None:
        prose(
            f"None of the {n_feasible} designs that differ in one parameter is better: the design "
            "is a local optimum."
        )
    else:
        prose(
            f"{best.parameter} from {best.old} to {best.new}: "
            f"{_reward_text(found.task, found.reward)} to "
            f"{_reward_text(found.task, best.reward)}; {_moved(found, best)}. It is the best of "
            f"{n_feasible} designs that differ in one parameter."
        )
    say()
    rows = []
    idle = []
    for name, changes in found.by_parameter().items():
        if max(abs(change.reward - found.reward) for change in changes) < _SHOWN_CHANGE:
            idle.append(name)
            continue
        high = max(changes, key=lambda change: change.reward)
        low = min(changes, key=lambda change: change.reward)
        rows.append((name, high, low))
    cells = []
    for name, high, low in rows[:_SHOWN_PARAMETERS]:
        for label, change in ((name, high), ("", low))[: 1 + (high is not low)]:
            gain = _gain_text(found, change)
            cells.append((label, f"{change.old} → {change.new}", gain))
    if cells:
        say("Best and worst other value of each parameter:")
        table(("parameter", "change", "reward"), cells, right=("reward",))
    if len(rows) > _SHOWN_PARAMETERS:
        prose(
            f"{len(rows) - _SHOWN_PARAMETERS} more parameters change the reward less; use --json "
            "for all."
        )
    if idle:
        prose(f"Parameters without effect on the reward: {', '.join(idle)}.")


def _reward_text(task: "Task", reward: float) -> str:
    """Return a reward in words; that of a design that misses a limit is not shown."""
    is_missing = bool(task.limits) and reward <= LIMITED_REWARD
    return "misses a limit" if is_missing else f"reward {reward:.4f}"


def _gain_text(found: "Explanation", change: "Change") -> str:
    """Return the change of the reward, or what a change does to the limits."""
    if not found.task.limits:
        return f"{change.reward - found.reward:+.4f}"
    misses = found.reward <= LIMITED_REWARD, change.reward <= LIMITED_REWARD
    if misses == (True, True):
        return f"{'closer to' if change.reward > found.reward else 'further from'} the limits"
    if any(misses):
        return "misses a limit" if misses[1] else "meets the limits"
    return f"{change.reward - found.reward:+.4f}"


def _moved(found: "Explanation", change: "Change") -> str:
    """Return how a change moves the metrics of the objective."""
    names = [spec.name for spec in found.task.metrics]
    texts = []
    for metric in dict.fromkeys(term.metric for term in found.task.objective.terms):
        column = names.index(metric)
        old, new = float(found.values[column]), float(change.values[column])
        share = f" ({change_text(new / old - 1)})" if old else ""
        quantity = _quantity(new, found.task.metrics[column].unit)
        texts.append(f"{metric} {number(old)} to {quantity}{share}")
    return ", ".join(texts)


def _quantity(value: float, unit: str) -> str:
    return f"{number(value)} {unit}".rstrip()


def _write_points(found: "Explanation", points: "tuple[Point, ...]") -> None:
    say()
    for kind in dict.fromkeys(point.kind for point in points):
        heading(_KINDS.get(kind, kind.capitalize()))
        own = [point for point in points if point.kind == kind]
        rows = [
            (
                point.parameter,
                "" if point.change is None else f"{point.change.old} → {point.change.new}",
                point.text,
            )
            for point in own
        ]
        if all(not change for _, change, _ in rows):
            table(("parameter", "effect"), [(name, text) for name, _, text in rows])
        else:
            table(("parameter", "change", "effect"), rows)
    change = next((point.change for point in points if point.change is not None), None)
    indices = found.indices if change is None else found.changed(change)
    what = "this design" if change is None else f"{change.parameter}={change.new}"
    say(f"To evaluate {what}: {evaluate_command(found.task, indices)}")
