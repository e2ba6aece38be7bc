"""Price and carbon of a chip, and scaling between technology nodes, as metrics of a simulator.

`ChipUse` has the options of simulators with an area, `Ownership` those of machines with a price.
Every metric is an expression of others, so that recorded values can be checked and results without
these metrics stay what they were.

Sources: dies on a wafer and its price, S. Khan, A. Mann, *AI chips: what they are and why they
matter*, CSET 2020 (its model of TSMC's prices); carbon of a fab, U. Gupta et al., *ACT: designing
sustainable computer systems with an architectural carbon modeling tool*, ISCA 2022, table 1 and
code; defects, yield and scaling of area and energy, C. Sudarshan et al., *ECO-CHIP: estimation of
carbon footprint of chiplet-based architectures for sustainable VLSI*, HPCA 2024; 5 nm against 7 nm,
G. Yeap et al., *5nm CMOS production technology platform*, IEDM 2019.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, final

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.options import Option
from archgym.spaces.expression import Expression, P

WAFER_MM: Final = 300.0
PACKAGE_KG: Final = 0.15
"""ACT: carbon of packaging one chip [kg]."""
CLUSTERING: Final = 10.0
"""ECO-CHIP: how much defects cluster, the exponent of the yield."""
LINK_AREA: Final = 0.1
BONDING_YIELD: Final = 0.99
"""ECO-CHIP, after D. Stow et al., *Cost-effective design of scalable high-performance systems using
active and passive interposers*, ICCAD 2017: area of links between dies, and yield of a bond."""
PACKAGE_DOLLARS: Final = 4.0
"""chosen: a plain package and its test; high-bandwidth memory and interposers cost more."""


@final
@dataclass(frozen=True)
class Node:
    """A technology node.

    Attributes:
      wafer_dollars: Price of a wafer of 300 mm.
      defects_per_cm2: Density of defects.
      kwh_per_cm2: Energy that a fab takes.
      gases_g_per_cm2: Carbon equivalent of its gases, 97 % of which are abated.
      logic: Area of logic over that at 7 nm.
      memory: Area of SRAM over that at 7 nm.
      energy: Energy of switching over that at 7 nm.
      delay: Delay of a gate over that at 7 nm.
    """

    wafer_dollars: float
    defects_per_cm2: float
    kwh_per_cm2: float
    gases_g_per_cm2: float
    logic: float
    memory: float
    energy: float
    delay: float


# 22 nm lies between ACT's and CSET's 28 and 20 nm, three quarters of the way. At 5 nm: logic 1.84
# times as dense as at 7 nm, SRAM 1.35 times, 30 % less power or 15 % faster; defects as at 7 nm.
NODES: Final[Mapping[str, Node]] = {
    "28nm": Node(2891.0, 0.07, 0.9, 137.5, 8.453656378, 4.336197791, 3.367003367, 2.464222503),
    "22nm": Node(3480.5, 0.08, 1.125, 146.875, 7.325456759, 3.757501843, 2.72479564, 1.959590643),
    "14nm": Node(3984.0, 0.09, 1.2, 162.5, 3.709574145, 1.902779873, 1.727115717, 1.562502831),
    "10nm": Node(5992.0, 0.11, 1.475, 195.0, 1.949555068, 1.0, 1.36425648, 1.25268817),
    "7nm": Node(9346.0, 0.2, 2.15, 275.0, 1.0, 1.0, 1.0, 1.0),
    "5nm": Node(16988.0, 0.2, 2.75, 327.5, 1 / 1.84, 1 / 1.35, 0.7, 1 / 1.15),
}
MATERIALS_G_PER_CM2: Final = 500.0
"""ACT: carbon of raw materials."""

GRIDS: Final[Mapping[str, float]] = {
    "world": 301.0, "india": 725.0, "australia": 597.0, "taiwan": 583.0, "singapore": 495.0,
    "usa": 380.0, "europe": 295.0, "brazil": 82.0, "iceland": 28.0, "japan": 485.0, "korea": 430.0,
    "coal": 820.0, "gas": 490.0, "biomass": 230.0, "solar": 41.0, "geothermal": 38.0,
    "hydropower": 24.0, "nuclear": 12.0, "wind": 11.0,
}  # fmt: skip
"""Carbon of electricity [g/kWh], by country or source (ACT)."""
FAB_GRID: Final = "taiwan"
HOURS_PER_YEAR: Final = 8760.0


DEFAULT_GRID: Final = "world"
SERVER_SHARE: Final = 2.8 / 5.6
"""Power of a server's processors, memory, fans and network cards over that of its accelerators: at
most 8.4 kW were measured with eight H100 of 0.7 kW each (I. Latif et al., *Single-node power demand
during AI training*, IEEE Access 13, 2025); the rated 10.2 kW would be a share of 0.82."""
SERVER_KW_PER_GPU: Final = 0.7 * SERVER_SHARE
THREE_YEARS_H: Final = 3 * HOURS_PER_YEAR


NodeOption = Annotated[
    str, Option("Technology node, for price and carbon of the chip.", choices=tuple(NODES))
]
GridOption = Annotated[str, Option("Electricity of the use.", choices=tuple(GRIDS))]


@final
@dataclass(frozen=True, kw_only=True)
class ChipUse:
    """Options of what a chip at a node costs.

    Attributes:
      dies: Dies of the chip.
      grid: One of `GRIDS`.
      hours: Hours of use at the power of the workload.
    """

    dies: Annotated[
        int, Option("Equal dies that the chip is split into; needs `node`.", low=1, high=16)
    ] = 1
    grid: GridOption = DEFAULT_GRID
    hours: Annotated[float, Option("Hours of use; needs `node`.", low=1, high=1e6, unit="h")] = (
        THREE_YEARS_H
    )

    def metrics(
        self, node: str, area: str = "area_mm2", watts: Expression | None = None
    ) -> tuple[MetricSpec, ...]:
        """Return price and carbon of a chip as `chip_metrics` does; none without a node.

        Raises:
          InvalidArgumentError: There is no node, and an option is not its default.
        """
        if node:
            return chip_metrics(node, self.grid, self.hours, self.dies, area, watts)
        if self != ChipUse():
            raise InvalidArgumentError("`dies`, `grid` and `hours` need a `node`, such as 22nm.")
        return ()


@final
@dataclass(frozen=True, kw_only=True)
class Ownership:
    """Options of what machines cost to own.

    Attributes:
      years: Years of use at the power of the workload; 0 for no such metrics.
      pue: Power of the building over that of the machines.
      electricity: Price of electricity [$/kWh].
      grid: One of `GRIDS`.
    """

    years: Annotated[
        float, Option("Years of use; adds metrics of the cost of ownership.", high=50, unit="years")
    ] = 0.0
    pue: Annotated[float, Option("Power of the building over the machines'.", low=1, high=10)] = 1.3
    electricity: Annotated[float, Option("Price of electricity.", high=10, unit="$/kWh")] = 0.1
    grid: GridOption = DEFAULT_GRID

    def metrics(
        self, dollars: Expression | None = None, kilowatts: Expression | None = None
    ) -> tuple[MetricSpec, ...]:
        """Return what machines cost to own, as metrics; none for no years.

        Args:
          dollars: Price of the machines; by default the metric `dollars`.
          kilowatts: Power of the machines; by default the metric `power_kw`.

        Raises:
          InvalidArgumentError: There are no years, and another option is not its default.
        """
        if not self.years:
            if self != Ownership():
                raise InvalidArgumentError(
                    "`pue`, `electricity` and `grid` need `years`, such as 3."
                )
            return ()
        hours = self.years * HOURS_PER_YEAR
        power = (P("power_kw") if kilowatts is None else kilowatts) * (hours * self.pue)
        price = P("dollars") if dollars is None else dollars
        return (
            MetricSpec(
                "total_cost_of_ownership_dollars", "$", "minimise", 1.0,
                f"Price, and electricity of {self.years:g} years.",
                price + power * self.electricity,
            ),
            MetricSpec(
                "operational_kg_co2", "kg", "minimise", 1.0,
                f"Carbon of {self.years:g} years of electricity, grid {self.grid}.",
                operational_kg(power, self.grid, 1000.0),
            ),
        )  # fmt: skip


def chip_yield(area_mm2: Expression, node: Node) -> Expression:
    """Return the share of dies that work: ``(1 + A D / 10) ** -10``."""
    return (1.0 + area_mm2 * (node.defects_per_cm2 / 100.0 / CLUSTERING)) ** -CLUSTERING


def die_dollars(area_mm2: Expression, node: Node) -> Expression:
    """Return the price of a working die: a wafer's over those that it holds and that work."""
    whole = math.pi * WAFER_MM**2 / 4.0
    edge = math.pi * WAFER_MM / math.sqrt(2.0)
    dies = whole / area_mm2 - edge / area_mm2**0.5
    return node.wafer_dollars / (dies * chip_yield(area_mm2, node))


