"""A bar for a sweep: evaluations of all its runs, runs that are finished, time left."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from archgym.sweep.run import SweepState

__all__ = ["SweepProgress"]


class SweepProgress:
    """The bar; only in a terminal. The time left counts from this session's speed alone."""

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._bar: Any = None
        self._row: Any = None
        self._is_wanted = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, state: "SweepState") -> None:
        """Takes what `run_sweep` tells."""
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
