"""Progress bars and compilation notices on standard error."""

import sys
import time
from typing import TYPE_CHECKING, Any

from archgym.cli.console.terminal import notice
from archgym.runtime.closing import Closing

if TYPE_CHECKING:
    from archgym.evaluation.trials import Trials
    from archgym.studies.study import Study
    from archgym.sweep.driver import SweepState

# chosen: shorter work needs no bar.
_SILENT_S = 2.0


def announce_compilation() -> None:
    """Write a notice before each compilation of a kernel from now on."""
    from archgym.runtime.kernels import on_compile

    on_compile(_say_compiling)


def _say_compiling(kernel: str, seconds: float) -> None:
    name = kernel.removeprefix("archgym.simulators.")
    notice(f"Compiling {name} (about {seconds:.0f} s, once) …")


class CountBar(Closing):
    """Progress bar with rate and remaining time; only in a terminal, and not for short work."""

    def __init__(self, what: str) -> None:
        """Start to count.

        Args:
          what: Name of the counted items, in the plural.
        """
        self._what = what
        self._started = time.monotonic()
        self._bar: Any = None
        self._row: Any = None
        self._is_wanted = sys.stderr.isatty()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, done: float, total: float | None, note: str = "") -> None:
        """Update the bar.

        Args:
          done: Number of completed items; those before the first call do not affect the rate.
          total: Number of items at the end; None if it is not known.
          note: Text to show next to the bar.
        """
        if not self._is_wanted:
            return
        if self._bar is None:
            if time.monotonic() - self._started < _SILENT_S:
                return
            self._open(done, total)
        assert self._bar is not None
        self._bar.update(self._row, completed=done, note=note)

    def _open(self, done: float, total: float | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        class Rate(TextColumn):
            def render(self, task: Any) -> Any:
                speed = task.finished_speed or task.speed
                task.fields["rate"] = "" if speed is None else f"{speed:,.1f}/s"
                return super().render(task)

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Rate("{task.fields[rate]}"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._row = self._bar.add_task(self._what, total=total, completed=done, note="", rate="")
        self._bar.start()


class StudyProgress(CountBar):
    """Progress bar of a study's evaluations."""

    def __init__(self, budget: int, known: int = 0) -> None:
        """Start to count.

        Args:
          budget: Number of evaluations at the end.
          known: Number of evaluations to replay, which is quick.
        """
        super().__init__("evaluations")
        self._budget = budget
        self._known = known
        self._best = ""

    def on_trials(self, study: "Study", trials: "Trials") -> None:
        """Keep the best design's metric, if the objective has one."""
        from archgym.report.quantities import quantity

        terms = study.task.objective.terms
        row = int(trials.reward.argmax())
        is_best = bool(trials.feasible[row]) and trials.reward[row] == study.best_reward
        if len(terms) == 1 and is_best:
            place = [spec.name for spec in trials.specs].index(terms[0].metric)
            self._best = f"best {quantity(trials.values[row, place], trials.specs[place].unit)}"

    def __call__(self, evaluations: int, budget: int, best: float | None) -> None:
        """Update the bar from `Study.run`."""
        if evaluations >= self._known:
            note = "" if best is None else self._best or f"best reward {best:.4f}"
            self.show(evaluations, self._budget, note)


class TableBar(CountBar):
    """Progress bar of a table's simulations."""

    def __init__(self) -> None:
        """Start to count."""
        super().__init__("simulations")

    def __call__(self, done: int, total: int, known: int) -> None:
        """Update the bar from `build_table`."""
        self.show(done, total, f"{known:,} known" if known else "")
        if done == total:
            # The next bar takes its place.
            self.close()


class StageBar(CountBar):
    """Progress bar of work in several consecutive stages."""

    def __init__(self) -> None:
        """Start to count."""
        super().__init__("")
        self._done = 0.0

    def __call__(self, what: str, done: float, total: float) -> None:
        """Update the bar from a `StageProgress` callback."""
        if what != self._what or done < self._done:
            self.close()
        self._what, self._done = what, done
        self.show(done, total)


class SweepProgress(CountBar):
    """Progress bar of a sweep; the remaining time is based on the speed of this session."""

    def __init__(self) -> None:
        """Start to count."""
        super().__init__("evaluations")

    def __call__(self, state: "SweepState") -> None:
        """Update the bar from `run_sweep`."""
        failed = f", {state.failed} failed" if state.failed else ""
        note = f"{state.finished} of {state.runs} runs{failed}"
        self.show(state.evaluations, max(1, state.goal), note)
