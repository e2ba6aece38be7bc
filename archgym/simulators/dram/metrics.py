"""Metrics and objectives of memories under both controllers."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from archgym.simulators.kit import (
    Expression,
    Goal,
    InvalidArgumentError,
    MetricSpec,
    Objective,
    P,
    Term,
)

ENERGY_CAUSES = ("activate", "precharge", "read", "write", "refresh", "background")

_OF_PEAK: Final = "Bandwidth, of the device's peak."
_BANDWIDTH: Final = (
    "Bytes acknowledged over total time, 1e9 B/s; as in DRAMSys the last burst does not count "
    "under the arbiter Simple."
)
PJ_PER_BIT: Final[Mapping[str, tuple[float, float, float]]] = {
    "HBM2": (250 / 64, 6.0, 450 / 64),
    "HBM3": (250 / 64, 6.0, 450 / 64),
    "GDDR6": (350 / 64, 7.5, 480 / 64),
}
"""Least, usual and most energy of a moved bit [pJ], of standards without public currents.

Source:
  Least and most: N. Jouppi et al., *Ten lessons from three generations shaped Google's TPUv4i*,
  ISCA 2021, table 2, for 64 bits; the least of HBM2 is also that of M. O'Connor et al., *Fine-
  grained DRAM*, MICRO 2017, with activation: 3.92 pJ. Usual: Micron's comparison table of
  ultra-bandwidth solutions, GDDR6 and HBM2E. HBM3 has no figure there; HBM2's stand in for it.
