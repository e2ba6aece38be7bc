"""`archgym explain`: what bounds a design, which knob helps most, what a target takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import heading, number, say, table, unit, warn, write_json
from archgym.cli.options.task import (
    FidelityOption,
    FromProxyOption,
    FromTableOption,
    JsonOption,
    ObjectiveOption,
    OptionOption,
    SpaceOption,
    TaskChoice,
    WorkloadOption,
    make_simulator,
    make_task,
)
from archgym.errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.evaluation.objective import Objective
    from archgym.evaluation.task import Task
    from archgym.report.explain import Change, Explanation, Point, Route

__all__ = ["explain"]

# chosen: more rows hide those that matter.
_SHOWN_KNOBS = 12
# chosen: more metrics in a row do not fit a terminal.
_SHOWN_TERMS = 2
_SHOWN_OTHERS = 3
# What one decimal of a percentage would show as 0.
_SHOWN_SHARE = 5e-4
# chosen: changes by tenfold and more are told as factors.
_FACTOR = 9.0
# What the table's four decimals would show as 0.
_SHOWN_CHANGE = 5e-5
_DEFAULT = "default"
_VERBS = {
    "sum": "is the sum of",
    "largest": "is the largest of",
    "product": "goes as the product of",
    "part": "holds",
}


def explain(
    design: Annotated[
        str,
        typer.Argument(
            help="A JSON file of a design, a study's folder for its best one, or the word default.",
            metavar="DESIGN|STUDY|default",
        ),
    ],
    simulator: Annotated[
        str,
        typer.Argument(help="A simulator or a whole task; a study has its own.", metavar="TASK"),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option("--target", help='Say what it takes, such as "total_time_ns<=60000".'),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(
            "--error",
            help="How far the simulator may be off, in %; what it states, or 5.",
            min=0,
            max=100,
        ),
    ] = None,
    space: SpaceOption = None,
    workload: WorkloadOption = None,
    objective: ObjectiveOption = None,
    fidelity: FidelityOption = None,
    option: OptionOption = None,
    from_table: FromTableOption = None,
    from_proxy: FromProxyOption = None,
    json: JsonOption = False,
) -> None:
    """Explain a design: what bounds it, which single knob helps most, what is at risk.

    Every design that differs from it in one knob is evaluated.
    """
    from archgym.report.best_design import ASSUMED_ERROR_PERCENT
    from archgym.report.explain import explain as make_explanation
    from archgym.report.explain import route, tradeoffs

    choice = TaskChoice(
        simulator or "dram", space, workload, objective, fidelity, option, from_table, from_proxy
    )
    is_chosen = bool(simulator or space or workload or objective or fidelity or option)
    task, indices, wanted = _subject(design, choice, is_chosen, target)
    with prompt_stops():
        found = make_explanation(task, indices)
        way = None if wanted is None else route(task, indices, wanted)
    if error is None:
        stated = task.simulator.accuracy_percent
        error = stated.get(task.simulator.fidelity, ASSUMED_ERROR_PERCENT)
    points = tradeoffs(found, error)
    if json:
        write_json(_as_json(found, points, way))
        return
    _write(found)
    _write_points(found, points)
    if way is not None and wanted is not None:
        _write_route(found, way, wanted)


def _subject(
    text: str, choice: TaskChoice, is_chosen: bool, target: str | None
) -> "tuple[Task, np.ndarray, Objective | None]":
    from archgym.cli.options.values import filled_design, read_design

    path = Path(text)
    if not text:
        raise InvalidArgumentError(
            "A design must be named: a JSON file, a study's folder, or the word default; got ''."
        )
    if text != _DEFAULT and path.is_dir():
        return _of_study(path, choice, is_chosen, target)
    start = None if text == _DEFAULT else read_design(path)
    # Making a task evaluates its default design, so a target is refused before.
    wanted = None if target is None else _target(target, make_simulator(choice).metrics)
    task = make_task(choice)
    if start is None:
        return task, task.space.default_indices, wanted
    return task, task.space.indices_of(filled_design(task.space, start, path)), wanted


def _target(text: str, specs: "Sequence[MetricSpec]") -> "Objective":
    from archgym.evaluation.objective import parse_target

    return parse_target(f"target:{text}", specs)


def _of_study(
    folder: Path, choice: TaskChoice, is_chosen: bool, target: str | None
) -> "tuple[Task, np.ndarray, Objective | None]":
    from archgym.cli.console.progress import announce_compilation
    from archgym.evaluation.task import Task
    from archgym.studies.study import read_study

    if is_chosen:
        raise InvalidArgumentError(
            "A study has its task; leave out TASK, --space, --workload, --objective, --fidelity "
            "and --option."
        )
    if choice.from_proxy is not None:
        raise InvalidArgumentError(
            "`--from-proxy` goes with a task, since a proxy's tasks are others than a study's; got "
            f"{folder}. Write its best design into a file, and name the task."
        )
    log = read_study(folder)
    if (damage := log.damage_report()) is not None:
        warn(damage)
    wanted = None if target is None else _target(target, log.metrics)
    best = log.best()
    if best is None:
        raise InvalidArgumentError(
            f"A study must have a design that can be built to be explained; {folder} has none."
        )
    announce_compilation()
    recipe = dict(log.header.task)
    if choice.from_table is not None:
        recipe.pop("stand_in", None)
    task = Task.from_json(recipe, stand_in=choice.from_table)
    return task, task.space.indices_of(best.design), wanted


# ---- words


def _write(found: "Explanation") -> None:
    from archgym.evaluation.stand_in import StandIn

    task = found.task
    units = {spec.name: spec.unit for spec in task.metrics}
    heading(f"{task.id}: reward {found.reward:.4f}")
    default = task.space.design_at(task.space.default_indices)
    design = task.space.design_at(found.indices)
    changed = [f"{name}={design[name]}" for name in design if design[name] != default[name]]
    say(f"Design: {', '.join(changed) or 'the default one'}{', else the default' * bool(changed)}")
    say()
    if found.causes or found.reliefs:
        heading("What bounds it")
    for each in found.causes:
        parts = ", ".join(
            f"{part.metric} {number(part.value)} {unit(units[part.metric])} "
            f"({100 * part.share:.1f} %)"
            for part in each.parts
            if abs(part.share) >= _SHOWN_SHARE
        )
        share = " (shares of what it varies by)" if each.kind == "product" else ""
        say(
            f"{each.metric} {_VERBS[each.kind]} {parts}{share}; so on all {each.n_designs} "
            "designs looked at."
        )
    for spec, value in zip(task.metrics, found.values, strict=True):
        # All of something, or nothing, bounds nothing.
        if spec.unit == "%" and 0 < value < 100 * (1 - _SHOWN_SHARE):
            say(f"{spec.name} is {number(float(value))} %. {spec.doc}")
    if found.reliefs:
        say()
        _write_costs(found)
    elif isinstance(task.simulator, StandIn):
        say(
            f"A {task.simulator.kind} does not know what costs cause: without it, "
            f"{task.simulator.name} says more."
        )
        say()
    elif not found.causes:
        say("Neither metrics nor costs of the simulator say what its time or energy is made of.")
        say()
    _write_knobs(found)


def _write_costs(found: "Explanation") -> None:
    """What each cost causes: what the metrics would change by without it."""
    from archgym.report.explain import shares

    heading("What it would be without")
    sought = list(dict.fromkeys(term.metric for term in found.task.objective.terms))
    by_relief = [(relief, shares(found, relief)) for relief in found.reliefs]
    moving = {
        name
        for _, moved in by_relief
        for name, share in moved.items()
        if abs(share) >= _SHOWN_SHARE
    }
    shown = [metric for metric in sought if metric in moving][:_SHOWN_TERMS]
    rows, idle = [], []
    for relief, moved in by_relief:
        if all(abs(share) < _SHOWN_SHARE for share in moved.values()):
            idle.append(relief.cost)
            continue
        others = [name for name in moved if name in moving and name not in shown][:_SHOWN_OTHERS]
        text = ", ".join(f"{name} {_percent(moved[name])}" for name in others)
        texts = [_percent(moved.get(metric)) for metric in shown]
        rows.append((relief.cost, relief.doc, *texts, text))
    if rows:
        table(("cost", "what is free", *shown, "and"), rows, right=shown)
        say(
            "Each alone, all else being the same: costs overlap, so these do not add up, and a "
            "design made for the ideal machine may gain more."
        )
    if not shown:
        say(f"None of them moves {', '.join(sought)}: something else bounds that.")
    if idle:
        say(f"Costs without effect here: {', '.join(idle)}.")
    say()


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    if share >= _FACTOR:
        return f"x {1 + share:,.3g}"
    # Without a sign that says less than nothing.
    return "0.0 %" if abs(share) < _SHOWN_SHARE else f"{100 * share:+.1f} %"


def _write_knobs(found: "Explanation") -> None:
    heading("Which single knob helps most")
    best = found.best_change
    built = sum(change.is_built for change in found.changes)
    if best is None:
        say(
            f"None: no one of the {built} designs that differ in one knob is better. It is a local "
            "optimum."
        )
    else:
        say(
            f"{best.knob} from {best.old} to {best.new}: reward {found.reward:.4f} to "
            f"{best.reward:.4f}; {_moved(found, best)}. The best of {built} designs that differ in "
            "one knob."
        )
    say()
    rows = []
    idle = []
    for knob, own in found.by_knob().items():
        if max(abs(change.reward - found.reward) for change in own) < _SHOWN_CHANGE:
            idle.append(knob)
            continue
        low = min(own, key=lambda change: change.reward)
        high = max(own, key=lambda change: change.reward)
        rows.append(
            (
                knob,
                str(own[0].old),
                f"{high.new}",
                f"{high.reward - found.reward:+.4f}",
                f"{low.new}",
                f"{low.reward - found.reward:+.4f}",
            )
        )
    columns = ("knob", "is", "best other", "reward", "worst other", "reward ")
    table(columns, rows[:_SHOWN_KNOBS], right=("reward", "reward "))
    if len(rows) > _SHOWN_KNOBS:
        say(f"And {len(rows) - _SHOWN_KNOBS} more knobs that move it less; --json has all.")
    if idle:
        say(f"Knobs that do not move the reward: {', '.join(idle)}.")


def _moved(
    found: "Explanation",
    change: "Change",
    before: "np.ndarray | None" = None,
    objective: "Objective | None" = None,
) -> str:
    """What the metrics of an objective, or of the task's, change by, from the design or before."""
    texts = []
    names = [spec.name for spec in found.task.metrics]
    terms = (objective or found.task.objective).terms
    for metric in dict.fromkeys(term.metric for term in terms):
        place = names.index(metric)
        start = found.values if before is None else before
        old, new = float(start[place]), float(change.values[place])
        share = f" ({100 * (new / old - 1):+.2f} %)" if old else ""
        texts.append(
            f"{metric} {number(old)} to {number(new)} {unit(found.task.metrics[place].unit)}{share}"
        )
    return ", ".join(texts)


