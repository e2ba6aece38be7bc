"""One workload over all device families at equal capacity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.evaluation.metrics import Metrics
from archgym.physics.thermal import ThermalWindow
from archgym.simulators.dram.controllers.ramulator import RamulatorController
from archgym.simulators.dram.ramulator.kernel.run import Configuration, bursts_of, run
from archgym.simulators.dram.workloads.trace import Trace


@final
@dataclass(frozen=True)
class Candidate:
    """A device family with an organisation, speed bin, ranks and channels of 8 GiB in all."""

    family: str
    organisation: str
    speed_bin: str
    ranks: int
    channels: int


CANDIDATES: Final = (
    Candidate("ddr4", "DDR4_8Gb_x8", "DDR4_3200AA", 1, 1),
    Candidate("ddr5", "DDR5_8Gb_x8", "DDR5_6400AN", 1, 2),
    Candidate("lpddr5", "LPDDR5_8Gb_x16", "LPDDR5X_8533", 1, 8),
    Candidate("gddr6", "GDDR6_16Gb_x16", "GDDR6_14000_1250mV_double", 1, 8),
    Candidate("hbm3", "HBM3_16Gb_8hi", "HBM3_6400Mbps", 1, 8),
)
"""Memories of 8 GiB each."""


def _configuration(candidate: Candidate) -> Configuration:
    return Configuration(
        organisation=candidate.organisation,
        timing=candidate.speed_bin,
        ranks=candidate.ranks,
        channels=candidate.channels,
        mapping="MOP4CLXOR",
        scheduler="FRFCFS-RowHit",
        width=8,
    )


def compare_memories(
    trace: Trace, candidates: Sequence[Candidate] = CANDIDATES
) -> Iterator[tuple[Candidate, Metrics]]:
    """Yield the metrics of one workload on each memory, all with the same controller settings."""
    for candidate in candidates:
        model = RamulatorController(candidate.family, ThermalWindow())
        bursts = bursts_of(trace, model.burst_bytes)
        found = model.results(_configuration(candidate), bursts)
        assert found is not None, "the memory serves the trace"
        yield candidate, Metrics(found)


def latency_curve(
    candidate: Candidate, trace: Trace, gaps_ps: Sequence[int]
) -> list[tuple[float, float]]:
    """Return (bandwidth [GB/s], mean read latency [ns]) of a trace at several request rates.

    Args:
      candidate: The memory.
      trace: Its addresses and directions; its times are not used.
      gaps_ps: Times between two bursts [ps].
    """
    model = RamulatorController(candidate.family, ThermalWindow())
    bursts = bursts_of(trace, model.burst_bytes)
    points = []
    for gap in gaps_ps:
        times = gap * np.arange(len(bursts.requests.addresses), dtype=np.int64)
        paced = replace(bursts.requests, time_ps=times, waits=None)
        outcome = run(model.made, _configuration(candidate), paced)
        reads = ~paced.is_write
        tick_ns = outcome.tick_ps / 1000.0
        n_bytes = len(paced.addresses) * model.burst_bytes
        latency = float((outcome.depart - outcome.due)[reads].mean()) * tick_ns
        points.append((n_bytes / (outcome.ticks * tick_ns), latency))
    return points


def picture_curves(trace: Trace, path: Path, candidates: Sequence[Candidate] = CANDIDATES) -> None:
    """Draw latency over throughput of all memories; `path` ends in .png, .svg or .pdf."""
    # chosen: from nearly idle to overload of every family.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for candidate in candidates:
        top = RamulatorController(candidate.family, ThermalWindow()).burst_bytes
        gaps = [max(1, round(1000 * top / rate)) for rate in (2, 5, 10, 20, 40, 80, 160, 320, 640)]
        points = latency_curve(candidate, trace, gaps)
        label = f"{candidate.family} x {candidate.channels}"
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("bandwidth [GB/s]")
    axes.set_ylabel("mean read latency [ns]")
    axes.set_title(f"{trace.name}: latency over throughput")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path)
