"""Picture of a routing trace."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.files.storage import atomic_file, figure_metadata
from evidence.moe.analysis import Analysis

_ENDINGS: Final = (".png", ".svg", ".pdf")
# Okabe and Ito, *Color Universal Design*, 2008: told apart by every kind of eye.
_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")


def picture(analysis: Analysis, path: str | Path) -> None:
    """Draw hit rates over room, segment routing, load over rank, and reuse over layers.

    Args:
      analysis: Analysis to draw.
      path: Ends in .png, .svg or .pdf; the same analysis gives the same file.

    Raises:
      InvalidArgumentError: The path has another ending.
      StorageError: It cannot be written.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    axes = figure.subplot_mosaic([["hits", "segments"], ["load", "reuse"]])
    _draw_hits(axes["hits"], analysis)
    _draw_segments(axes["segments"], analysis)
    _draw_load(axes["load"], analysis)
    _draw_reuse(axes["reuse"], analysis)
    for panel in axes.values():
        panel.grid(alpha=0.3)
    figure.suptitle(
        f"{analysis.name}: {analysis.n_tokens:,} tokens, {len(analysis.layers)} layers, "
        f"{analysis.load.shape[1]} experts",
        fontsize="medium",
    )
    # No date and no random names inside, so that the file depends on the analysis alone.
    metadata = figure_metadata(path)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=120, metadata=metadata)


def _draw_hits(axes: Axes, analysis: Analysis) -> None:
    for (name, curve), colour in zip(analysis.curves.items(), _COLOURS, strict=True):
        percent = 100.0 * curve
        axes.plot(analysis.sizes, percent.mean(axis=0), ".-", color=colour, label=name)
        axes.fill_between(
            analysis.sizes, percent.min(axis=0), percent.max(axis=0), color=colour, alpha=0.1, lw=0
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(analysis.sizes[::2], [str(size) for size in analysis.sizes[::2]])
    axes.set_xlabel("room of a layer's cache [experts]")
    axes.set_ylabel("hit rate [%], mean and span of layers")
    axes.legend(frameon=False, fontsize="small")


def _draw_segments(axes: Axes, analysis: Analysis) -> None:
    if not analysis.windows:
        axes.text(0.5, 0.5, "documents are too short", ha="center", transform=axes.transAxes)
        return
    places = np.arange(len(analysis.windows))
    axes.boxplot(100.0 * analysis.srp, positions=places, widths=0.5)
    for place, size in zip(places, analysis.srp_size.mean(axis=0), strict=True):
        axes.annotate(f"{size:.2f}", (float(place), 2.0), ha="center", fontsize="small")
    axes.set_ylim(0.0, 100.0)
    axes.set_xticks(places, [str(window) for window in analysis.windows])
    axes.set_xlabel("tokens of a segment (below: its experts / a token's)")
    axes.set_ylabel("segment routing best performance [%]")


def _draw_load(axes: Axes, analysis: Analysis) -> None:
    ranks = np.arange(1, analysis.load.shape[1] + 1)
    relative = analysis.load * analysis.load.shape[1]
    for layer, load in zip(analysis.layers, relative, strict=True):
        axes.plot(ranks, load, color="0.6", linewidth=0.7, label=None if layer else "a layer")
    axes.plot(ranks, relative.mean(axis=0), color=_COLOURS[0], label="mean of layers")
    axes.axhline(1.0, color="0.2", linestyle=":", linewidth=1, label="even")
    axes.set_xlabel("rank of an expert")
    axes.set_ylabel("load over the mean")
    axes.legend(frameon=False, fontsize="small")


def _draw_reuse(axes: Axes, analysis: Analysis) -> None:
    axes.plot(analysis.layers, 100.0 * analysis.reuse, ".-", color=_COLOURS[3])
    axes.set_xlabel("layer")
    axes.set_ylabel("experts that the token before used too [%]")
    axes.set_ylim(0.0, 100.0)
