"""Metrics and objectives of a device family under the second controller."""

from collections.abc import Mapping

from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective
from archgym.simulators.dram.metrics import ENERGY_CAUSES, estimates, objectives
from archgym.simulators.dram.ramulator.kernel.energy import currents_note, has_energy
from archgym.simulators.dram.ramulator.machine import Standard


def family_metrics(made: Standard) -> tuple[MetricSpec, ...]:
    """Return the metrics of a family, in the order of the simulator's values."""
    energy: tuple[MetricSpec, ...] = ()
    if has_energy(made):
        note = currents_note(made)
        energy = (
            MetricSpec(
                "total_energy_pj", "pJ", "minimise", 1e3, f"Core energy of all devices. {note}"
            ),
            MetricSpec("power_mw", "mW", "minimise", 0.1, "Total energy over total time."),
            *(
                MetricSpec(f"{cause}_energy_pj", "pJ", "none", 1e3, f"Energy by cause: {cause}.")
                for cause in ENERGY_CAUSES
            ),
        )
    else:
        energy = estimates(made.family.upper())
    latency = "of reads from their due time until their data are back"
    return (
        MetricSpec("total_time_ns", "ns", "minimise", 1.0, "From time 0 until the last is done."),
        MetricSpec("mean_latency_ns", "ns", "minimise", 1.0, f"Mean time {latency}."),
        *(
            MetricSpec(f"p{p}_latency_ns", "ns", "minimise", 1.0, f"{p} % quantile {latency}.")
            for p in (50, 95, 99)
        ),
        MetricSpec(
            "bandwidth_gb_per_s", "GB/s", "maximise", 1e-3, "Bytes of the bursts over total time."
        ),
        # Designs differ in their peak, so that utilisation has no better direction.
        MetricSpec(
            "bandwidth_percent",
            "%",
            "none",
            1e-2,
            "Bandwidth, of the channels' peak.",
            identifies=True,
        ),
        *energy,
        # Costs of a design, which tasks that ArchGym 0.2 recorded had without a direction.
        MetricSpec(
            "data_pins", "pins", "minimise", 1.0, "Data pins of all channels.", identifies=False
        ),
        MetricSpec(
            "capacity_mib",
            "MiB",
            "maximise",
            1.0,
            "Capacity of all channels and ranks.",
            identifies=False,
        ),
        MetricSpec("row_hits", "", "none", 1.0, "Bursts that found their row open."),
        MetricSpec("row_misses", "", "none", 1.0, "Bursts that found their bank closed."),
        MetricSpec("row_conflicts", "", "none", 1.0, "Bursts that found another row open."),
        MetricSpec("forwarded", "", "none", 1.0, "Reads answered from the write buffer."),
        MetricSpec("coalesced", "", "none", 1.0, "Writes merged into the write buffer."),
        MetricSpec("refreshes", "", "none", 1.0, "Refresh commands, of a rank or of a bank."),
    )


def family_objectives(made: Standard) -> Mapping[str, Objective]:
    """Return the objectives of a family, by name."""
    found = dict(objectives(has_energy(made)))
    found.pop("archgym-2023", None)
    return found
