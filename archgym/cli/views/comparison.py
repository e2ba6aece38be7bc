"""Text rendering of a comparison of studies."""

from archgym.cli.console.terminal import heading, number, say, table
from archgym.cli.views.metrics import with_unit
from archgym.cli.views.study import no_best_text, write_best
from archgym.report.comparison import Comparison, RankedStudy
from archgym.report.study_summary import StudySummary

__all__ = ["write_comparison"]


def write_comparison(comparison: Comparison) -> None:
    """Write the table, the overall best design, and its margin over the other studies."""
    studies = comparison.studies
    first = studies[0]
    say()
    heading(f"{first.log.task_id}: {len(studies)} studies after {comparison.budget} evaluations")
    shown = [with_unit(spec) for spec in comparison.specs]
    has_front = any(s.hypervolume is not None for s in studies)
    volume = ("hypervolume",) if has_front else ()
    columns = (
        "study",
        "agent",
        *shown,
        "reward",
        *volume,
        "found at",
        "asks",
        "infeasible",
        "failed",
    )
    rows = []
    for study in studies:
        numbers = study.log.counts()
        rows.append(
            (
                str(study.log.folder),
                study.log.author,
                *([number(v) for v in study.values] or ["–"] * len(shown)),
                "–" if study.best is None else f"{study.reward:.4f}",
                *((_volume_text(study.hypervolume),) if has_front else ()),
                "–" if study.reached_at is None else str(study.reached_at),
                str(numbers["asks"]),
                str(numbers["infeasible"]),
                str(numbers["failed"]),
            )
        )
    table(columns, rows, right=columns[2:])
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
