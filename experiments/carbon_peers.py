"""Carbon of chips next to ACT's and ECO-CHIP's own code.

Usage: ``python experiments/carbon_peers.py --act FOLDER --eco-chip FOLDER``: checkouts of
facebookresearch/ACT (commit abc9fbb, needs `pint`) and ASU-VDA-Lab/ECO-CHIP (commit fe998d9).
Both tables give the same inputs to their code and to `archgym.physics.economics`. ACT takes
a yield, ECO-CHIP computes one. ECO-CHIP has a carbon per area of its own: dies are compared at that
figure, and the last column has the die at ACT's, as a search sees it.
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from archgym.physics.economics import NODES, PACKAGE_KG, chip_yield, embodied_kg, operational_kg
from archgym.spaces.expression import Expression, P

# The bill of materials in ACT's README, and five dies over its nodes.
ACT_ROWS = (
    ("14nm", 10.0, 0.87), ("7nm", 100.0, 0.875), ("14nm", 50.0, 0.9), ("5nm", 300.0, 0.6),
    ("28nm", 20.0, 0.95), ("10nm", 80.0, 0.8),
)  # fmt: skip
CHIPS = ("A15", "EMR2", "GA102", "TigerLake", "test-monolithic", "test-chiplet")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--act", type=Path, required=True)
    parser.add_argument("--eco-chip", type=Path, required=True)
    arguments = parser.parse_args()
    print_act(arguments.act.resolve())
    print_eco_chip(arguments.eco_chip.resolve())


def value(expression: Expression, area: float) -> float:
    """Return an expression of the column `area`."""
    return float(expression.evaluate({"area": np.array([area])})[0])


def print_act(folder: Path) -> None:
    """Print dies with a package, and a use, by ACT and by us."""
    sys.path.insert(0, str(folder))
    process: Any = importlib.import_module("act.core.common").LogicProcess
    model: Any = importlib.import_module("act.core.logic_model").LogicModel()
    mm2: Any = importlib.import_module("act.core.units").mm2
    print("| node | mm2 | yield | ACT, g | here, g | difference |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, area, works in ACT_ROWS:
        made = model.get_carbon(process(name), area * mm2, fab_yield=works, n_ics=1)
        theirs = float(made.total().to("g").magnitude)
        node = NODES[name]
        own_yield = value(chip_yield(P("area"), node), area)
        ours = 1e3 * (value(embodied_kg(P("area"), node), area) * own_yield / works + PACKAGE_KG)
        print(
            f"| {name} | {area:g} | {works} | {theirs:.3f} | {ours:.3f} | "
            f"{100 * (ours / theirs - 1):+.5f} % |"
        )
    used = 1e3 * value(operational_kg(P("area"), "usa", 26_280.0), 5.0)
    grams = float(model.ci_model[_location(model, "usa")].to("g/kWh").magnitude) * 26_280 * 5 / 1000
    print(f"5 W for 26,280 hours in the USA: ACT {grams:.1f} g, here {used:.1f} g")
    print()


def _location(model: Any, name: str) -> Any:
    """Return ACT's key of a grid."""
    return next(key for key in model.ci_model if str(getattr(key, "value", key)).lower() == name)


def print_eco_chip(folder: Path) -> None:
    """Print the dies of ECO-CHIP's examples by its code and by us."""
    sys.path.insert(0, str(folder / "src"))
    before = Path.cwd()
    os.chdir(folder)
    theirs: Any = importlib.import_module("CO2_func")
    factors: Any = importlib.import_module("tech_scaling").load_tables()
    os.chdir(before)
    print("| chip | die | node | mm2 there | here | yield there | here | kg there | here | ACT's |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for chip in CHIPS:
        text = (folder / "testcases" / chip / "architecture.json").read_text()
        for die, facts in json.loads(text).items():
            if die == "pkg_type" or facts["type"] == "analog":
                continue
            kind, number, size = facts["type"], int(facts["node"]), float(facts["area"])
            carbon, _, scale = theirs.Si_chip([number], [kind], np.array([size]), factors)
            area = float(scale[0] * size)
            works = float(
                theirs.yield_calc(area, factors["defect_den"].loc[number, "defect_density"])
            )
            node = NODES[f"{number}nm"]
            own_area = size * (node.memory if kind == "sram" else node.logic)
            own_yield = value(chip_yield(P("area"), node), own_area)
            per_area = float(factors["cpa"].loc[number, "cpa"])
            own_kg = own_area * per_area / own_yield / 1e3
            at_act = value(embodied_kg(P("area"), node), own_area)
            print(
                f"| {chip} | {die} | {number} | {area:.3f} | {own_area:.3f} | {works:.6f} | "
                f"{own_yield:.6f} | {float(carbon[0]) / 1e3:.5f} | {own_kg:.5f} | {at_act:.3f} |"
            )


if __name__ == "__main__":
    main()