def _write_points(found: "Explanation", points: "list[Point]") -> None:
    from archgym.report.commands import evaluate_command

    say()
    heading("Tradeoffs and risks")
    table(
        ("kind", "knob", "change", "what comes of it"),
        [(p.kind, p.knob, _change_text(p.change), p.text) for p in points],
    )
    change = next((point.change for point in points if point.change is not None), None)
    indices = found.indices if change is None else found.changed(change)
    say("Compute an entry again with: " + evaluate_command(found.task, indices))


def _change_text(change: "Change | None") -> str:
    return "" if change is None else f"{change.old} to {change.new}"


def _write_route(found: "Explanation", way: "Route", wanted: "Objective") -> None:
    say()
    target = wanted.name.removeprefix("target:")
    heading(f"What it takes to reach {target}")
    before = found.values
    for step in way.steps:
        moved = _moved(found, step, before, wanted)
        say(f"{step.knob} from {step.old} to {step.new}: {moved}")
        before = step.values
    if way.is_met:
        n = len(way.steps)
        what = "It is met already" if not n else f"It is met after {n} change{'s' * (n > 1)}"
        say(f"{what}; {way.evaluations} designs were evaluated.")
    else:
        names = [spec.name for spec in found.task.metrics]
        say(
            f"It is not met: from there no single knob comes nearer, of {way.evaluations} designs "
            "evaluated. Several knobs at once may; search with this objective: "
            f'--objective "target:{target}". Metrics there: '
            + ", ".join(
                f"{name} {number(float(way.values[names.index(name)]))}"
                for name in dict.fromkeys(term.metric for term in wanted.terms)
            )
            + "."
        )


