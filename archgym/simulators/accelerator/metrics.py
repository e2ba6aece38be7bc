"""What the accelerator simulator measures, and what designs are searched for."""

from collections.abc import Mapping
from typing import Final

from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term

__all__ = ["METRICS", "OBJECTIVES"]

METRICS: Final = (
    MetricSpec("energy_uj", "uJ", "minimise", 1e-3, "Energy of one inference, DRAM included."),
    MetricSpec("latency_cycles", "cycles", "minimise", 1.0, "Layers run one after the other."),
    MetricSpec("latency_ms", "ms", "minimise", 1e-6, "The same at 200 MHz."),
    MetricSpec("edp_nj_s", "nJ s", "minimise", 1e-9, "Energy times latency."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-6, "Units and buffers at 45 nm, without DRAM."),
    MetricSpec("power_mw", "mW", "minimise", 1e-3, "Energy over latency, DRAM included."),
    MetricSpec(
        "utilisation_percent", "%", "maximise", 1e-3, "Operations over what all units could do."
    ),
    MetricSpec("dram_energy_uj", "uJ", "none", 1e-3, "Energy of DRAM.", identifies=True),
)

_ENERGY = Term("energy_uj", "minimise")
_LATENCY = Term("latency_cycles", "minimise")
_EDP = Term("edp_nj_s", "minimise")
# Of the Eyeriss-like default design.
_EYERISS_AREA_MM2 = 2.115

_FOUND = (
    Objective("edp", (_EDP,), "Least energy times latency."),
    Objective("low-energy", (_ENERGY,), "Least energy."),
    Objective("low-latency", (_LATENCY,), "Least latency."),
    Objective(
        "edp-at-eyeriss-area",
        (_EDP, Term("area_mm2", "at-most", weight=10.0, target=_EYERISS_AREA_MM2)),
        "Least energy times latency in the area of the Eyeriss-like design, which costs dearly.",
    ),
    Objective(
        "edp-and-area", (_EDP, Term("area_mm2", "minimise")), "Energy times latency, and area."
    ),
    Objective(
        "energy-latency-area",
        (_ENERGY, _LATENCY, Term("area_mm2", "minimise")),
        "Energy, latency and area.",
    ),
    # The published targets: 0.7, 0.85 and 0.8 of 29206 uJ, 2.03 mm2 and 7885704 cycles.
    Objective(
        "archgym-2023",
        (
            Term("energy_uj", "at-most", target=20444.2),
            Term("area_mm2", "at-most", target=1.7255),
            Term("latency_cycles", "at-most", target=6308563.0),
        ),
        "The published targets for AlexNet's convolutions, met or missed by so much.",
    ),
)
OBJECTIVES: Final[Mapping[str, Objective]] = {objective.name: objective for objective in _FOUND}
