"""`archgym explain` and `simplify`: bounds of a design, and what its changes bring."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archgym.cli.console.signals import prompt_stops
from archgym.cli.console.terminal import heading, say, table, write_json
from archgym.cli.options.design import (
    DesignArgument,
    TaskOfDesignArgument,
    named_design,
)
from archgym.cli.options.task import JsonOption, TaskOptions

if TYPE_CHECKING:
    import numpy as np

    from archgym.evaluation.metrics import MetricSpec
    from archgym.report.simplification import Simplification

# chosen: this many metrics fit a line of 80 columns next to the changes.
_MAX_SHOWN = 3


def explain(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
    error: Annotated[
        float | None,
        typer.Option(
            "--error",
            help="Assumed simulator error in percent (default: the simulator's stated accuracy, "
            "else 5).",
            min=0,
            max=100,
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Explain a design: what bounds it, which single change helps most, what is at risk.

    All designs that differ in one parameter are evaluated.
    """
    from archgym.cli.console.progress import StageBar
    from archgym.cli.views.explanation import write_explanation
    from archgym.report.design_explanation import explain_design

    task, indices = named_design(design, simulator, options)
    with prompt_stops(), StageBar() as bar:
        found = explain_design(task, indices, error_percent=error, progress=bar)
    write_json(found.to_json()) if json else write_explanation(found)


def simplify(
    design: DesignArgument,
    options: TaskOptions,
    simulator: TaskOfDesignArgument = "",
    error: Annotated[
        float | None,
        typer.Option(
            "--error",
            help="Allowed loss of each metric of the objective, in percent of the original "
            "design's, for all returned parameters together (default: the simulator's stated "
            "accuracy, else 5).",
            min=0,
            max=100,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write the simplified design to this JSON file (a new one)."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Return each parameter that does not matter to its default, and rank the other changes.

    The simplified design is worse than the original by at most --error in each metric of the
    objective, and misses no further limit. The path shows what each remaining change brought.
    """
    from archgym.report.export import export_design
    from archgym.report.simplification import simplify as simplify_design

    task, indices = named_design(design, simulator, options)
    with prompt_stops():
        found = simplify_design(task, indices, error_percent=error)
        if out is not None:
            export_design(task, found.simple, "json").write(out)
    if json:
        write_json(found.to_json())
        return
    _write(found)
    if out is not None:
        say(f"Written: {out}")


def _write(found: "Simplification") -> None:
    """Write the simplified design, the parameters that returned, and the ablation path."""
    from archgym.cli.views.study import limits_text
    from archgym.report.quantities import counted, quantity

    task = found.task
    heading(f"{task.id}: simplified design")
    say(
        f"{len(found.returned)} of {len(found.returned) + len(found.kept)} changed parameters "
        f"returned to their defaults ({counted(found.evaluations, 'evaluation')})."
    )
    say(_losses(found))
    shown = _shown(found)
    names = [spec.name for spec in task.metrics]
    if found.returned:
        table(
            ("returned", "was", "default"),
            [(r.parameter, _text(r.value), _text(r.default)) for r in found.returned],
        )
    heading("Metrics")
    original, simple = (task.average(v[None])[0] for v in (found.values, found.simple_values))
    places = [names.index(spec.name) for spec in shown]
    facts: list[tuple[str, ...]] = [
        (spec.name, *(quantity(float(v[p]), spec.unit) for v in (simple, original, default)))
        for spec, p in zip(shown, places, strict=True)
        for default in [found.path.start.values]
    ]
    columns = ("metric", "simplified", "original", "default")
    table(columns, facts, right=columns[1:])
    if task.limits:
        say(limits_text(found.missed_limits))
        say()
    heading("Path from the default design")
    listed = shown[:_MAX_SHOWN]
    heads = ("change", *(spec.name for spec in listed))
    before = found.path.start.values
    lines: list[tuple[str, ...]] = [
        ("default design", *(_moved(spec, before, before, names) for spec in listed))
    ]
    for step in found.path.steps:
        text = ", ".join(f"{name} {_text(old)} → {_text(new)}" for name, old, new in step.changes)
        lines.append((text, *(_moved(spec, step.values, before, names) for spec in listed)))
        if all(map(math.isfinite, step.values)):
            before = step.values
    table(heads, lines, right=heads[1:])


def _losses(found: "Simplification") -> str:
    """Return the measured losses, and the loss that was allowed, in one line."""
    from archgym.report.quantities import plain_number

    worse = [
        f"{name} {'under 0.001' if loss < 1e-3 else plain_number(loss, 3)} %"
        for name, loss in found.losses_percent.items()
        if loss > 0
    ]
    measured = f"worse by {', '.join(worse)}" if worse else "no metric of the objective is worse"
    return (
        f"Compared with the original design: {measured} "
        f"(allowed: {plain_number(found.error_percent, 6)} % for each)."
    )


def _shown(found: "Simplification") -> list["MetricSpec"]:
    """Return the metrics of the objective, then those of limits."""
    by_name = {spec.name: spec for spec in found.task.metrics}
    return [by_name[name] for name in found.task.objective.metrics]


def _moved(spec: "MetricSpec", after: "np.ndarray", before: "np.ndarray", names: list[str]) -> str:
    """Return a metric after a step, with its change in percent."""
    from archgym.report.quantities import change_text, quantity

    place = names.index(spec.name)
    new, old = float(after[place]), float(before[place])
    if not math.isfinite(new):
        return "infeasible"
    text = quantity(new, spec.unit)
    if old == new or not old:
        return text
    return f"{text} ({change_text(new / old - 1.0)})"


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