def _as_json(found: "Explanation", points: "list[Point]", way: "Route | None") -> dict[str, Any]:
    from archgym.report.explain import shares

    task = found.task
    names = [spec.name for spec in task.metrics]

    def change(each: "Change | None") -> dict[str, Any] | None:
        if each is None:
            return None
        return {
            "knob": each.knob,
            "from": each.old,
            "to": each.new,
            "reward": each.reward,
            "metrics": dict(zip(names, each.values.tolist(), strict=True)),
        }

    return {
        "task": task.id,
        "design": dict(task.space.design_at(found.indices)),
        "reward": found.reward,
        "metrics": dict(zip(names, found.values.tolist(), strict=True)),
        "causes": [
            {
                "metric": each.metric,
                "kind": each.kind,
                "designs": each.n_designs,
                "parts": [vars(part) for part in each.parts],
            }
            for each in found.causes
        ],
        "without": [
            {
                "cost": relief.cost,
                "what_is_free": relief.doc,
                "reward": relief.reward,
                "metrics": dict(zip(names, relief.values.tolist(), strict=True)),
                "change_percent": {
                    name: 100 * share for name, share in shares(found, relief).items()
                },
            }
            for relief in found.reliefs
        ],
        "best_change": change(found.best_change),
        "changes": [change(each) for each in found.changes],
        "points": [
            {"kind": p.kind, "knob": p.knob, "text": p.text, "change": change(p.change)}
            for p in points
        ],
        "target": None
        if way is None
        else {
            "is_met": way.is_met,
            "evaluations": way.evaluations,
            "steps": [change(step) for step in way.steps],
            "metrics": dict(zip(names, way.values.tolist(), strict=True)),
        },
    }
