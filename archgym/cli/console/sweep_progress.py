"""Progress of a sweep: a bar while it runs, and tables of its status."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import say, table
from archgym.runtime.closing import Closing

if TYPE_CHECKING:
    from archgym.sweep.driver import SweepState
    from archgym.sweep.status import RunStatus, SweepStatus

# chosen: further failures usually repeat the same reasons; --json has all.
_SHOWN_FAILURES = 10


class SweepProgress(Closing):
    """Progress bar of a sweep; the remaining time is based on the speed of this session."""

    def __init__(self) -> None:
        """Start without a bar."""
        self._bar: Any = None
        self._row: Any = None
        self._is_wanted = sys.stderr.isatty()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, state: "SweepState") -> None:
        """Update the bar from `run_sweep`."""
        if not self._is_wanted:
            return
        if self._bar is None:
            self._open(state)
        failed = f", {state.failed} failed" if state.failed else ""
        self._bar.update(
            self._row,
            completed=max(0, state.evaluations - state.known),
            total=max(1, state.goal - state.known),
            runs=f"{state.finished} of {state.runs} runs{failed}",
        )

    def _open(self, state: "SweepState") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.fields[runs]}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} evaluations"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._row = self._bar.add_task("", total=max(1, state.goal - state.known), runs="")
        self._bar.start()


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
