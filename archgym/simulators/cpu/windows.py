"""Power of a core over windows of its run, and temperatures that follow."""

from itertools import pairwise
from typing import Final

import numpy as np

from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import COUNTERS, Ideal
from archgym.simulators.cpu.kernel.stepping import Core
from archgym.simulators.cpu.machine import Machine
from archgym.simulators.cpu.metrics import Operation, on_and_off_chip
from archgym.simulators.cpu.workloads import InstructionTrace
from archgym.simulators.kit.thermal import Floats, ThermalNetwork, floorplan

# chosen: a window ends at most so many instructions late.
_STEP: Final = 64
# chosen: cells of some 0.3 mm along each side of a chip of 20 mm2.
_CELLS: Final = 16


def run_in_windows(
    machine: Machine,
    trace: InstructionTrace,
    warmup: int,
    length: int,
    ideal: Ideal | None,
    cycles: int,
) -> tuple[Ints, tuple[Ints, ...]] | None:
    """Return the counters of a whole run as `run` does, and those at the end of each window.

    Args:
      machine: Every parameter.
      trace: Program.
      warmup: Instructions before counting.
      length: Instructions that are counted.
      ideal: Costs that are free; None for none.
      cycles: Cycles of a window, which ends with the first 64 instructions that reach them.

    Returns:
      None if the machine never ends. The last window is left out if it is shorter than half.
    """
    core = Core(machine, trace, warmup, length, ideal)
    ends: list[Ints] = []
    begun = 0
    is_over = False
    while not is_over:
        retired = core.n_retired
        core.advance(retired + _STEP)
        is_over = core.is_over
        if core.n_retired == retired:
            return None
        least = cycles // 2 if is_over and ends else cycles
        if core.n_cycles - begun >= least or (is_over and not ends):
            counters = core.finish()
            if counters is None:
                return None
            ends.append(counters)
            begun = core.n_cycles
    counters = core.finish()
    return None if counters is None else (counters, tuple(ends))


def peaks(
    machine: Machine, ends: tuple[Ints, ...], operation: Operation, sink_k_per_w: float
) -> tuple[float, float]:
    """Return the largest power of a window [mW], and the highest temperature of a structure [C].

    The chip has run for long at its mean power before, under HotSpot's default spreader and sink.

    Args:
      machine: Every parameter.
      ends: Counters at the end of each window, as `run_in_windows` returns them.
      operation: Node, clock and supply.
      sink_k_per_w: Resistance from the heat sink to the air [K/W].
    """
    watts, seconds = [], []
    for before, after in pairwise((np.zeros_like(ends[0]), *ends)):
        counts = dict(zip(COUNTERS, (after - before).tolist(), strict=True))
        time_ns = counts["cycles"] / operation.ghz
        found = on_and_off_chip(machine, counts, operation)
        watts.append([1e-3 * (each.leakage_mw + each.energy_pj / time_ns) for each in found])
        seconds.append(1e-9 * time_ns)
    powers: Floats = np.array(watts)
    areas = {each.name: each.area_mm2 for each in found if each.area_mm2}
    on_chip = powers[:, [bool(each.area_mm2) for each in found]]
    network = ThermalNetwork(floorplan(areas), convection_k_per_w=sink_k_per_w, cells=_CELLS)
    hottest = network.course(on_chip, float(np.mean(seconds))).max()
    return 1e3 * float(powers.sum(axis=1).max()), float(hottest)