"""


def check_window(window_us: float, has_energy: bool, device: str) -> None:
    """Raise InvalidArgumentError for windows of a device without power."""
    if window_us and not has_energy:
        raise InvalidArgumentError(
            "`window_us` needs a device with public currents, such as ddr4-2400, ddr4 or ddr5; "
            f"got {device!r}."
        )


def estimates(standard: str, moved_bytes: Expression | None = None) -> tuple[MetricSpec, ...]:
    """Return the energy of a device without currents, estimated by the bits that it moves.

    Never compare it with energies from currents. No objective uses it.

    Args:
      standard: One of `PJ_PER_BIT`.
      moved_bytes: Bytes of the workload; None where the simulator gives the estimate itself.
    """
    least, usual, most = PJ_PER_BIT[standard]
    estimate = P("estimated_energy_pj")
    of_bytes = None if moved_bytes is None else moved_bytes * (8.0 * usual)
    return tuple(
        MetricSpec(name, "pJ", "none", 1e3, f"{doc}, {pj:.1f} pJ per moved bit.", formula)
        for name, doc, pj, formula in (
            ("estimated_energy_pj", "Estimate, as no currents are public", usual, of_bytes),
            ("least_energy_pj", "Least energy", least, estimate * (least / usual)),
            ("most_energy_pj", "Most energy", most, estimate * (most / usual)),
        )
    )


def metrics(has_energy: bool, energy_note: str = "", standard: str = "") -> tuple[MetricSpec, ...]:
    """Return the metrics of a device, in the order of the simulator's values.

    Args:
      has_energy: True if its currents are known; without them there is no energy and no power.
      energy_note: A sentence on the currents for the metric's description.
      standard: Standard of the device, which may have an estimate where `has_energy` is false.
    """
    moved = P("bandwidth_gb_per_s") * P("total_time_ns")
    estimated = () if has_energy or standard not in PJ_PER_BIT else estimates(standard, moved)
    docs = {
        "activate": "Opening rows.",
        "precharge": "Closing rows.",
        "read": "Reading, without the interface.",
        "write": "Writing, without the interface.",
        "refresh": "Refresh commands.",
        "background": "Standing by, powered down or not.",
    }
    rate = partial(MetricSpec, goal="maximise", tied="-total_time_ns")
    total = f"Energy of all causes, all devices. {energy_note}".rstrip()
    energy = _energies(total, "Total energy over the accounted time.", docs, True)
    return (
        *_times(
            "From time 0 until the last response is back.",
            "Mean time from sending a request until its response is back.",
            "{} of the requests take no longer.",
            median="Half",
        ),
        rate("bandwidth_gb_per_s", "GB/s", resolution=1e-3, doc=_BANDWIDTH),
        rate("bandwidth_percent", "%", resolution=1e-2, doc=_OF_PEAK, highest=100.0),
        *(energy if has_energy else estimated),
        *_counts(_ROWS | _REFRESHES, True),
    )


def family_metrics(family: str, energy_note: str | None) -> tuple[MetricSpec, ...]:
    """Return the metrics of a family under Ramulator's controller, in the order of its values.

    Args:
      family: Name of the family.
      energy_note: A sentence on its currents; None where they are not known.
    """
    docs = {cause: f"Energy by cause: {cause}." for cause in ENERGY_CAUSES}
    latency = "of reads from their due time until their data are back"
    buffered = {
        "forwarded": "Reads answered from the write buffer.",
        "coalesced": "Writes merged into the write buffer.",
    }
    return (
        *_times(
            "From time 0 until the last is done.",
            f"Mean time {latency}.",
            f"{{}} quantile {latency}.",
        ),
        MetricSpec(
            "bandwidth_gb_per_s", "GB/s", "maximise", 1e-3, "Bytes of the bursts over total time."
        ),
        # Designs differ in their peak, so that utilisation has no better direction.
        *_counts({"bandwidth_percent": "Bandwidth, of the channels' peak."}, True, "%", 1e-2),
        *(
            estimates(family.upper())
            if energy_note is None
            else _energies(
                f"Core energy of all devices. {energy_note}",
                "Total energy over total time.",
                docs,
                None,
            )
        ),
        # Costs of a design, which no task's identity has.
        *(
            MetricSpec(name, unit, goal, 1.0, doc, identifies=False, exact=True)
            for name, unit, goal, doc in _COSTS
        ),
        *_counts(_ROWS | buffered | _REFRESHES, None),
    )


_COSTS: Final[tuple[tuple[str, str, Goal, str], ...]] = (
    ("data_pins", "pins", "minimise", "Data pins of all channels."),
    ("capacity_mib", "MiB", "maximise", "Capacity of all channels and ranks."),
)
_ROWS: Final = {
    "row_hits": "Bursts that found their row open.",
    "row_misses": "Bursts that found their bank closed.",
    "row_conflicts": "Bursts that found another row open.",
}
_REFRESHES: Final = {"refreshes": "Refresh commands, of a rank or of a bank."}


def _times(total: str, mean: str, quantile: str, median: str = "50 %") -> Iterator[MetricSpec]:
    """Yield total time, mean latency and quantiles of the latency, by their descriptions."""
    docs = {"total_time_ns": total, "mean_latency_ns": mean}
    docs |= {
        f"p{p}_latency_ns": quantile.format(median if p == 50 else f"{p} %") for p in (50, 95, 99)
    }
    return (MetricSpec(name, "ns", "minimise", 1.0, doc) for name, doc in docs.items())


def _energies(
    total: str, power: str, causes: Mapping[str, str], identifies: bool | None
) -> tuple[MetricSpec, ...]:
    """Return total energy, mean power and energies by cause, by their descriptions."""
    named = {f"{cause}_energy_pj": causes[cause] for cause in ENERGY_CAUSES}
    return (
        MetricSpec("total_energy_pj", "pJ", "minimise", 1e3, total),
        MetricSpec("power_mw", "mW", "minimise", 0.1, power),
        *_counts(named, identifies, "pJ", 1e3),
    )


def _counts(
    docs: Mapping[str, str], identifies: bool | None, unit: str = "", resolution: float = 1.0
) -> Iterator[MetricSpec]:
    """Yield metrics that only explain, by their descriptions."""
    for name, doc in docs.items():
        yield MetricSpec(name, unit, "none", resolution, doc, identifies=identifies)


def objectives(has_energy: bool) -> Mapping[str, Objective]:
    """Return the objectives of a device, by name.

    Args:
      has_energy: Without energy, those that need it are absent and `balanced` leaves it out.
    """
    time = Term("total_time_ns", "minimise")
    latency = Term("mean_latency_ns", "minimise")
    energy = Term("total_energy_pj", "minimise")
    found = [
        Objective("least-time", (time,), "Least total time of the workload."),
        Objective("low-latency", (latency,), "Least mean latency of a request."),
        Objective(
            "balanced",
            (time, latency, energy) if has_energy else (time, latency),
            "Total time, mean latency and, where the device has it, energy, alike.",
        ),
    ]
    if has_energy:
        found += [
            Objective("low-power", (Term("power_mw", "minimise"),), "Least average power."),
            Objective("low-energy", (energy,), "Least energy for the whole workload."),
            # Targets of the published wrapper: 1 W and 0.1 ms.
            Objective(
                "archgym-2023",
                (
                    Term("power_mw", "archgym-2023", target=1000.0),
                    Term("total_time_ns", "archgym-2023", target=1e5),
                ),
                "The published reward: targets of 1 W and 0.1 ms, with its poles there.",
            ),
        ]
    return {objective.name: objective for objective in found}
