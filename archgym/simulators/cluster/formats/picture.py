"""Pictures: what each stage does over time, a network, and loads of a fabric's uplinks."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.files.replacement import figure_metadata
from archgym.files.storage import atomic_file
from archgym.simulators.cluster.formats.clusters import Dimension, network_dollars
from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.fabric import Fabric, ecmp_loads, flows_of, loads
from archgym.simulators.cluster.machine import Built, spans

_ENDINGS: Final = (".svg", ".png", ".pdf")
# Okabe and Ito, *Color Universal Design*, 2008.
_COLOURS: Final = ("#D55E00", "#CC79A7", "#009E73", "#56B4E9")
_COMPUTE: Final = "#555555"
_CAUSES: Final = ("tensor", "expert", "data", "pipeline")
# chosen: more bars than this are only ink.
_MAX_BARS: Final = 6000
_MAX_SHOWN: Final = 16


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    # No date and no random names inside, so that the file depends on the design alone.
    metadata = figure_metadata(path)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], metadata=metadata, dpi=120)


def draw_timeline(built: Built, path: str | Path) -> None:
    """Draw computing and communication of one NPU for each stage.

    Args:
      built: A design that can run.
      path: Ends in .svg, .png or .pdf.
    """
    rows = spans(built)
    all_stages = sorted({npu for npu, *_ in rows})
    stages = all_stages[:_MAX_SHOWN]
    figure = Figure(figsize=(10.0, 1.4 + 0.7 * len(stages)), layout="constrained")
    axes = figure.subplots()
    place = {npu: at for at, npu in enumerate(stages)}
    of_stages = [row for row in rows if row[0] in place]
    shown = of_stages[:_MAX_BARS]
    for npu, kind, cause, begin, end in shown:
        is_compute = kind == state.COMPUTE
        if kind == state.RECEIVE:
            continue
        axes.broken_barh(
            [(begin / 1e6, (end - begin) / 1e6)],
            (place[npu] - (0.4 if is_compute else 0.0), 0.4),
            facecolors=_COMPUTE if is_compute else _COLOURS[cause],
        )
    axes.set_yticks(range(len(stages)), [f"stage {at}" for at in range(len(stages))])
    axes.invert_yaxis()
    axes.set_xlabel("time [ms]")
    names = ("compute", *_CAUSES)
    for name, colour in zip(names, (_COMPUTE, *_COLOURS), strict=True):
        axes.plot([], [], color=colour, linewidth=6, label=name)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=5, frameon=False)
    left_out = []
    if len(stages) < len(all_stages):
        left_out.append(f"the first {len(stages)} of {len(all_stages)} stages")
    if len(shown) < len(of_stages):
        left_out.append(f"the first {len(shown):,} of {len(of_stages):,} spans")
    if left_out:
        axes.set_title(", ".join(left_out), fontsize="small")
    _save(figure, path)


def n_drawn(dimension: Dimension) -> int:
    """Return how many NPUs of a dimension a picture of the network shows."""
    return min(dimension.npus, _MAX_SHOWN)


def draw_topology(dimensions: Sequence[Dimension], path: str | Path) -> None:
    """Draw one group of each dimension of a network, with bandwidth, latency and price.

    Args:
      dimensions: Dimensions of the network.
      path: Ends in .svg, .png or .pdf.
    """
    figure = Figure(figsize=(3.0 * len(dimensions), 3.6), layout="constrained")
    grid = np.atleast_1d(figure.subplots(1, len(dimensions)))
    for d, (dimension, axes) in enumerate(zip(dimensions, grid, strict=True)):
        _draw_dimension(axes, d, dimension)
    total = math.prod(d.npus for d in dimensions)
    figure.suptitle(f"{total:,} NPUs, network of {network_dollars(dimensions):,.0f} dollars")
    _save(figure, path)


def _draw_dimension(axes: Axes, d: int, dimension: Dimension) -> None:
    n = n_drawn(dimension)
    angle = 2 * np.pi * np.arange(n) / n
    x, y = np.sin(angle), np.cos(angle)
    links: list[tuple[int, int]] = []
    if dimension.topology == "Ring":
        links = [(i, (i + 1) % n) for i in range(n)]
    elif dimension.topology == "FullyConnected":
        links = [(i, j) for i in range(n) for j in range(i)]
    else:
        # The switch is in the middle.
        x, y = np.append(x, 0.0), np.append(y, 0.0)
        links = [(i, n) for i in range(n)]
    for i, j in links:
        axes.plot([x[i], x[j]], [y[i], y[j]], color=_COLOURS[3], linewidth=1.0, zorder=1)
    if dimension.topology == "Switch":
        axes.scatter([0], [0], marker="s", s=160, color=_COLOURS[0], zorder=2)
    axes.scatter(x[:n], y[:n], s=60, color=_COMPUTE, zorder=2)
    more = "" if n == dimension.npus else f" ({n} drawn)"
    axes.set_title(
        f"{d}: {dimension.topology}, {dimension.npus} NPUs{more}\n"
        f"{dimension.gb_per_s:.4g} GB/s, {dimension.latency_ns:g} ns, {dimension.tier}",
        fontsize="small",
    )
    axes.set_aspect("equal")
    axes.axis("off")


def draw_fabric(fabrics: Sequence[Fabric], pattern: str, path: str | Path) -> None:
    """Draw the largest load of a link for each way of choosing paths, over spraying's.

    Args:
      fabrics: Fabrics.
      pattern: Pattern of flows, see `fabric.flows_of`.
      path: Ends in .svg, .png or .pdf.
    """
    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.2
    names = [f"{f.leaves}x{f.hosts}, {f.spines}" for f in fabrics]
    for at, paths in enumerate(("ecmp", "round-robin", "split", "spray")):
        heights = []
        for fabric in fabrics:
            flows = flows_of(fabric, pattern)
            least = float(max(loads(fabric, flows, "spray")))
            if not least:
                raise InvalidArgumentError(
                    f"A picture of loads must have a flow between leaves; those of "
                    f"{pattern[:60]!r} stay in their leaf, of {fabric.hosts} NPUs."
                )
            if paths == "ecmp":
                heights.append(float(ecmp_loads(fabric, flows, 200).mean()) / least)
            else:
                heights.append(float(max(loads(fabric, flows, paths))) / least)
        place = np.arange(len(fabrics)) + (at - 1.5) * width
        axes.bar(place, heights, width, label=paths, color=(_COMPUTE, *_COLOURS)[at])
    axes.set_xticks(np.arange(len(fabrics)), names)
    axes.set_xlabel("leaves x hosts, spines")
    axes.set_ylabel("largest load / spraying's")
    axes.set_title(pattern, fontsize="small")
    axes.legend(frameon=False, ncols=4, fontsize="small")
    _save(figure, path)
