"""Power that was measured over what is predicted, run by run.

    python -m evidence.moe.power REFERENCE

Board power of whole records, idle time included, is a lower bound of power under load.
"""

import argparse
from pathlib import Path

from archgym.cli.console.terminal import say
from archgym.simulators.kit import default_workload
from archgym.simulators.moe.metrics import HOST_W
from archgym.simulators.moe.sizing import simulator_of
from evidence.moe.row import read_table


def main() -> None:
    """Print the runs; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path)
    folder = parser.parse_args().reference
    folder = folder / "moe" if (folder / "moe").is_dir() else folder
    for cells in read_table(folder / "further" / "power.csv"):
        # Others do not say their clients.
        if not cells["conc"]:
            continue
        n_gpus = int(cells["gpus"])
        simulator = simulator_of(
            {
                "model": cells["model"], "hardware": f"dgx-{cells['gpu'].lower()}",
                "engine": cells["engine"], "precision": cells["precision"],
                "clients": cells["conc"], "lengths": f"{cells['isl']}+{cells['osl']}",
            }
        )  # fmt: skip
        design = {**simulator.space.default, "tensor": n_gpus, "data": 1, "spread": "no"}
        found = simulator.evaluate(design, simulator.workload(default_workload(simulator)))
        predicted = found["watts"] - HOST_W
        mean, peak = (float(cells[f"power_{name}_w"]) / predicted for name in ("mean", "peak"))
        say(
            f"{n_gpus} {cells['gpu']}, {cells['isl']:>4}+{cells['osl']:>4}, {cells['conc']:>2} "
            f"clients: {predicted / n_gpus:4.0f} W an accelerator; measured mean {mean:.1f}, "
            f"peak {peak:.1f} times as much"
        )


if __name__ == "__main__":
    main()
