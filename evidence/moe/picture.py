"""Picture of measured against predicted serving."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.files.storage import atomic_file, figure_metadata
from evidence.moe.fitting import problem
from evidence.moe.measured import read_serving
from evidence.moe.row import Progress
from evidence.moe.serving import configuration_folds, goals_of, held_out

_ENDINGS: Final = (".png", ".svg", ".pdf")
# Okabe and Ito, *Color Universal Design*, 2008: told apart by every kind of eye.
_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")
_UNITS: Final = {"TPOT": "ms", "output/s": "tokens/s and GPU", "TTFT": "ms"}


def draw_accuracy(reference: Path, path: str | Path, progress: Progress) -> int:
    """Draw each measured row over its prediction by constants fitted without its configuration.

    Args:
      reference: Folder of the reference, or one that holds it as `moe`.
      path: File that ends in .png, .svg or .pdf.
      progress: Called with the next step.

    Returns:
      Rows that are drawn.

    Raises:
      InvalidArgumentError: The path has another ending.
      FileFormatError: The reference is not what it should be.
      StorageError: A file cannot be read or written.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    folder = reference / "moe" if (reference / "moe").is_dir() else reference
    rows, _ = read_serving(folder)
    progress(f"Fitting {len(rows)} rows in thirds")
    goals = goals_of(rows)
    found = held_out(problem(rows), configuration_folds(rows))
    engines = np.array([row.options["engine"] for row in rows])
    figure = Figure(figsize=(10.0, 3.6), layout="constrained")
    panels = figure.subplots(1, len(goals))
    for axes, (metric, measured) in zip(panels, goals.items(), strict=True):
        for colour, engine in zip(_COLOURS, sorted(set(engines.tolist())), strict=False):
            at = engines == engine
            axes.plot(
                measured[at], found[metric][at], ".", color=colour, markersize=3, alpha=0.6,
                label=engine,
            )  # fmt: skip
        known = measured[~np.isnan(measured)]
        ends = np.array([known.min(), known.max()])
        axes.plot(ends, ends, color="0.2", linewidth=1)
        for factor in (0.75, 1.25):
            axes.plot(ends, factor * ends, color="0.6", linewidth=0.7, linestyle=":")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"measured {metric} [{_UNITS[metric]}]")
        axes.set_ylabel(f"predicted {metric}")
        axes.grid(alpha=0.3)
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(
        f"{len(rows):,} rows, each predicted without its configuration; dotted lines: 25 %",
        fontsize="medium",
    )
    metadata = figure_metadata(path)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=120, metadata=metadata)
    return len(rows)
