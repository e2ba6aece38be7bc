"""Controllers of DRAMSys 4: DDR3, LPDDR4, HBM2 and two modules of DDR4."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import numpy as np

from archgym.physics.thermal import WINDOW_METRICS, ThermalWindow
from archgym.simulators.dram.controllers.controller import (
    Controller,
    check_causes,
    check_order,
    require,
    worst_window,
)
from archgym.simulators.dram.dramsys.devices import Device, dramsys_device_names
from archgym.simulators.dram.dramsys.kernel.bursts import Prepared, prepared
from archgym.simulators.dram.dramsys.kernel.commands import CONTROLLER_COLUMNS
from archgym.simulators.dram.dramsys.kernel.core_power import (
    core_power,
    core_power_note,
    least_power_w,
)
from archgym.simulators.dram.dramsys.kernel.relief import relieve_controllers
from archgym.simulators.dram.dramsys.mapping import LAYOUTS, AddressMapping, layout
from archgym.simulators.dram.formats.devices import load_device, load_mapping
from archgym.simulators.dram.metrics import check_window, metrics, objectives
from archgym.simulators.dram.space import FIXED, design_space, machine_of
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import (
    BatchResult,
    Columns,
    DesignSpace,
    Files,
    InvalidArgumentError,
    Laws,
    Metrics,
    Simulator,
    SimulatorSpec,
    Workload,
    unrestricted,
)

# Standards whose banks can refresh one at a time; DRAMSys aborts for the others.
_PER_BANK_REFRESH: Final = ("LPDDR4", "HBM2")
# What the kernel calls otherwise.
_KERNEL_NAMES: Final = {"bandwidth_gb_per_s": "bandwidth_gbps", "total_energy_pj": "energy_pj"}


@final
class DramsysController(Controller):
    """A controller of DRAMSys with one module.

    Attributes:
      device: The module.
    """

    def __init__(
        self, device: str, address_mapping: str, wraps: bool, window: ThermalWindow
    ) -> None:
        """Make the controller of a device.

        Args:
          device: Name of the device, or a file.
          address_mapping: Mapping that all designs have; "" where designs choose it.
          wraps: True if addresses beyond the capacity wrap.
          window: Windows of power.

        Raises:
          UnknownNameError: There is no such device or mapping.
          FileFormatError: A file cannot be used.
          InvalidArgumentError: The device has no power to observe.
        """
        self.device: Device = load_device(device)
        self._mapping: AddressMapping | None = None
        self.cited = {"device": self.device.name}
        if address_mapping:
            self._mapping = load_mapping(address_mapping, self.device)
            self.cited["address_mapping"] = self._mapping.name
        self._wraps, self._window = wraps, window
        self.has_energy = self.device.has_energy or core_power(self.device) is not None
        self.capacity_bytes = self.device.capacity_bytes
        check_window(window.window_us, self.device.has_energy, device)

    def declared(self, spec: SimulatorSpec, space: str) -> SimulatorSpec:
        """Return the declaration for the device; see `Controller.declared`."""
        device = self.device
        note = "" if core_power(device) is None else core_power_note()
        layouts = tuple(LAYOUTS) if self._mapping is None else ()
        return spec.completed(
            space=design_space(space, layouts, device.standard in _PER_BANK_REFRESH),
            # Energy of several ranks under power-down was corrected.
            version=1 + int(device.has_energy and device.n_ranks > 1),
            metrics=(
                *metrics(self.has_energy, note, device.standard),
                *self._window.metrics,
            ),
            objectives=objectives(self.has_energy),
        )

    def require_room(self, trace: Trace) -> None:
        """Refuse a trace that the device cannot hold; see `Controller.require_room`."""
        self._prepared(trace)

    def simulate(
        self, spec: SimulatorSpec, indices: np.ndarray, trace: Trace, without: str | None
    ) -> BatchResult:
        """Return results of designs; see `Controller.simulate`."""
        from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS

        outputs = self.outputs(spec.space, indices, trace, without)
        shown = [s.name for s in spec.simulated_metrics if s not in WINDOW_METRICS]
        columns = [OUTPUTS.index(_KERNEL_NAMES.get(name, name)) for name in shown]
        reason = outputs[:, OUTPUTS.index("status")].astype(np.int16)
        if self.has_energy and without is None:
            _check_power(outputs[reason == 0], OUTPUTS, self.device)
        values = outputs[:, columns]
        if self._window.window_us:
            peaks = np.full((len(indices), len(WINDOW_METRICS)), np.nan)
            for row in np.flatnonzero(reason == 0):
                arguments = self.kernel_arguments(
                    spec.space, indices[row : row + 1], trace, without
                )
                peaks[row] = self._peaks(arguments)
            values = np.hstack([values, peaks])
        return BatchResult(values, reason)

    def _peaks(self, arguments: dict[str, Any]) -> tuple[float, float]:
        """Return power and temperature of a design's worst window."""
        from archgym.simulators.dram.dramsys.kernel.stepping import Run

        packages = self.device.n_devices * self.device.n_ranks
        return worst_window(Run(arguments), arguments["controllers"][0], packages, self._window)

    def outputs(
        self, space: DesignSpace, indices: np.ndarray, trace: Trace, without: str | None = None
    ) -> np.ndarray:
        """Return everything that the model computes, also what is not a metric.

        Args:
          space: Space of the designs.
          indices: (n_designs, n_parameters) of designs that the space allows.
          trace: The trace.
          without: One of `costs` that the memory does not pay.

        Returns:
          (n_designs, n_outputs), columns by `kernel.OUTPUTS`.
        """
        # Numba takes a while to import, which listing and describing should not wait for.
        from archgym.simulators.dram.dramsys.kernel.batch import simulate

        return simulate(**self.kernel_arguments(space, indices, trace, without))

    def kernel_arguments(
        self, space: DesignSpace, indices: np.ndarray, trace: Trace, without: str | None = None
    ) -> dict[str, Any]:
        """Return the arguments of `kernel.simulate` for designs."""
        ready = self._prepared(trace)
        controllers = machine_of(space, indices)
        relieve_controllers(controllers, without)
        return {
            "controllers": controllers,
            "mapping_index": _mapping_index(space, indices),
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

    def _prepared(self, trace: Trace) -> Prepared:
        return prepared(trace, self.device, self._mapping, self._wraps)

    def check(self, column: Columns, trace: Trace) -> None:
        """Refuse results that do not add up; see `Controller.check`."""
        n_bursts = len(self._prepared(trace).bursts)
        served = column["row_hits"] + column["row_misses"] + column["row_conflicts"]
        require("row hits, misses and conflicts add up to the bursts", served, n_bursts)
        # The reference counts all bursts or all but the last, whose answer is under way.
        moved = column["bandwidth_gb_per_s"] * column["total_time_ns"] / self.device.burst_bytes
        counted = np.clip(np.round(moved), n_bursts - 1, n_bursts)
        require("bandwidth x time is the bursts that were served", moved, counted)
        check_order(column, "p99_latency_ns", "total_time_ns")
        check_order(column, "mean_latency_ns", "total_time_ns")
        if self.has_energy:
            check_causes(column)

    def laws(self, space: DesignSpace, indices: np.ndarray, column: Columns, trace: Trace) -> Laws:
        """Return laws of conservation for evaluated designs; see `Controller.laws`."""
        device, bursts = self.device, self._prepared(trace).bursts
        time_ns = column["total_time_ns"]
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
            **self._misses(space, indices, column),
        }
        if self.has_energy:
            least_pj = 1e3 * least_power_w(device) * time_ns
            laws["energy is the least power times time"] = column["total_energy_pj"], least_pj
        return laws

    def _misses(self, space: DesignSpace, indices: np.ndarray, column: Columns) -> dict[str, Any]:
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
                 for d in map(space.design_at, indices))  # fmt: skip
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

    def facts(self, trace: Trace) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of a trace; see `Controller.facts`."""
        from archgym.simulators.dram.dramsys.characteristics import characterise

        return characterise(trace, self.device, self._wraps).rows()

    def expressible(self, space: DesignSpace) -> Mapping[str, Sequence[Any]]:
        """Return no limits: DRAMSys takes every setting."""
        return {}

    def files(
        self, space: DesignSpace, indices: np.ndarray, workload: Workload, metrics: Metrics
    ) -> Files:
        """Return a design as files of DRAMSys; see `Controller.files`."""
        from archgym.simulators.dram.formats.export import dramsys_files

        controller, mapping = self._chosen(space, indices)
        return dramsys_files(controller, mapping, self.device, workload.content, metrics)

    def settings(self, space: DesignSpace, indices: np.ndarray) -> Mapping[str, Any]:
        """Return what files of DRAMSys say of a design; see `Controller.settings`."""
        from archgym.simulators.dram.formats.export import dramsys_settings

        return dramsys_settings(*self._chosen(space, indices), self.device)

    def _chosen(
        self, space: DesignSpace, indices: np.ndarray
    ) -> tuple[dict[str, Any], AddressMapping]:
        """Return the controller's settings of a design, and its address mapping."""
        design = space.design_at(indices)
        controller = {name: design.get(name, FIXED.get(name)) for name in CONTROLLER_COLUMNS}
        name = str(design.get("address_mapping", next(iter(LAYOUTS))))
        return controller, self._mapping or layout(name, self.device)


def dramsys_of(memory: Simulator) -> DramsysController:
    """Return the controller of a memory, whose commands and hooks DRAMSys has.

    Raises:
      InvalidArgumentError: It is a family of devices.
    """
    found = getattr(unrestricted(memory), "controller", None)
    if not isinstance(found, DramsysController):
        raise InvalidArgumentError(
            f"`device` must be one of DRAMSys ({', '.join(dramsys_device_names())}); got "
            f"{memory.options.get('device')!r}."
        )
    return found


def _mapping_index(space: DesignSpace, indices: np.ndarray) -> np.ndarray:
    """Return (n,) int64, the designs' rows of the decoded trace."""
    if "address_mapping" not in space.names:
        return np.zeros(len(indices), dtype=np.int64)
    # The parameter's choices are LAYOUTS in their order.
    return indices[:, space.names.index("address_mapping")]


def _check_power(outputs: np.ndarray, names: tuple[str, ...], device: Device) -> None:
    power_mw, energy_pj = outputs[:, names.index("power_mw")], outputs[:, names.index("energy_pj")]
    accounted_ns = outputs[:, names.index("accounted_cycles")] * (1000.0 / device.clock_mhz)
    require("power x accounted time is energy", power_mw * accounted_ns, energy_pj)
