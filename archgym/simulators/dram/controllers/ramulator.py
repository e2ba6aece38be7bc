"""Controllers of Ramulator 2.1 with a device family, whose organisation is part of a design."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, final

import numpy as np

from archgym.physics.thermal import WINDOW_METRICS, ThermalWindow
from archgym.simulators.dram.controllers.controller import (
    Controller,
    check_causes,
    require,
    worst_window,
)
from archgym.simulators.dram.costs import FAMILY_RELIEF
from archgym.simulators.dram.formats.devices import cite_file
from archgym.simulators.dram.formats.families import load_standard
from archgym.simulators.dram.kernel.clocks import distance
from archgym.simulators.dram.kernel.currents import energies_pj
from archgym.simulators.dram.metrics import PJ_PER_BIT, check_window, family_metrics, objectives
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
from archgym.simulators.dram.ramulator.space import FAMILY_GROUPS, family_machine_of, family_space
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import (
    BatchResult,
    Columns,
    DesignSpace,
    FileFormatError,
    Files,
    InvalidArgumentError,
    Laws,
    Metrics,
    Simulator,
    SimulatorSpec,
    Workload,
    unknown_name,
    unrestricted,
)

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


@final
class RamulatorController(Controller):
    """Controllers of Ramulator, one a channel, with a device family or one of its speed bins.

    A design is the controllers' settings and the memory's organisation, ranks, channels and, where
    the device is a family, speed bin.

    Attributes:
      made: The device family, or what a file makes of it.
      name: Name of the device, or a file's path with the start of its digest.
      burst_bytes: Bytes of a burst.
    """

    def __init__(self, device: str, window: ThermalWindow) -> None:
        """Make the controllers of a device.

        Args:
          device: Name of the device, or a file.
          window: Windows of power.

        Raises:
          UnknownNameError: There is no such device.
          FileFormatError: The file cannot be used.
          InvalidArgumentError: The device has no power to observe.
        """
        self.made, self.name = _load(device)
        self.cited = {"device": self.name}
        self._window = window
        self.has_energy = has_energy(self.made)
        check_window(window.window_us, self.has_energy, device)
        sizes = {o.burst_bytes for o in self.made.organisations.values()}
        if len(sizes) > 1:
            raise FileFormatError(
                self.made.path or device,
                None,
                f"all organisations must have bursts of one size; got {sorted(sizes)} bytes",
                "Put organisations of other bursts into a file of their own",
            )
        self.burst_bytes: int = sizes.pop()
        space = family_space(self.made)
        c = self.configuration(space.design_at(space.default_indices))
        self.capacity_bytes = self._bytes(c)

    def declared(self, spec: SimulatorSpec, space: str) -> SimulatorSpec:
        """Return the declaration for the device; see `Controller.declared`."""
        if space != "default":
            what = f"space of simulator {spec.name!r} with device={self.name}"
            error = unknown_name(what, space, ("default",))
            error.choice = "space"
            raise error
        note = currents_note(self.made) if self.has_energy else None
        aims = {n: aim for n, aim in objectives(self.has_energy).items() if n != "archgym-2023"}
        return replace(
            spec,
            compared="equal to Ramulator 2.1 in every command; not compared with silicon",
            space_names=("default",),
            # chosen: rough, since channels and traces differ; searches of families rest on it.
            evaluation_s=1.0,
            relief=FAMILY_RELIEF,
            default_workload="kv-cache-gather",
            table_space=None,
            exports={
                "ramulator": "Memory of Ramulator 2.1, requests, and a driver that sends them."
            },
            exports_of_options={"dramsys": "device=ddr4-2400"},
            model_reasons=(_LIVELOCK, _CAPACITY, _SCATTER),
            groups=FAMILY_GROUPS,
        ).completed(
            space=family_space(self.made),
            metrics=(*family_metrics(self.made.family, note), *self._window.metrics),
            objectives=aims,
        )

    def require_room(self, trace: Trace) -> None:
        """Refuse a trace that no design holds; see `Controller.require_room`."""
        needed = self.bursts(trace).end_address
        largest = max(
            o.channel_bytes(2 if "Rank" in self.made.levels else 1) * 8
            for o in self.made.organisations.values()
        )
        if needed > largest:
            raise InvalidArgumentError(
                f"Trace {trace.name!r} must stay below {largest:#x}, the largest capacity of "
                f"family {self.made.name!r}; it reaches {needed:#x}. Move its addresses."
            )

    def configuration(self, design: Mapping[str, object]) -> Configuration:
        """Return the controllers and the memory of a design."""
        return family_machine_of(self.made, design)

    def bursts(self, trace: Trace) -> Bursts:
        """Return the bursts of a trace."""
        return bursts_of(trace, self.burst_bytes)

    def simulate(
        self, spec: SimulatorSpec, indices: np.ndarray, trace: Trace, without: str | None
    ) -> BatchResult:
        """Return results of designs; see `Controller.simulate`."""
        bursts, names = self.bursts(trace), [each.name for each in spec.simulated_metrics]
        values = np.full((len(indices), len(names)), np.nan)
        reason = np.zeros(len(indices), dtype=np.int16)
        for row, design in enumerate(spec.space.designs(indices)):
            c = self.configuration(design)
            refusal = self.refusal(c, bursts.end_address)
            found = None if refusal else self.results(c, bursts, without)
            if found is None:
                reason[row] = spec.reasons.index(refusal or _LIVELOCK)
                continue
            if self._window.window_us:
                peaks = self._peaks(c, bursts, without)
                found |= dict(zip((each.name for each in WINDOW_METRICS), peaks, strict=True))
            values[row] = [found[name] for name in names]
        return BatchResult(values, reason)

    def _peaks(self, c: Configuration, bursts: Bursts, without: str | None) -> tuple[float, float]:
        """Return power and temperature of a design's worst window."""
        from archgym.simulators.dram.ramulator.kernel.stepping import Run

        packages = self.made.organisations[c.organisation].n_devices * c.ranks * c.channels
        return worst_window(Run(self.made, c, bursts.requests, without), c, packages, self._window)

    def results(
        self, c: Configuration, bursts: Bursts, without: str | None = None
    ) -> dict[str, float] | None:
        """Return the metrics of any configuration of the family, or None if it livelocks."""
        outcome = run(self.made, c, bursts.requests, without)
        return None if outcome.is_stuck else self.metrics_of(c, bursts, outcome)

    def refusal(self, c: Configuration, end_address: int = 0) -> str:
        """Return the entry of `model_reasons` why a configuration cannot be built; empty if it can.

        Args:
          c: The controllers and their memory.
          end_address: One above the highest byte that it has to hold.
        """
        organisation = self.made.organisations[c.organisation]
        if end_address > self._bytes(c):
            return _CAPACITY
        if c.refresh == "AllBank" and c.scatter_interval:
            refi = self.made.bins[c.timing].values(c.organisation)["nREFI"]
            n_scopes = c.ranks if "Rank" in self.made.levels else 1
            n_scopes *= organisation.sizes.get("PseudoChannel", 1)
            if c.scatter_interval * n_scopes > refi * self.made.ticks_per_clock:
                return _SCATTER
        return ""

    def metrics_of(self, c: Configuration, bursts: Bursts, outcome: Outcome) -> dict[str, float]:
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
            "capacity_mib": self._bytes(c) / 2**20,
            "row_hits": float(outcome.counts["hits"]),
            "row_misses": float(outcome.counts["misses"]),
            "row_conflicts": float(outcome.counts["conflicts"]),
            "forwarded": float(outcome.counts["forwarded"]),
            "coalesced": float(outcome.counts["coalesced"]),
            "refreshes": float(commands["REFab"] + commands.get("REFpb", 0)),
        }
        if not self.has_energy:
            usual = PJ_PER_BIT[self.made.family.upper()][1]
            found["estimated_energy_pj"] = 8.0 * n_bytes * usual
            return found
        power = power_of(self.made, c.organisation, c.timing)
        energies = energies_pj(power, outcome.bank_accounts, outcome.rank_accounts, outcome.ticks)
        found |= {f"{cause}_energy_pj": energy for cause, energy in energies.items()}
        found["total_energy_pj"] = sum(energies.values())
        found["power_mw"] = found["total_energy_pj"] / time_ns
        return found

    def check(self, column: Columns, trace: Trace) -> None:
        """Refuse results that do not add up; see `Controller.check`."""
        n_bursts = len(self.bursts(trace).requests.time_ps)
        names = ("row_hits", "row_misses", "row_conflicts", "forwarded", "coalesced")
        served = np.sum([column[name] for name in names], axis=0)
        require("outcomes add up to the bursts", served, n_bursts)
        moved = column["bandwidth_gb_per_s"] * column["total_time_ns"] / self.burst_bytes
        require("bandwidth x time is the bursts", moved, n_bursts)
        if self.has_energy:
            check_causes(column)

    def laws(self, space: DesignSpace, indices: np.ndarray, column: Columns, trace: Trace) -> Laws:
        """Return laws of conservation for evaluated designs; see `Controller.laws`."""
        bursts, time_ns = self.bursts(trace), column["total_time_ns"]
        configurations = [self.configuration(space.design_at(row)) for row in indices]
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
        if self.has_energy:
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
        if self.has_energy:
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

    def _bytes(self, c: Configuration) -> int:
        """Return the capacity of a configuration."""
        return self.made.organisations[c.organisation].channel_bytes(c.ranks) * c.channels

    def facts(self, trace: Trace) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of a trace; see `Controller.facts`."""
        bursts = self.bursts(trace)
        requests = bursts.requests
        n_bytes = len(requests.addresses) * self.burst_bytes
        duration_ns = float(requests.time_ps.max()) / 1000.0
        asked = n_bytes / duration_ns if duration_ns > 0 else 0.0
        waiting = int((trace.waits_for >= 0).sum())
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

    def expressible(self, space: DesignSpace) -> Mapping[str, Sequence[Any]]:
        """Return the speed bins that Ramulator has; see `Controller.expressible`."""
        from archgym.simulators.dram.formats.export import OWN_BINS

        if "speed_bin" not in space.names:
            return {}
        bins = space.parameter("speed_bin")
        known = (bins.value(index) for index in range(bins.size))
        return {"speed_bin": tuple(name for name in known if name not in OWN_BINS)}

    def files(
        self, space: DesignSpace, indices: np.ndarray, workload: Workload, metrics: Metrics
    ) -> Files:
        """Return a design as a memory of Ramulator with its requests; see `Controller.files`."""
        from archgym.simulators.dram.formats.export import ramulator_files

        configuration = self.configuration(space.design_at(indices))
        bursts = self.bursts(workload.content)
        return ramulator_files(
            configuration, self.made, workload.name, bursts.requests, bursts.first, metrics
        )

    def settings(self, space: DesignSpace, indices: np.ndarray) -> Mapping[str, Any]:
        """Return what `memory.py` says of a memory; see `Controller.settings`."""
        from archgym.simulators.dram.formats.export import ramulator_memory
        from archgym.simulators.kit.exports import python_settings

        configuration = self.configuration(space.design_at(indices))
        return python_settings(ramulator_memory(configuration, self.made))


def controllers_of(memory: Simulator) -> RamulatorController:
    """Return the controllers of a memory, which advance by ticks, as compositions need.

    Raises:
      InvalidArgumentError: It is one of DRAMSys' devices.
    """
    found = getattr(unrestricted(memory), "controller", None)
    if not isinstance(found, RamulatorController):
        raise InvalidArgumentError(
            f"`dram.device` must be {', '.join(FAMILIES)} or one of their speed bins; got a device "
            "of DRAMSys."
        )
    return found


def requests_of(name: str, runs: Iterable[tuple[Outcome, np.ndarray, np.ndarray]]) -> Workload:
    """Return the requests of runs, one run after the other, as a workload of the simulator.

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
