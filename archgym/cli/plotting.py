"""Best-so-far curves as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archgym.cli.curve import best_so_far, span
from archgym.errors import InvalidArgumentError
from archgym.storage import atomic_file

if TYPE_CHECKING:
    from archgym.studylog import StudyLog

__all__ = ["check_plot", "plot_studies"]

_FORMATS = ("svg", "png", "pdf")


def check_plot(path: Path) -> None:
    """Refuses a file that no picture can be written to, before anything is done.

    Raises:
      InvalidArgumentError: Its name ends in something else.
    """
    if path.suffix.removeprefix(".") not in _FORMATS:
        raise InvalidArgumentError(f"`--plot` must end in .svg, .png or .pdf; got {str(path)!r}.")


def plot_studies(logs: Sequence["StudyLog"], path: Path) -> None:
    """Draws one curve a study over evaluations, with the default design's value.

    Raises:
      StorageError: The file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from archgym.cli.showing import who

    # A fixed salt and no date: the same studies give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "archgym", "font.size": 9}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot()
        label = ""
        ends: list[float] = []
        for log in logs:
            curve = best_so_far(log)
            label = curve.label
            ends += span(curve.values)
            steps = range(1, len(curve.values) + 1)
            axes.step(steps, curve.values, where="post", label=who(log), linewidth=1.4)
        default = best_so_far(logs[0]).default
        if default is not None:
            axes.axhline(default, color="0.5", linestyle="--", linewidth=1, label="default design")
            ends.append(default)
        margin = 0.06 * (max(ends) - min(ends)) or 1.0
        axes.set_ylim(min(ends) - margin, max(ends) + margin)
        axes.set_xlabel("evaluations")
        axes.set_ylabel(label, fontsize=8)
        axes.set_title(logs[0].task_id, fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        kind = path.suffix.removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else None
        with atomic_file(path) as scratch:
            figure.savefig(scratch, format=kind, dpi=130, metadata=metadata)
