"""The DRAM simulator on devices that Ramulator 2.1 has: their organisation is part of a design."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np

from archgym.physics.thermal import (
    WINDOW_METRICS,
    ThermalWindow,
    package_peaks,
    power_course,
)
from archgym.simulators.dram.costs import COSTS
from archgym.simulators.dram.formats.devices import cite_file, load_standard
from archgym.simulators.dram.kernel.clocks import distance
from archgym.simulators.dram.kernel.currents import energies_pj
from archgym.simulators.dram.metrics import (
    ENERGY_CAUSES,
    PJ_PER_BIT,
    check_window,
    family_metrics,
    objectives,
)
from archgym.simulators.dram.ramulator.kernel.run import (
    Bursts,
    Configuration,
    Outcome,
    bursts_of,
    run,
)
from archgym.simulators.dram.ramulator.machine import (
    FAMILIES,
    Standard,
    currents_note,
    has_energy,
    power_of,
    speed_bins,
    with_speed_bin,
)
from archgym.simulators.dram.space import FAMILY_GROUPS, family_machine_of, family_space
from archgym.simulators.dram.workloads.shipped import (
    MAX_REQUESTS,
    SHIPPED,
    load_trace,
    note_placement,
)
from archgym.simulators.dram.workloads.trace import Trace, waits_not_compared
from archgym.simulators.kit import (
    Columns,
    FileFormatError,
    Files,
    InvalidArgumentError,
    Laws,
    Option,
    RowSimulator,
    Simulator,
    SimulatorSpec,
    Workload,
    declared,
    require_kept,
    unrestricted,
)
from archgym.simulators.kit.exports import stated

DEFAULT_FAMILY: Final = "ddr5"
CONTROLLER: Final = "ramulator"

_LIVELOCK: Final = (
    "the controller livelocks: a request whose row the row policy closed is never served"
)
_CAPACITY: Final = (
    "the workload's addresses exceed the capacity of organisation, ranks and channels"
)
_SCATTER: Final = "the scattered refreshes of all ranks do not fit into one refresh interval"

# chosen: times of requests in the trace of a run are whole tenths of a nanosecond.
_TRACE_MHZ, _TRACE_PS = 10_000, 100
_PERCENTS: Final = (50, 95, 99)
_require = partial(require_kept, "DRAM")


def require_ticks(memory: Simulator) -> None:
    """Refuse a memory whose controllers do not advance by ticks, as compositions need.

    Raises:
      InvalidArgumentError: It is one of DRAMSys' devices.
    """
    if not isinstance(unrestricted(memory), RamulatorSimulator):
        raise InvalidArgumentError(
            f"`dram.device` must be {', '.join(FAMILIES)} or one of their speed bins; got a device "
            "of DRAMSys."
        )


def requests_of(name: str, runs: Iterable[tuple[Outcome, np.ndarray, np.ndarray]]) -> Workload:
    """Return the requests of runs, one run after the other, as a workload of this simulator.

    Args:
      name: Name of the workload.
      runs: Outcome of each, and which of its requests write and their addresses, (n,) each.
    """
    start, columns = 0, []
    for outcome, is_write, addresses in runs:
        ticks = (start + outcome.due * outcome.tick_ps) // _TRACE_PS
        columns.append((ticks, is_write, addresses))
        start += outcome.ticks * outcome.tick_ps
    ticks, is_write, addresses = (np.concatenate(each) for each in zip(*columns, strict=True))
    trace = Trace(name, ticks, is_write, addresses, clock_mhz=_TRACE_MHZ)
    return Workload(trace.name, trace.digest, trace)


@final
class RamulatorSimulator(RowSimulator):
    """Memory controllers and a device family on traces of requests, as in Ramulator 2.1.

    `DramSimulator.variant` chooses this class for its devices. A design is the controllers'
    settings and the memory's organisation, ranks, channels and, where the device is a family,
    speed bin.

    Attributes:
      made: The device family, or what a file makes of it.
      device: Name of the device, or a file's path with the start of its digest.
    """

    spec = SimulatorSpec(
        name="dram",
        compared="equal to Ramulator 2.1 in every command; not compared with silicon",
        # the first tick decides the write mode of idle channels
        version=1,
        fidelity="exact",
        fidelity_names=("exact",),
        accuracy_percent={"exact": 0.0},
        costs=COSTS,
        relief={
            "rows": ("address_mapping", "scheduler"),
            "activation-rate": ("address_mapping", "scheduler"),
            "turnaround": ("scheduler",),
        },
        default_objective="balanced",
        default_workload="kv-cache-gather",
        exports={"ramulator": "Memory of Ramulator 2.1, requests, and a driver that sends them."},
        exports_of_options={"dramsys": "device=ddr4-2400"},
        model_reasons=(_LIVELOCK, _CAPACITY, _SCATTER),
        groups=FAMILY_GROUPS,
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        device: Annotated[
            str,
            Option(
                "Family such as `ddr5`, one of its speed bins such as `ddr5-4800bn`, or a file of "
                "own speed bins and organisations.",
                choices=lambda: (*FAMILIES, *speed_bins()),
                takes_file=True,
            ),
        ] = DEFAULT_FAMILY,
        requests: Annotated[
            int,
            Option(
                "First requests of each trace that are sent; all by default.",
                low=1,
                high=MAX_REQUESTS,
            ),
        ] = 0,
        *,
        window: ThermalWindow,
    ) -> None:
        """Make the simulator of one device.

        Args:
          space: One of `space_names`.
          device: As its `Option` says; so do the others.
          window: Windows of power. Devices without public currents have no power.

        Raises:
          UnknownNameError: There is no such space or device.
          FileFormatError: The file cannot be used.
          InvalidArgumentError: An option is outside its limits, or the device has no power.
        """
        self._n_requests = requests
        self.made, self.device = _load(device)
        is_powered = has_energy(self.made)
        note = currents_note(self.made) if is_powered else None
        self._window = window
        check_window(window.window_us, is_powered, device)
        aims = {n: aim for n, aim in objectives(is_powered).items() if n != "archgym-2023"}
        self.spec = self.spec.completed(
            space=family_space(self.made),
            options={**self.options, "device": self.device},
            metrics=(
                *family_metrics(self.made.family, note),
                *window.metrics,
            ),
            objectives=aims,
        )
        sizes = {o.burst_bytes for o in self.made.organisations.values()}
        if len(sizes) > 1:
            raise FileFormatError(
                self.made.path or device,
                None,
                f"all organisations must have bursts of one size; got {sorted(sizes)} bytes",
                "Put organisations of other bursts into a file of their own",
            )
        self.burst_bytes: int = sizes.pop()

    @property
    def capacity_bytes(self) -> int:
        """Bytes that all channels and ranks of the default design hold."""
        c = self.configuration(self.space.design_at(self.space.default_indices))
        return self.made.organisations[c.organisation].channel_bytes(c.ranks) * c.channels

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship: see `archgym.simulators.dram.workloads.shipped`."""
        return tuple(SHIPPED)

    def workload(self, name: str | Path) -> Workload:
        """Return the shipped workload with this name, or the trace in the file at this path.

        Raises:
          UnknownNameError: Neither.
          FileFormatError: The file cannot be read.
          InvalidArgumentError: The trace reaches beyond the largest capacity.
        """
        trace = load_trace(name)
        if self._n_requests:
            trace = trace.first(self._n_requests)
        # What no design holds is refused here, not at the first design.
        needed = bursts_of(trace, self.burst_bytes).end_address
        largest = max(
            o.channel_bytes(2 if "Rank" in self.made.levels else 1) * 8
            for o in self.made.organisations.values()
        )
        if needed > largest:
            raise InvalidArgumentError(
                f"Trace {trace.name!r} must stay below {largest:#x}, the largest capacity of "
                f"family {self.made.name!r}; it reaches {needed:#x}. Move its addresses."
            )
        note_placement(trace, self.capacity_bytes, self.device)
        return Workload(trace.name, trace.digest, trace)

    def configuration(self, design: Mapping[str, object]) -> Configuration:
        """Return the controller's configuration of a design."""
        return family_machine_of(self.made, design)

    def opened(self, workload: Workload) -> Bursts:
        """Return the bursts of a trace."""
        return bursts_of(workload.content, self.burst_bytes)

    def measure(self, indices: np.ndarray, opened: Bursts, cost: str | None) -> np.ndarray | str:
        """Return the metrics of one design, or why it cannot be built."""
        c = self.configuration(self.space.design_at(indices))
        reason = self.refusal(c, opened.end_address)
        found = None if reason else self.results(c, opened, cost)
        if found is None:
            return reason or _LIVELOCK
        if self._window.window_us:
            peaks = self._peaks(c, opened, cost)
            found |= dict(zip((spec.name for spec in WINDOW_METRICS), peaks, strict=True))
        return np.array([found[spec.name] for spec in self.spec.simulated_metrics])

    def _peaks(self, c: Configuration, bursts: Bursts, without: str | None) -> tuple[float, float]:
        """Return power and temperature of the worst window; see `package_peaks`."""
        from archgym.simulators.dram.kernel.records import COUNTERS
        from archgym.simulators.dram.ramulator.kernel.stepping import Run

        run = Run(self.made, c, bursts.requests, without)
        watts, seconds = power_course(run, c, COUNTERS, self._window.window_us)
        packages = self.made.organisations[c.organisation].n_devices * c.ranks * c.channels
        return package_peaks(watts, seconds, packages, self._window.sink_k_per_w)

    def results(
        self, c: Configuration, bursts: Bursts, without: str | None = None
    ) -> dict[str, float] | None:
        """Return the metrics of any configuration of the family, or None if it livelocks."""
        outcome = run(self.made, c, bursts.requests, without)
        return None if outcome.is_stuck else self._measure(c, bursts, outcome)

    def refusal(self, c: Configuration, end_address: int = 0) -> str:
        """Return the entry of `model_reasons` why a configuration cannot be built; empty if it can.

        Args:
          c: The controllers and their memory.
          end_address: One above the highest byte that it has to hold.
        """
        organisation = self.made.organisations[c.organisation]
        if end_address > organisation.channel_bytes(c.ranks) * c.channels:
            return _CAPACITY
        if c.refresh == "AllBank" and c.scatter_interval:
            refi = self.made.bins[c.timing].values(c.organisation)["nREFI"]
            n_scopes = c.ranks if "Rank" in self.made.levels else 1
            n_scopes *= organisation.sizes.get("PseudoChannel", 1)
            if c.scatter_interval * n_scopes > refi * self.made.ticks_per_clock:
                return _SCATTER
        return ""

    def _measure(self, c: Configuration, bursts: Bursts, outcome: Outcome) -> dict[str, float]:
        """Return the metrics of a run by name."""
        done = np.maximum.reduceat(outcome.depart, bursts.first)
        return self.measures(c, done - outcome.due[bursts.first], bursts.is_write, outcome)

    def measures(
        self, c: Configuration, late: np.ndarray, is_write: np.ndarray, outcome: Outcome
    ) -> dict[str, float]:
        """Return the metrics of a run by name.

        Args:
          c: The controllers.
          late: (n_requests,), latency of each request that is done [ticks].
          is_write: (n_requests,) bool.
          outcome: The run, of all bursts.
        """
        organisation = self.made.organisations[c.organisation]
        tick_ns = outcome.tick_ps / 1000.0
        time_ns = outcome.ticks * tick_ns
        # A workload of writes alone has no read latency; its writes' stand in for it.
        reads = late if is_write.all() else late[~is_write]
        # A core whose caches hold everything sends no request.
        ranked = np.sort(reads) if len(reads) else np.zeros(1, dtype=np.int64)
        n = len(ranked)
        n_bytes = len(outcome.due) * self.burst_bytes
        pins = c.channels * organisation.channel_width * organisation.sizes.get("PseudoChannel", 1)
        rate = self.made.bins[c.timing].values(c.organisation)["rate"]
        bandwidth = n_bytes / time_ns
        commands = outcome.commands
        found = {
            "total_time_ns": time_ns,
            "mean_latency_ns": float(ranked.mean()) * tick_ns,
            **{
                f"p{p}_latency_ns": float(ranked[-(-n * p // 100) - 1]) * tick_ns for p in _PERCENTS
            },
            "bandwidth_gb_per_s": bandwidth,
            "bandwidth_percent": 100.0 * bandwidth / (pins * rate / 8000.0),
            "data_pins": float(pins),
            "capacity_mib": organisation.channel_bytes(c.ranks) * c.channels / 2**20,
            "row_hits": float(outcome.counts["hits"]),
            "row_misses": float(outcome.counts["misses"]),
            "row_conflicts": float(outcome.counts["conflicts"]),
            "forwarded": float(outcome.counts["forwarded"]),
            "coalesced": float(outcome.counts["coalesced"]),
            "refreshes": float(commands["REFab"] + commands.get("REFpb", 0)),
        }
        if not has_energy(self.made):
            usual = PJ_PER_BIT[self.made.family.upper()][1]
            found["estimated_energy_pj"] = 8.0 * n_bytes * usual
            return found
        power = power_of(self.made, c.organisation, c.timing)
        energies = energies_pj(power, outcome.bank_accounts, outcome.rank_accounts, outcome.ticks)
        found |= {f"{cause}_energy_pj": energy for cause, energy in energies.items()}
        found["total_energy_pj"] = sum(energies.values())
        found["power_mw"] = found["total_energy_pj"] / time_ns
        return found

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results in which bursts, latencies or energies do not add up.

        Raises:
          SimulatorError: An invariant is broken; the message says which one and by how much.
        """
        column = {spec.name: values[:, i] for i, spec in enumerate(self.metrics)}
        n_bursts = len(bursts_of(workload.content, self.burst_bytes).requests.time_ps)
        names = ("row_hits", "row_misses", "row_conflicts", "forwarded", "coalesced")
        served = np.sum([column[name] for name in names], axis=0)
        _require("outcomes add up to the bursts", served, n_bursts)
        moved = column["bandwidth_gb_per_s"] * column["total_time_ns"] / self.burst_bytes
        _require("bandwidth x time is the bursts", moved, n_bursts)
        for low, high in (("p50", "p95"), ("p95", "p99")):
            smaller = np.minimum(column[f"{low}_latency_ns"], column[f"{high}_latency_ns"])
            _require(f"{low} is at most {high}", column[f"{low}_latency_ns"], smaller)
        if has_energy(self.made):
            causes = np.sum([column[f"{cause}_energy_pj"] for cause in ENERGY_CAUSES], axis=0)
            _require("energies by cause add up to the total", causes, column["total_energy_pj"])

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        bursts, time_ns = bursts_of(workload.content, self.burst_bytes), column["total_time_ns"]
        configurations = [self.configuration(self.space.design_at(row)) for row in indices]
        burst_ns, read_ns, standby_mw = np.array([self.limits(c) for c in configurations]).T
        banks, row_ns = np.array([self._row_cycle(c) for c in configurations]).T
        n = len(bursts.requests.time_ps) - column["forwarded"] - column["coalesced"]
        read = 1.0 - column["forwarded"] / max(1, np.count_nonzero(~bursts.is_write))
        laws: dict[str, Any] = {
            "time is the bytes over the peak bandwidth": (time_ns, n * burst_ns),
            "time is that of the last request": (time_ns, bursts.requests.time_ps.max() / 1e3),
            # Each miss was an activation first, each conflict a precharge, which follows one.
            "time is the rows that were opened over the banks": (
                time_ns, (np.maximum(column["row_misses"], column["row_conflicts"]) / banks - 1.0)
                * row_ns
            ),
        }  # fmt: skip
        if not bursts.is_write.all():
            laws["latency is the device's"] = column["mean_latency_ns"], read * read_ns
        if has_energy(self.made):
            least_pj = standby_mw * time_ns
            laws["energy is standby power times time"] = column["total_energy_pj"], least_pj
        return laws

    def limits(self, c: Configuration) -> tuple[float, float, float]:
        """Return time of a burst on all data pins, of a read [ns], and standby power [mW]."""
        organisation, values = (
            self.made.organisations[c.organisation],
            self.made.bins[c.timing].values(c.organisation),
        )
        clock_ns = self.made.tick_ps(c.timing) * self.made.ticks_per_clock / 1e3
        buses = c.channels * organisation.sizes.get("PseudoChannel", 1)
        burst = values["nBL"] if "nBL" in values else values["nBL_min"]
        read = distance(self.made.read_latency, values)
        standby = 0.0
        if has_energy(self.made):
            supplies = power_of(self.made, c.organisation, c.timing).supplies
            chips = organisation.n_devices * c.ranks * c.channels
            standby = 1e3 * chips * sum(each.voltage * each.current["2n"] for each in supplies)
        return burst * clock_ns / buses, read * clock_ns, standby

    def _row_cycle(self, c: Configuration) -> tuple[int, float]:
        """Return the banks of all channels, and the time between activations of one [ns]."""
        sizes = self.made.organisations[c.organisation].sizes
        levels = [size for level, size in sizes.items() if level not in ("Row", "Column")]
        cycles = self.made.bins[c.timing].values(c.organisation)["nRC"]
        clock_ns = self.made.tick_ps(c.timing) * self.made.ticks_per_clock / 1e3
        return c.channels * c.ranks * math.prod(levels), cycles * clock_ns

    def not_compared(self, workload: Workload) -> str:
        """Return what of a workload no other tool was compared on, in words; "" for nothing."""
        return waits_not_compared(workload.content)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return the properties of a trace: name to (value, unit)."""
        bursts = bursts_of(workload.content, self.burst_bytes)
        requests = bursts.requests
        n_bytes = len(requests.addresses) * self.burst_bytes
        duration_ns = float(requests.time_ps.max()) / 1000.0
        asked = n_bytes / duration_ns if duration_ns > 0 else 0.0
        waiting = int((workload.content.waits_for >= 0).sum())
        return {
            "requests": (float(len(bursts.first)), ""),
            **({"waiting requests": (float(waiting), "")} if waiting else {}),
            "bursts": (float(len(requests.addresses)), ""),
            "reads": (100.0 * float(np.mean(~bursts.is_write)), "%"),
            "end address": (bursts.end_address / 2**20, "MiB"),
            "distinct bursts": (float(int(requests.address_numbers.max()) + 1), ""),
            "duration if never delayed": (duration_ns, "ns"),
            "bandwidth if never delayed": (asked, "GB/s"),
        }

    def expressible(self, form: str) -> Mapping[str, tuple[Any, ...]]:
        """Return the values that a format can express, by parameter that it lacks some of."""
        from archgym.simulators.dram.formats.export import OWN_BINS

        if "speed_bin" not in self.space.names:
            return {}
        bins = self.space.parameter("speed_bin")
        known = (bins.value(index) for index in range(bins.size))
        return {"speed_bin": tuple(name for name in known if name not in OWN_BINS)}

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design as a memory of Ramulator 2.1, with its requests and a driver.

        Raises:
          InvalidDesignError: Ramulator cannot express the design.
        """
        from archgym.simulators.dram.formats.export import ramulator_files

        configuration = self.configuration(self.space.design_at(indices))
        bursts = self.opened(workload)
        metrics = stated(self, indices, workload)
        return ramulator_files(
            configuration, self.made, workload.name, bursts.requests, bursts.first, metrics
        )

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what `memory.py` says of a memory; see `Stating.file_settings`."""
        from archgym.simulators.dram.formats.export import ramulator_memory
        from archgym.simulators.kit.exports import python_settings

        configuration = self.configuration(self.space.design_at(indices))
        return python_settings(ramulator_memory(configuration, self.made))


def _load(device: str) -> tuple[Standard, str]:
    """Return a device's family, and the name under which a task cites the device.

    A user's file is cited with the first 16 digits of its SHA-256 after `#`; a changed file is
    refused under the old name.
    """
    if device in FAMILIES:
        return load_standard(device), device
    if device in speed_bins():
        return with_speed_bin(*speed_bins()[device]), device
    made = load_standard(device.partition("#")[0])
    return made, cite_file(device)[1]
