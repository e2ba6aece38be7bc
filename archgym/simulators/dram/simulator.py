"""The DRAM simulator: a memory controller and its memory, cycle by cycle."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np

from archgym.physics.thermal import (
    WINDOW_METRICS,
    ThermalWindow,
    package_peaks,
    power_course,
)
from archgym.simulators.dram.costs import COSTS, RELIEF
from archgym.simulators.dram.dramsys.characteristics import characterise
from archgym.simulators.dram.dramsys.devices import Device, dramsys_device_names
from archgym.simulators.dram.dramsys.kernel.bursts import Prepared, prepared
from archgym.simulators.dram.dramsys.kernel.commands import CONTROLLER_COLUMNS
from archgym.simulators.dram.dramsys.kernel.core_power import (
    core_power,
    core_power_note,
    least_power_w,
)
from archgym.simulators.dram.dramsys.kernel.relief import relieve_controllers
from archgym.simulators.dram.dramsys.mapping import (
    LAYOUTS,
    AddressMapping,
    layout,
    reference_mapping_names,
)
from archgym.simulators.dram.families import CONTROLLER, RamulatorSimulator
from archgym.simulators.dram.formats.devices import (
    extended_device,
    is_file_name,
    load_device,
    load_mapping,
)
from archgym.simulators.dram.metrics import (
    ENERGY_CAUSES,
    check_window,
    metrics,
    objectives,
)
from archgym.simulators.dram.ramulator.machine import FAMILIES, speed_bins
from archgym.simulators.dram.space import FIXED, GROUPS, SPACE_NAMES, design_space, machine_of
from archgym.simulators.dram.workloads.shipped import (
    MAX_REQUESTS,
    SHIPPED,
    load_trace,
    note_placement,
)
from archgym.simulators.dram.workloads.trace import waits_not_compared
from archgym.simulators.kit import (
    BatchResult,
    Columns,
    Files,
    KitSimulator,
    Laws,
    Option,
    Simulator,
    SimulatorSpec,
    Workload,
    declared,
    require_kept,
    unknown_name,
)
from archgym.simulators.kit.exports import stated

DEFAULT_DEVICE = "ddr3-1600"
_CONTROLLERS = ("dramsys", CONTROLLER)
# Standards whose banks can refresh one at a time; DRAMSys aborts for the others.
_PER_BANK_REFRESH = ("LPDDR4", "HBM2")
# What the kernel calls otherwise.
_KERNEL_NAMES = {"bandwidth_gb_per_s": "bandwidth_gbps", "total_energy_pj": "energy_pj"}
_require = partial(require_kept, "DRAM")


def device_names() -> tuple[str, ...]:
    """Return the names of all devices that ship, sorted."""
    return tuple(sorted((*dramsys_device_names(), *FAMILIES, *speed_bins())))


@final
class DramSimulator(KitSimulator):
    """A memory controller and its DRAM on traces of requests.

    The device decides the model. DDR3, LPDDR4, HBM2 and two DDR4 modules are those of DRAMSys 4: a
    design is the controller's policies, queues and limits and the address mapping for one module.
    DDR5, LPDDR5, HBM3, GDDR6 and DDR4 families are those of Ramulator 2.1 (`RamulatorSimulator`): a
    design is also the organisation, ranks and channels.
    """

    spec = SimulatorSpec(
        name="dram",
        title="Memory controller",
        compared="equal to DRAMSys 4 in 9,216 recorded results; not compared with silicon",
        version=1,  # every trace runs in the exact order of events
        # Measured with the benchmark's tasks; see archgym/bench/data/hardness.jsonl.
        evaluation_s=0.005,
        space_names=SPACE_NAMES,
        fidelity="exact",
        fidelity_names=("exact",),
        accuracy_percent={"exact": 0.0},
        costs=COSTS,
        relief=RELIEF,
        # On the bursts of `bursty-rw` requests wait for each other, and the bus has time to spare:
        # designs can halve the latency without loss of time or energy. Latency alone, or a workload
        # that saturates the bus, such as `cloud-1`, rewards designs that hold requests back.
        default_objective="balanced",
        default_workload="bursty-rw",
        table_space="archgym-2023",
        exports={
            "dramsys": "Simulation, address mapping, controller, memory and trace of DRAMSys 4.0."
        },
        exports_of_options={"ramulator": "device=ddr5"},
        model_reasons=(
            "the controller waits for ever: no request can be served, and none can be taken in",
        ),
        groups=GROUPS,
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        device: Annotated[
            str,
            Option(
                "Memory device; a file may be a memory specification of DRAMSys, or of our own "
                "form.",
                choices=lambda: device_names(),
                takes_file=True,
            ),
        ] = DEFAULT_DEVICE,
        address_mapping: Annotated[
            str,
            Option(
                "Address mapping, which the space then leaves out; a file may be of DRAMSys or of "
                "our own form.",
                choices=lambda: (*LAYOUTS, *reference_mapping_names()),
                takes_file=True,
            ),
        ] = "",
        addresses: Annotated[
            str,
            Option(
                "Addresses beyond the capacity: refused, or wrapped as DRAMSys does.",
                choices=("refuse", "wrap"),
            ),
        ] = "refuse",
        requests: Annotated[
            int,
            Option(
                "First requests of each trace that are sent; all by default. Few requests rank "
                "designs much as all do, in a fraction of the time.",
                low=1,
                high=MAX_REQUESTS,
            ),
        ] = 0,
        *,
        window: ThermalWindow,
    ) -> None:
        """Make the simulator of one space and device.

        Args:
          space: One of `space_names`.
          device: As its `Option` says; so do the others.
          window: Windows of power. Devices without public currents have no power.

        Raises:
          UnknownNameError: There is no such space, device or mapping.
          FileFormatError: A file cannot be used.
          InvalidArgumentError: An option is outside its limits, or the device has no power.
        """
        self._n_requests = requests
        self._wraps = addresses == "wrap"
        self._mapping: AddressMapping | None = None
        self.device: Device = load_device(device)
        # A task cites files with their digests.
        cited = {} if device == DEFAULT_DEVICE else {"device": self.device.name}
        if address_mapping:
            self._mapping = load_mapping(address_mapping, self.device)
            cited["address_mapping"] = self._mapping.name
        self._has_energy = self.device.has_energy or core_power(self.device) is not None
        note = "" if core_power(self.device) is None else core_power_note()
        self._window = window
        check_window(window.window_us, self.device.has_energy, device)
        layouts = tuple(LAYOUTS) if self._mapping is None else ()
        has_per_bank_refresh = self.device.standard in _PER_BANK_REFRESH
        self.spec = self.spec.completed(
            space=design_space(space, layouts, has_per_bank_refresh),
            # Energy of several ranks under power-down was corrected.
            version=1 + int(self.device.has_energy and self.device.n_ranks > 1),
            options={**self.options, **cited},
            metrics=(
                *metrics(self._has_energy, note, self.device.standard),
                *window.metrics,
            ),
            objectives=objectives(self._has_energy),
        )

    @classmethod
    def variant(cls, options: Mapping[str, str]) -> type[Simulator]:
        """Return the class that simulates a device: this one, or that of families.

        Raises:
          UnknownNameError: There is no such device.
        """
        device = str(options.get("device") or DEFAULT_DEVICE)
        return RamulatorSimulator if _controller_of(device) == CONTROLLER else cls

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the device holds."""
        return self.device.capacity_bytes

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship: see `archgym.simulators.dram.workloads.shipped`."""
        return tuple(SHIPPED)

    def workload(self, name: str | Path) -> Workload:
        """Return the shipped workload with this name, or the trace in the file at this path.

        Raises:
          UnknownNameError: Neither.
          FileFormatError: The file cannot be read, or reaches beyond the device's capacity.
        """
        trace = load_trace(name)
        if self._n_requests:
            trace = trace.first(self._n_requests)
        workload = Workload(trace.name, trace.digest, trace)
        # What does not fit is refused here, not at the first design.
        self._prepared(workload)
        note_placement(trace, self.capacity_bytes, self.device.name)
        return workload

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self._simulate(indices, workload)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of a memory without one of `costs`."""
        return self._simulate(indices, workload, cost)

    def _simulate(
        self, indices: np.ndarray, workload: Workload, without: str | None = None
    ) -> BatchResult:
        from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS

        outputs = self.outputs(indices, workload, without)
        shown = [s.name for s in self.spec.simulated_metrics if s not in WINDOW_METRICS]
        columns = [OUTPUTS.index(_KERNEL_NAMES.get(name, name)) for name in shown]
        reason = outputs[:, OUTPUTS.index("status")].astype(np.int16)
        if self._has_energy and without is None:
            _check_power(outputs[reason == 0], OUTPUTS, self.device)
        values = outputs[:, columns]
        if self._window.window_us:
            peaks = np.full((len(indices), len(WINDOW_METRICS)), np.nan)
            for row in np.flatnonzero(reason == 0):
                peaks[row] = self._peaks(indices[row : row + 1], workload, without)
            values = np.hstack([values, peaks])
        return BatchResult(values, reason)

    def _peaks(
        self, indices: np.ndarray, workload: Workload, without: str | None
    ) -> tuple[float, float]:
        """Return power and temperature of a design's worst window; see `package_peaks`."""
        from archgym.simulators.dram.dramsys.kernel.stepping import Run
        from archgym.simulators.dram.kernel.records import COUNTERS

        arguments = self.kernel_arguments(indices, workload, without)
        settings, window_us = arguments["controllers"][0], self._window.window_us
        watts, seconds = power_course(Run(arguments), settings, COUNTERS, window_us)
        packages = self.device.n_devices * self.device.n_ranks
        return package_peaks(watts, seconds, packages, self._window.sink_k_per_w)

    def outputs(
        self, indices: np.ndarray, workload: Workload, without: str | None = None
    ) -> np.ndarray:
        """Return everything that the model computes, also what is not a metric.

        Args:
          indices: (n_designs, n_parameters) of designs that the space allows.
          workload: The trace.
          without: One of `costs` that the memory does not pay.

        Returns:
          (n_designs, n_outputs), columns by `kernel.OUTPUTS`.
        """
        # Numba takes a while to import, which listing and describing should not wait for.
        from archgym.simulators.dram.dramsys.kernel.batch import simulate

        return simulate(**self.kernel_arguments(indices, workload, without))

    def kernel_arguments(
        self, indices: np.ndarray, workload: Workload, without: str | None = None
    ) -> dict[str, Any]:
        """Return the arguments of `kernel.simulate` for designs."""
        ready = self._prepared(workload)
        controllers = machine_of(self.space, indices)
        relieve_controllers(controllers, without)
        return {
            "controllers": controllers,
            "mapping_index": self._mapping_index(indices),
            "decoded": ready.decoded,
            "addresses": ready.bursts.addresses,
            "ticks": ready.bursts.ticks,
            "is_write": ready.bursts.is_write,
            "player_clock_ps": ready.bursts.period_ps,
            "is_relative": ready.bursts.relative,
            "device": ready.tables(without),
            "first_burst": ready.bursts.first_burst if ready.bursts.are_split else None,
            "waits": ready.bursts.waits if len(ready.bursts.waits) else None,
            "memory": self.device,
        }

    def _prepared(self, workload: Workload) -> Prepared:
        return prepared(workload.content, self.device, self._mapping, self._wraps)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results in which bursts, energy or times do not add up.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """
        column = {spec.name: values[:, i] for i, spec in enumerate(self.metrics)}
        n_bursts = len(self._prepared(workload).bursts)
        served = column["row_hits"] + column["row_misses"] + column["row_conflicts"]
        _require("row hits, misses and conflicts add up to the bursts", served, n_bursts)
        # The reference counts all bursts or all but the last, whose answer is under way.
        moved = column["bandwidth_gb_per_s"] * column["total_time_ns"] / self.device.burst_bytes
        counted = np.clip(np.round(moved), n_bursts - 1, n_bursts)
        _require("bandwidth x time is the bursts that were served", moved, counted)
        for low, high in (
            ("p50_latency_ns", "p95_latency_ns"),
            ("p95_latency_ns", "p99_latency_ns"),
            ("p99_latency_ns", "total_time_ns"),
            ("mean_latency_ns", "total_time_ns"),
        ):
            smaller = np.minimum(column[low], column[high])
            _require(f"{low} is at most {high}", column[low], smaller)
        if self._has_energy:
            causes = np.sum([column[f"{cause}_energy_pj"] for cause in ENERGY_CAUSES], axis=0)
            _require("energies by cause add up to the total", causes, column["total_energy_pj"])

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        device, bursts, time_ns = (
            self.device,
            self._prepared(workload).bursts,
            column["total_time_ns"],
        )
        clock_ns, cycles = device.clock_ps / 1e3, device.burst_length / device.data_rate
        # Pseudo channels have data pins of their own.
        buses = device.n_ranks if device.standard == "HBM2" else 1
        quickest = min(device.timing["RL"], device.timing["WL"]) + cycles
        laws: dict[str, Any] = {
            "time is the bytes over the peak bandwidth": (
                time_ns,
                len(bursts) * cycles * clock_ns / buses,
            ),
            "time is that of the last request": (time_ns, bursts.due_ps.max() / 1e3),
            "latency is that of a column command": (column["p50_latency_ns"], quickest * clock_ns),
            **self._misses(indices, column),
        }
        if self._has_energy:
            least_pj = 1e3 * least_power_w(device) * time_ns
            laws["energy is the least power times time"] = column["total_energy_pj"], least_pj
        return laws

    def _misses(self, indices: np.ndarray, column: Columns) -> dict[str, Any]:
        """Return laws of the time of bursts that found no open row."""
        device, time_ns = self.device, column["total_time_ns"]
        clock_ns, timing = device.clock_ps / 1e3, device.timing
        missed, conflicts = column["row_misses"], column["row_conflicts"]
        opening = min(timing[name] for name in ("RCD", "RCDRD", "RCDWR") if name in timing)
        opening -= timing.get("AL", 0)
        closing = timing.get("RPPB", timing.get("RP", 0))
        banks = device.n_ranks * device.n_banks
        # A buffer of one request holds one, whatever it limits; see the module `space`.
        sizes = ((int(str(d["request_buffer_size"])), d.get("scheduler_buffer"))
                 for d in map(self.space.design_at, indices))  # fmt: skip
        limited: dict[Any, int] = {"Bankwise": banks, "ReadWrite": 2}
        entries = np.array([n * limited.get(kind, 1) if n > 1 else 1 for n, kind in sizes])
        # Each was first in an activation or a precharge of its own, and precharges follow
        # activations. A bank's activations are a row cycle apart.
        opened = np.maximum(missed, conflicts) - banks
        cycle = timing.get("RC", timing["RAS"] + closing)
        return {
            # It stays in the buffer from its first command to its column command.
            "time is the row misses' latency over the entries of the buffer": (
                time_ns, (missed * opening + conflicts * (closing + opening)) * clock_ns / entries
            ),
            "time is the rows that were opened over the banks": (
                time_ns, opened * cycle * clock_ns / banks
            ),
        }  # fmt: skip

    def not_compared(self, workload: Workload) -> str:
        """Return what of a workload no other tool was compared on, in words; "" for nothing."""
        return waits_not_compared(workload.content)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of the trace on the device: name to (value, unit)."""
        return characterise(workload.content, self.device, self._wraps).rows()

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design as files of DRAMSys.

        Raises:
          InvalidDesignError: The tool cannot express the design or the workload.
        """
        from archgym.simulators.dram.formats.export import dramsys_files

        controller, mapping = self._controller(indices)
        metrics = stated(self, indices, workload)
        return dramsys_files(controller, mapping, self.device, workload.content, metrics)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what files of DRAMSys say of a design; see `Stating.file_settings`."""
        from archgym.simulators.dram.formats.export import dramsys_settings

        return dramsys_settings(*self._controller(indices), self.device)

    def _controller(self, indices: np.ndarray) -> tuple[dict[str, Any], AddressMapping]:
        """Return the controller's settings of a design, and its address mapping."""
        design = self.space.design_at(indices)
        controller = {name: design.get(name, FIXED.get(name)) for name in CONTROLLER_COLUMNS}
        name = str(design.get("address_mapping", next(iter(LAYOUTS))))
        return controller, self._mapping or layout(name, self.device)

    def _mapping_index(self, indices: np.ndarray) -> np.ndarray:
        """Return (n,) int64, the designs' rows of the decoded trace."""
        if "address_mapping" not in self.space.names:
            return np.zeros(len(indices), dtype=np.int64)
        # The parameter's choices are LAYOUTS in their order.
        return indices[:, self.space.names.index("address_mapping")]


def _controller_of(device: str) -> str:
    """Return the controller whose model has a device.

    Raises:
      UnknownNameError: Neither controller has it.
      FileFormatError: It is a file that is not a device.
    """
    if device in FAMILIES or device in speed_bins():
        return CONTROLLER
    if device not in dramsys_device_names() and not is_file_name(device):
        raise unknown_name("device", device, device_names())
    return CONTROLLER if extended_device(device) in FAMILIES else _CONTROLLERS[0]


def _check_power(outputs: np.ndarray, names: tuple[str, ...], device: Device) -> None:
    column = {name: outputs[:, i] for i, name in enumerate(names)}
    accounted_ns = column["accounted_cycles"] * (1000.0 / device.clock_mhz)
    _require(
        "power x accounted time is energy", column["power_mw"] * accounted_ns, column["energy_pj"]
    )
