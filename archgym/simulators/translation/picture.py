"""A picture of a memory trace: which pages it touches when, and how many at a time."""

from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.characterise import characterise
from archgym.simulators.translation.hardware import Hardware
from archgym.storage import atomic_file
from archgym.traces import AccessKind, MemoryTrace

__all__ = ["picture"]

# Okabe and Ito, *Color Universal Design*, 2008: told apart by every kind of eye.
_READ, _WRITE, _LINE = "#0072B2", "#D55E00", "#555555"
# chosen: more points than this only fill the ink.
_MAX_POINTS: Final = 20_000
_N_SLICES: Final = 120
_ENDINGS: Final = (".png", ".svg", ".pdf")
_DATA: Final = (AccessKind.LOAD, AccessKind.STORE, AccessKind.MODIFY)


def picture(trace: MemoryTrace, path: str | Path) -> None:
    """Draws pages over time, the working set over time, and how many pages take the accesses.

    Args:
      trace: What is drawn.
      path: Ends in .png, .svg or .pdf; the same trace gives the same file.

    Raises:
      InvalidArgumentError: The path has another ending.
      StorageError: It cannot be written.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    is_data = np.isin(trace.kind, _DATA)
    kinds = trace.kind[is_data]
    retired = np.cumsum(trace.instructions, dtype=np.int64)[is_data] / 1e6
    _, first, page = np.unique(
        trace.address[is_data] >> np.uint64(12), return_index=True, return_inverse=True
    )
    # Pages by the order of their first touch: holes of the address space would hide the rest.
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    pages = rank[page]
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    axes = figure.subplot_mosaic([["pages", "pages"], ["working set", "heat"]])
    _draw_pages(axes["pages"], retired, pages, kinds != AccessKind.LOAD)
    _draw_working_set(axes["working set"], retired, pages)
    _draw_heat(axes["heat"], pages)
    found = characterise(trace)
    figure.suptitle(
        f"{trace.name}: {found.data_accesses:,} accesses of data in {found.instructions:,} "
        f"instructions, {found.footprint_mib:.3g} MiB touched",
        fontsize="medium",
    )
    # No date and no random names inside, so that the file depends on the trace alone.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=120, metadata=metadata)


def _draw_pages(axes: Axes, retired: np.ndarray, pages: np.ndarray, is_write: np.ndarray) -> None:
    every = -(-len(pages) // _MAX_POINTS) or 1
    retired, pages, is_write = retired[::every], pages[::every], is_write[::every]
    for label, colour, chosen in (("read", _READ, ~is_write), ("written", _WRITE, is_write)):
        axes.plot(
            *(retired[chosen], pages[chosen]),
            linestyle="",
            marker=".",
            markersize=2,
            color=colour,
            label=label,
            rasterized=True,
        )
    axes.set(
        xlabel="instructions [million]",
        ylabel="page of 4 KiB, by first touch",
        title="Pages over time",
    )
    # Outside the axes: accesses may lie anywhere inside.
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, markerscale=5)


def _draw_working_set(axes: Axes, retired: np.ndarray, pages: np.ndarray) -> None:
    end = float(retired[-1]) if len(retired) else 1.0
    edges = np.linspace(0.0, end or 1.0, _N_SLICES + 1)
    places = np.searchsorted(retired, edges[1:-1])
    distinct = [len(np.unique(part)) for part in np.split(pages, places)]
    axes.stairs(distinct, edges, color=_READ, fill=True)
    entries = Hardware().l2_entries
    axes.axhline(entries, color=_LINE, linestyle="--", label=f"L2 TLB of {entries} entries")
    axes.legend(loc="upper right", fontsize="small")
    axes.set_ylim(bottom=0, top=1.2 * max(entries, *distinct))
    axes.set(
        xlabel="instructions [million]",
        ylabel=f"pages in {edges[1]:.2g} million instructions",
        title="Working set",
    )


def _draw_heat(axes: Axes, pages: np.ndarray) -> None:
    counts = np.sort(np.bincount(pages))[::-1] if len(pages) else np.ones(1)
    share = 100.0 * np.cumsum(counts) / counts.sum()
    axes.plot(np.arange(1, len(share) + 1), share, color=_READ)
    axes.set_xscale("log")
    axes.set_ylim(0.0, 105.0)
    axes.set(xlabel="hottest pages", ylabel="accesses that they take [%]", title="Heat")
