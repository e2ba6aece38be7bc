"""DDR4-2400 under both controllers: time, latency and energy of five workloads.

Run it as `python experiments/dram_controllers.py`. Both have one channel of one rank of
4 Gb x8 devices, rows above banks above columns, and their default settings.
"""

from archgym.evaluation.simulator import Simulator
from archgym.simulators.dram import DramSimulator

WORKLOADS = ("stream", "random", "cloud-1", "mixed-rw", "sparse-rw")
# The bin with the reference device's 16 clocks of CL, RCD and RP.
SECOND = {
    "organisation": "DDR4_4Gb_x8",
    "speed_bin": "DDR4_2400R",
    "ranks": 1,
    "channels": 1,
    "address_mapping": "RoBaRaCoCh",
}


def table() -> list[str]:
    """Return the lines of the table."""
    first = DramSimulator(device="ddr4-2400")
    second = DramSimulator(device="ddr4")
    rows = [
        "| workload | time [us], dramsys | ramulator | p99 [ns], dramsys | ramulator "
        "| energy [uJ], dramsys | ramulator |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in WORKLOADS:
        cells = [name]
        found = [
            simulator.evaluate({**design_of(simulator), **changes}, simulator.workload(name))
            for simulator, changes in ((first, {}), (second, SECOND))
        ]
        for metric, scale in (
            ("total_time_ns", 1e-3),
            ("p99_latency_ns", 1),
            ("total_energy_pj", 1e-6),
        ):
            cells += [f"{scale * metrics[metric]:.1f}" for metrics in found]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def design_of(simulator: Simulator) -> dict[str, object]:
    """Return the default design."""
    return dict(simulator.space.design_at(simulator.space.default_indices))


if __name__ == "__main__":
    print("\n".join(table()))
