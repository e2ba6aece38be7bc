"""A picture of a memory trace."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from archgym.errors import InvalidArgumentError
from archgym.files.replacement import figure_metadata
from archgym.files.storage import atomic_file
from archgym.simulators.dram.formats.trace import Trace
from archgym.simulators.dram.kernel.bursts import Bursts, split
from archgym.simulators.dram.kernel.devices import Device
from archgym.simulators.dram.workloads.characteristics import characterise

# Okabe and Ito, *Color Universal Design*, 2008: told apart by every kind of eye.
_READ, _WRITE, _LINE = "#0072B2", "#D55E00", "#555555"
# chosen: more points than this only fill the ink.
_MAX_POINTS = 20_000
_N_SLICES = 120
_ENDINGS = (".png", ".svg", ".pdf")


def picture(trace: Trace, device: Device, path: str | Path, wraps: bool = False) -> None:
    """Draw addresses over time, distances of successors, and bandwidth asked for over time.

    Args:
      trace: Trace to draw.
      device: Device whose bursts and peak bandwidth are shown.
      path: Ends in .png, .svg or .pdf; the same trace gives the same file.
      wraps: As in `bursts.split`.

    Raises:
      InvalidArgumentError: The path has another ending.
      StorageError: It cannot be written.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    bursts = split(trace, device, wraps)
    figure = Figure(figsize=(9.0, 7.0), layout="constrained")
    axes = figure.subplot_mosaic([["addresses", "addresses"], ["strides", "demand"]])
    _draw_addresses(axes["addresses"], bursts)
    _draw_strides(axes["strides"], bursts, device)
    _draw_demand(axes["demand"], bursts, device)
    found = characterise(trace, device)
    figure.suptitle(
        f"{trace.name} on {device.name}: {found.requests:,} requests, "
        f"{found.read_share_percent:.0f} % reads, {found.footprint_mib:.3g} MiB touched, "
        f"{found.row_locality_percent:.0f} % stay in their row, "
        f"{found.demand_gb_per_s:.3g} GB/s asked for",
        fontsize="medium",
    )
    # No date and no random names inside, so that the file depends on the trace alone.
    metadata = figure_metadata(path)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=120, metadata=metadata)


def _draw_addresses(axes: Axes, bursts: Bursts) -> None:
    every = -(-len(bursts) // _MAX_POINTS)
    time_us = bursts.due_ps[::every] / 1e6
    address_mib = bursts.addresses[::every] / 2**20
    is_write = bursts.is_write[::every]
    for label, colour, chosen in (("read", _READ, ~is_write), ("write", _WRITE, is_write)):
        if chosen.any():
            axes.plot(
                time_us[chosen],
                address_mib[chosen],
                linestyle="",
                marker=".",
                markersize=2,
                color=colour,
                label=label,
                rasterized=True,
            )
    title = "Requests" if every == 1 else f"Requests, one of {every} bursts"
    axes.set(xlabel="due [µs]", ylabel="address [MiB]", title=title)
    # Outside the axes: requests may lie anywhere inside.
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, markerscale=5)


def _draw_strides(axes: Axes, bursts: Bursts, device: Device) -> None:
    steps = np.diff(bursts.addresses) / device.burst_bytes
    # Bins by power of two, each way, with one for the same burst again.
    powers = np.sign(steps) * (1 + np.floor(np.log2(np.maximum(np.abs(steps), 1))))
    limit = int(max(2, np.abs(powers).max(initial=0)))
    counts = np.bincount((powers + limit).astype(np.int64), minlength=2 * limit + 1)
    share = 100.0 * counts / max(1, len(steps))
    axes.bar(np.arange(-limit, limit + 1), share, width=0.9, color=_READ)
    ticks = np.arange(-limit, limit + 1, max(1, limit // 4))
    axes.set_xticks(ticks, [_stride_label(int(tick), device.burst_bytes) for tick in ticks])
    axes.tick_params("x", rotation=45)
    axes.set(xlabel="distance to the successor, from", ylabel="share [%]", title="Strides")


def _stride_label(power: int, burst_bytes: int) -> str:
    if power == 0:
        return "0"
    size = burst_bytes * 2.0 ** (abs(power) - 1)
    step = min(3, int(np.log2(size)) // 10)
    unit = ("B", "KiB", "MiB", "GiB")[step]
    return f"{'+' if power > 0 else '−'}{size / 1024**step:g} {unit}"


def _draw_demand(axes: Axes, bursts: Bursts, device: Device) -> None:
    end_ps = int(bursts.due_ps[-1]) + bursts.period_ps
    edges = np.linspace(0, end_ps, _N_SLICES + 1)
    counts, _ = np.histogram(bursts.due_ps, edges)
    demand = counts * device.burst_bytes / (edges[1] - edges[0]) * 1e3
    axes.stairs(demand, edges / 1e6, color=_READ, fill=True)
    axes.axhline(device.peak_bandwidth_gbps, color=_LINE, linestyle="--", label="device's peak")
    axes.set_ylim(top=1.25 * max(device.peak_bandwidth_gbps, float(demand.max())))
    axes.legend(loc="upper right", fontsize="small")
    axes.set(xlabel="due [µs]", ylabel="asked for [GB/s]", title="Intensity")
