"""Best monolithic and best chiplet processor for a throughput.

Usage: ``python experiments/chiplets.py [--program b-tree] [--instructions 10000]``.

A processor is n clusters of four cores, each cluster with its last level and its DRAM channel, and
each core running the program. The simulator evaluates a cluster exactly (`cores=4`); clusters share
nothing, which is the natural cut into dies. All 48 clusters, five nodes, and 1 to 16 dies are
enumerated: the cheapest processor that reaches the throughput, and the one with the least carbon
over three years, both on one die and with the number of dies free. Price and carbon are those of
`archgym.physics.economics`: a negative binomial yield, 10 % more area for links and 99 %
yield of each bond.
"""

import argparse
import itertools
import math
from typing import Any

import numpy as np

from archgym.physics.economics import DEFAULT_GRID, THREE_YEARS_H, chip_metrics
from archgym.simulators.cpu import CpuSimulator

NODES = ("28nm", "22nm", "14nm", "7nm", "5nm")
DIES = (1, 2, 3, 4, 6, 8, 12, 16)
VALUES: dict[str, tuple[int, ...]] = {
    "llc_sets": (512, 1024, 2048, 4096),
    "l2_sets": (256, 1024),
    "rob": (96, 352),
    "execute_width": (2, 4, 6),
}
# The largest die that a reticle of 26 x 33 mm holds.
RETICLE_MM2 = 858.0


def main() -> None:
    """Print the best processors by throughput."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="b-tree")
    parser.add_argument("--instructions", type=int, default=10_000)
    arguments = parser.parse_args()
    rows = clusters(arguments.program, arguments.instructions)
    print("| 1e9/s | sought | dies | node | clusters | mm2 | W | $ | kg CO2 | cluster |")
    print("|---:|---|---:|---|---:|---:|---:|---:|---:|---|")
    for wanted in (20.0, 80.0, 160.0):
        made = [p for row in rows for dies in DIES if (p := processor(row, wanted, dies))]
        for sought in ("dollars", "total_kg_co2"):
            for which in ("monolithic", "free"):
                known = [p for p in made if which == "free" or p["dies"] == 1]
                if known:
                    print(line(min(known, key=lambda p: float(p[sought])), wanted, sought))


def clusters(program: str, instructions: int) -> list[dict[str, Any]]:
    """Return speed, area and power of every cluster at every node."""
    found = []
    designs = [
        dict(zip(VALUES, values, strict=True)) for values in itertools.product(*VALUES.values())
    ]
    for node in NODES:
        simulator = CpuSimulator(cores=4, instructions=instructions, node=node)
        space = simulator.space
        default = space.design_at(space.default_indices)
        indices = np.array([space.indices_of({**default, **design}) for design in designs])
        values = simulator.evaluate_batch(indices, simulator.workload(program)).values
        names = [spec.name for spec in simulator.metrics]
        for design, row in zip(designs, values, strict=True):
            metrics = dict(zip(names, row.tolist(), strict=True))
            found.append({"node": node, "design": design, **metrics})
    return found


def processor(row: dict[str, Any], wanted: float, dies: int) -> dict[str, Any] | None:
    """Return the processor of so many clusters as a throughput needs; None if it cannot be made."""
    n = math.ceil(wanted / row["giga_instructions_per_s"] / dies) * dies
    area, power = n * row["area_mm2"], n * row["power_mw"]
    if area / dies * (1.1 if dies > 1 else 1.0) > RETICLE_MM2:
        return None
    specs = chip_metrics(row["node"], DEFAULT_GRID, THREE_YEARS_H, dies)
    columns = {"area_mm2": np.array([area]), "power_mw": np.array([power])}
    prices = {}
    for spec in specs:
        assert spec.formula is not None
        prices[spec.name] = float(spec.formula.evaluate(columns)[0])
    return {**row, "n": n, "dies": dies, "area": area, "watts": power / 1e3, **prices}


def line(best: dict[str, Any], wanted: float, sought: str) -> str:
    """Return a row of the table."""
    design = ", ".join(f"{name}={value}" for name, value in best["design"].items())
    return (
        f"| {wanted:g} | {sought} | {best['dies']} | {best['node']} | {best['n']} | "
        f"{best['area']:.0f} | {best['watts']:.0f} | {best['dollars']:.1f} | "
        f"{best['total_kg_co2']:.1f} | {design} |"
    )


if __name__ == "__main__":
    main()
