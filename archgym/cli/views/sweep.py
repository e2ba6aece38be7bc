"""Text rendering of the status of a sweep."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from archgym.cli.console.terminal import say, table

if TYPE_CHECKING:
    from archgym.sweep.status import RunStatus, SweepStatus

# chosen: further failures usually repeat the same reasons; --json has all.
_SHOWN_FAILURES = 10


def write_status(read: "SweepStatus") -> None:
    """Write the status of a sweep."""
    counts = read.counts()
    rest = ", ".join(f"{n} {name}" for name, n in counts.items() if n and name != "finished")
    say(
        f"{counts['finished']} of {len(read.runs)} runs finished{rest and f'; {rest}'}. "
        f"{read.evaluations:,} of {read.goal:,} evaluations."
    )
    say(f"Running by {read.driver}." if read.driver else "Not running.")
    if counts["finished"] < len(read.runs) and read.driver is None:
        say(f"To continue: archgym sweep resume {shlex.quote(str(read.folder))}")
    say()
    parts: dict[tuple[str, str], list[RunStatus]] = {}
    for run in read.runs:
        parts.setdefault((run.run.task.label, run.run.label), []).append(run)
    columns = ("task", "agent", *counts, "evaluations")
    rows = [(*part, *_counted(runs, tuple(counts))) for part, runs in parts.items()]
    table(columns, rows, right=columns[2:])
    for run in read.runs:
        if run.status == "running":
            by = "" if run.writer is None else f" by {run.writer}"
            say(f"{run.run.id}: running{by}, {run.evaluations:,} of {run.run.budget:,} evaluations")
    failed = [run for run in read.runs if run.status == "failed"]
    for run in failed[:_SHOWN_FAILURES]:
        say(f"{run.run.id} failed: {' '.join((run.failure or '').split())}")
    if failed[_SHOWN_FAILURES:]:
        say(f"{len(failed) - _SHOWN_FAILURES} more runs failed; use --json for all.")


def _counted(runs: "Sequence[RunStatus]", names: Sequence[str]) -> tuple[str, ...]:
    counts = [sum(run.status == name for run in runs) for name in names]
    return (
        *(str(count) if count else "–" for count in counts),
        f"{sum(run.evaluations for run in runs):,}",
    )
