"""Studies of one task side by side, at the number of evaluations that all of them have."""

from typing import TYPE_CHECKING

from archgym.cli.console.terminal import heading, number, say, table
from archgym.cli.views.study import no_best_text, write_best
from archgym.report.comparison import Comparison, Standing

if TYPE_CHECKING:
    pass

__all__ = ["write_comparison"]


def write_comparison(comparison: Comparison) -> None:
    """Write the table, the overall best design, and what it beat."""
    standings = comparison.standings
    first = standings[0]
    say()
    heading(f"{first.log.task_id}: {len(standings)} studies after {comparison.budget} evaluations")
    shown = [f"{s.name} [{s.unit}]" if s.unit != "1" else s.name for s in comparison.specs]
    has_front = any(s.hypervolume is not None for s in standings)
    volume = ("hypervolume",) if has_front else ()
    columns = ("study", "by", *shown, "reward", *volume, "found at", "asks", "infeasible", "failed")
    rows = []
    for standing in standings:
        numbers = standing.log.counts()
        rows.append(
            (
                str(standing.log.folder),
                standing.log.author,
                *([number(v) for v in standing.values] or ["–"] * len(shown)),
                "–" if standing.best is None else f"{standing.reward:.4f}",
                *((_volume_text(standing.hypervolume),) if has_front else ()),
                "–" if standing.reached_at is None else str(standing.reached_at),
                str(numbers["asks"]),
                str(numbers["infeasible"]),
                str(numbers["failed"]),
            )
        )
    table(columns, rows, right=columns[2:])
    for standing in standings:
        report = standing.log.damage_report()
        if report is not None:
            say(report)
    if first.best is None:
        say(no_best_text(first.log))
        return
    write_best(first.log, first.best)
    say(_beaten(comparison))
    say()


def _volume_text(volume: float | None) -> str:
    return "–" if volume is None else f"{volume:.4f}"


def _beaten(comparison: Comparison) -> str:
    first, *others = comparison.standings
    parts = [_margin(comparison, first, other) for other in others]
    return f"{first.log.author} found it; it beat {'; '.join(parts)}."


def _margin(comparison: Comparison, first: Standing, other: Standing) -> str:
    if other.best is None:
        return f"{other.log.author}, which found none"
    if other.reward == first.reward:
        return f"{other.log.author} by nothing (as good)"
    if len(comparison.specs) == 1 and other.values[0]:
        change = abs(first.values[0] / other.values[0] - 1) * 100
        return f"{other.log.author} by {change:.3g} % in {comparison.specs[0].name}"
    return f"{other.log.author} by {first.reward - other.reward:.4f} in reward"
