"""Text rendering of a comparison of studies."""

from collections.abc import Sequence

from archgym.cli.console.terminal import heading, number, prose, say, table
from archgym.cli.views.metrics import with_unit
from archgym.cli.views.study import counts_text, limits_text, no_best_text, write_best
from archgym.report.comparison import Comparison, RankedStudy, TopDesign
from archgym.report.quantities import counted
from archgym.report.study_summary import StudySummary


def write_comparison(comparison: Comparison) -> None:
    """Write the table, the overall best design, and its margin over the other studies."""
    studies = comparison.studies
    first = studies[0]
    say()
    budget = counted(comparison.budget, "evaluation")
    heading(f"{first.log.task_id}: {len(studies)} studies after {budget}")
    shown = [with_unit(spec) for spec in comparison.specs]
    has_front = any(s.hypervolume is not None for s in studies)
    volume = ("hypervolume",) if has_front else ()
    columns = ("study", "agent", *shown, "reward", *volume, "found at")
    rows = [
        (
            str(study.log.folder),
            study.log.author,
            *([number(v) for v in study.values] or ["–"] * len(shown)),
            "–" if study.best is None else f"{study.reward:.4f}",
            *((_volume_text(study.hypervolume),) if has_front else ()),
            "–" if study.reached_at is None else str(study.reached_at),
        )
        for study in studies
    ]
    table(columns, rows, right=columns[2:])
    for study in studies:
        if any(study.log.counts()[name] for name in ("repeats", "infeasible", "failed")):
            say(f"{study.log.folder}: {counts_text(study.log)}")
    for study in studies:
        report = study.log.damage_report()
        if report is not None:
            say(report)
    if first.best is None:
        say(no_best_text(first.log))
        return
    write_best(StudySummary.read(first.log), first.best)
    say(_margins(comparison))
    say()


def write_top(designs: Sequence[TopDesign]) -> None:
    """Write the best designs as numbered rows, then their changes to the default design."""
    from archgym.studies.front import sought, study_objective

    log = designs[0].log
    heading(f"Best {len(designs)} designs")
    specs = sought(log, study_objective(log))
    columns = ("", *(with_unit(spec) for spec in specs), "reward", "found at")
    rows = [
        (
            str(place),
            *(number(each.outcome.metrics[spec.name]) for spec in specs),
            f"{each.outcome.reward:.4f}",
            str(each.evaluation),
        )
        for place, each in enumerate(designs, start=1)
    ]
    table(columns, rows, right=columns)
    default = log.space.design_at(log.space.default_indices)
    is_several = len({each.log.folder for each in designs}) > 1
    for place, each in enumerate(designs, start=1):
        design = each.outcome.design
        changed = [f"{name}={design[name]}" for name in design if design[name] != default[name]]
        where = f"{each.log.folder}: " if is_several else ""
        limits = f" {limits_text(log.missed(each.outcome))}." if log.limits else ""
        prose(f"{place:>3}  {where}{', '.join(changed) or 'default'}.{limits}", indent="     ")
    say()


def _volume_text(volume: float | None) -> str:
    return "–" if volume is None else f"{volume:.4f}"


def _margins(comparison: Comparison) -> str:
    first, *others = comparison.studies
    parts = [_margin(comparison, first, other) for other in others]
    return f"Best study: {first.log.author}; it {', '.join(parts)}."


def _margin(comparison: Comparison, first: RankedStudy, other: RankedStudy) -> str:
    if other.best is None:
        return f"beat {other.log.author}, which found no feasible design"
    if other.reward == first.reward:
        return f"tied with {other.log.author}"
    if len(comparison.specs) == 1 and other.values[0]:
        change = abs(first.values[0] / other.values[0] - 1) * 100
        return f"beat {other.log.author} by {change:.3g} % in {comparison.specs[0].name}"
    return f"beat {other.log.author} by {first.reward - other.reward:.4f} in reward"
