"""Metrics and objectives of the accelerator simulator."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from archgym.simulators.accelerator.machine.energy import CLOCK_MHZ
from archgym.simulators.kit import Limit, MetricSpec, Objective, Term

METRICS: Final = (
    MetricSpec("energy_uj", "uJ", "minimise", 1e-3, "Energy of one inference, DRAM included."),
    MetricSpec("latency_cycles", "cycles", "minimise", 1.0, "Cycles of one inference."),
    MetricSpec(
        "latency_ms", "ms", "minimise", 1e-6, "Latency of one inference at 200 MHz.",
        tied="latency_cycles",
    ),
    MetricSpec(
        "edp_nj_s", "nJ s", "minimise", 1e-9, "Energy times latency.",
        tied="energy_uj * latency_cycles",
    ),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-6, "Area at 45 nm, without DRAM."),
    MetricSpec(
        "power_mw", "mW", "minimise", 1e-3, "Energy over latency, DRAM included.",
        tied="energy_uj * -latency_cycles",
    ),
    MetricSpec(
        "utilisation_percent", "%", "maximise", 1e-3,
        "Operations over the number that all units could do in the same time.", highest=100.0,
        tied="-latency_cycles",
    ),
    MetricSpec("dram_energy_uj", "uJ", "none", 1e-3, "Energy of DRAM.", identifies=True),
    MetricSpec("operand_bits", "bit", "none", 1.0, "Bits of weights and inputs; sums have more."),
    MetricSpec(
        "estimated_memories", "memories", "none", 1.0,
        "Memories whose costs are estimated, since CACTI's table lacks their size.",
    ),
)  # fmt: skip


def at_node(node: str) -> tuple[MetricSpec, ...]:
    """Return the metrics with the node of the area in its description; empty for 45 nm."""
    named = f"Area at {node or '45 nm'}, without DRAM."
    return tuple(replace(s, doc=named) if s.name == "area_mm2" else s for s in METRICS)


_ENERGY = Term("energy_uj", "minimise")
_LATENCY = Term("latency_cycles", "minimise")
_EDP = Term("edp_nj_s", "minimise")
# Area of the Eyeriss-like default design.
_EYERISS_AREA_MM2 = 2.115

_FOUND = (
    Objective("edp", (_EDP,), "Lowest energy times latency."),
    Objective("low-energy", (_ENERGY,), "Lowest energy."),
    Objective("low-latency", (_LATENCY,), "Lowest latency."),
    Objective(
        "edp-at-eyeriss-area",
        (_EDP,),
        "Lowest energy times latency within the area of the Eyeriss-like design.",
        (Limit("area_mm2", "<=", _EYERISS_AREA_MM2),),
    ),
    Objective(
        "edp-and-area",
        (_EDP, Term("area_mm2", "minimise")),
        "Trade-off of energy times latency against area.",
    ),
    Objective(
        "energy-latency-area",
        (_ENERGY, _LATENCY, Term("area_mm2", "minimise")),
        "Trade-off of energy, latency and area.",
    ),
    # The published targets: 0.7, 0.85 and 0.8 of 29206 uJ, 2.03 mm2 and 7885704 cycles.
    Objective(
        "archgym-2023",
        (
            Term("energy_uj", "at-most", target=20444.2),
            Term("area_mm2", "at-most", target=1.7255),
            Term("latency_cycles", "at-most", target=6308563.0),
        ),
        "Distance to the published targets for AlexNet's convolutions.",
    ),
)
# Narrower operands change the network's results, which no metric shows: named objectives keep the
# default design's. Other objectives may take fewer bits, and `operand_bits` shows them.
_PRECISE: Final = Limit("operand_bits", ">=", 16.0)


def objectives(has_precision: bool) -> Mapping[str, Objective]:
    """Return the objectives of a space, by name.

    Args:
      has_precision: True if designs choose the bits of operands. All objectives but the published
        one then ask for the bits of the default design.
    """
    found = {objective.name: objective for objective in _FOUND}
    if not has_precision:
        return found
    return {
        name: objective
        if name == "archgym-2023"
        else replace(objective, limits=(*objective.limits, _PRECISE))
        for name, objective in found.items()
    }


def metric_values(
    energy_pj: npt.ArrayLike,
    cycles: npt.ArrayLike,
    area_mm2: npt.ArrayLike,
    utilisation_percent: npt.ArrayLike,
    dram_pj: npt.ArrayLike,
    operand_bits: npt.ArrayLike,
    n_estimated: npt.ArrayLike,
) -> np.ndarray:
    """Return the metrics in the order and units of `METRICS`, as the last axis."""
    energy, latency = np.asarray(energy_pj) / 1e6, np.asarray(cycles) / (CLOCK_MHZ * 1e3)
    hardware = (area_mm2, energy / latency, utilisation_percent, np.asarray(dram_pj) / 1e6)
    columns = (energy, cycles, latency, energy * latency, *hardware)
    noted = (np.broadcast_to(each, np.shape(energy)) for each in (operand_bits, n_estimated))
    return np.stack([*np.broadcast_arrays(*columns), *noted], axis=-1)