def _of_dies(area_mm2: Expression, dies: int) -> tuple[Expression, float]:
    """Return the area of each of several dies, and the share of assemblies that work."""
    if dies == 1:
        return area_mm2, 1.0
    return area_mm2 * ((1.0 + LINK_AREA) / dies), BONDING_YIELD**dies


def embodied_kg(area_mm2: Expression, node: Node) -> Expression:
    """Return the carbon of making a working die [kg]."""
    grams = GRIDS[FAB_GRID] * node.kwh_per_cm2 + node.gases_g_per_cm2 + MATERIALS_G_PER_CM2
    return area_mm2 * (grams / 1e5) / chip_yield(area_mm2, node)


def operational_kg(watts: Expression, grid: str, hours: float) -> Expression:
    """Return the carbon of the electricity that a chip takes [kg].

    Raises:
      UnknownNameError: There is no such grid.
    """
    if grid not in GRIDS:
        raise unknown_name("grid", grid, GRIDS)
    return watts * (hours * GRIDS[grid] / 1e6)


def chip_metrics(
    node: str,
    grid: str,
    hours: float,
    dies: int = 1,
    area: str = "area_mm2",
    watts: Expression | None = None,
) -> tuple[MetricSpec, ...]:
    """Return price and carbon of a chip as metrics.

    Args:
      node: One of `NODES`.
      grid: One of `GRIDS`: electricity of its use.
      hours: Hours of use, at the power of the workload.
      dies: Equal dies that the chip is split into, with links between them.
      area: Metric with the area of the chip in mm2.
      watts: Power in use; by default the metric `power_mw`.

    Raises:
      UnknownNameError: There is no such node or grid.

    Example:
      >>> names = [spec.name for spec in chip_metrics("7nm", "usa", 20_000.0)]
      >>> names
      ['dollars', 'embodied_kg_co2', 'operational_kg_co2', 'total_kg_co2']
    """
    if node not in NODES:
        raise unknown_name("node", node, NODES)
    made, size = NODES[node], P(area)
    power = P("power_mw") / 1000.0 if watts is None else watts
    each, bonded = _of_dies(size, dies)
    embodied = embodied_kg(each, made) * (dies / bonded) + PACKAGE_KG
    used = operational_kg(power, grid, hours)
    price = die_dollars(each, made) * (dies / bonded) + PACKAGE_DOLLARS * dies
    of = f"at {node}" if dies == 1 else f"of {dies} dies at {node}"
    return (
        MetricSpec("dollars", "$", "minimise", 1e-3, f"Price of a working chip {of}.", price),
        MetricSpec(
            "embodied_kg_co2", "kg", "minimise", 1e-4, f"Carbon of making it {of}.", embodied
        ),
        MetricSpec(
            "operational_kg_co2", "kg", "minimise", 1e-4,
            f"Carbon of {hours:,g} hours of use, grid {grid}.", used,
        ),
        MetricSpec(
            "total_kg_co2", "kg", "minimise", 1e-4, "Carbon of making and using it.",
            embodied + used,
        ),
    )  # fmt: skip
