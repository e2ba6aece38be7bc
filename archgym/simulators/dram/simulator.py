"""The DRAM simulator: a memory controller and its memory, cycle by cycle."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, final

import numpy as np

from archgym.physics.thermal import ThermalWindow
from archgym.simulators.dram.controllers.controller import Controller, check_order
from archgym.simulators.dram.costs import COSTS, RELIEF
from archgym.simulators.dram.dramsys.devices import dramsys_device_names
from archgym.simulators.dram.dramsys.mapping import LAYOUTS, reference_mapping_names
from archgym.simulators.dram.formats.devices import extended_device, is_file_name
from archgym.simulators.dram.space import GROUPS, SPACE_NAMES
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
    SimulatorSpec,
    Workload,
    declared,
    unknown_name,
)

DEFAULT_DEVICE: Final = "ddr3-1600"
_OF_ALL: Final = ("device", "requests", "window_us", "sink_k_per_w")


def device_names() -> tuple[str, ...]:
    """Return the names of all devices that ship, sorted."""
    from archgym.simulators.dram.ramulator.machine import FAMILIES, speed_bins

    return tuple(sorted((*dramsys_device_names(), *FAMILIES, *speed_bins())))


@final
class DramSimulator(KitSimulator):
    """A memory controller and its DRAM on traces of requests.

    The device decides the model of the controller. DDR3, LPDDR4, HBM2 and two DDR4 modules are
    those of DRAMSys 4: a design is the controller's policies, queues and limits and the address
    mapping for one module. DDR5, LPDDR5, HBM3, GDDR6 and DDR4 families are those of Ramulator 2.1:
    a design is also the organisation, ranks and channels.

    Attributes:
      controller: The model.
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
          space: One of `space_names`; the families have the first one alone.
          device: As its `Option` says; so do the others.
          window: Windows of power. Devices without public currents have no power.

        Raises:
          UnknownNameError: There is no such space, device or mapping.
          FileFormatError: A file cannot be used.
          InvalidArgumentError: An option is outside its limits, or the device has no power.
        """
        self._n_requests = requests
        self.controller = _controller(device, address_mapping, addresses, window)
        # A task cites files with their digests.
        options = {**self.options, **self.controller.cited}
        if device == DEFAULT_DEVICE:
            del options["device"]
        self.spec = self.controller.declared(replace(self.spec, options=options), space)

    @property
    def capacity_bytes(self) -> int:
        """Bytes that the default design holds."""
        return self.controller.capacity_bytes

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship: see `archgym.simulators.dram.workloads.shipped`."""
        return tuple(SHIPPED)

    def workload(self, name: str | Path) -> Workload:
        """Return the shipped workload with this name, or the trace in the file at this path.

        Raises:
          UnknownNameError: Neither.
          FileFormatError: The file cannot be read.
          InvalidArgumentError: The trace reaches beyond the device's capacity.
        """
        trace = load_trace(name)
        if self._n_requests:
            trace = trace.first(self._n_requests)
        # What no design holds is refused here, not at the first design.
        self.controller.require_room(trace)
        note_placement(trace, self.capacity_bytes, self.controller.cited["device"])
        return Workload(trace.name, trace.digest, trace)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs that are known to be canonical and feasible in the space."""
        return self.controller.simulate(self.spec, indices, workload.content, None)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results as `simulate`, of a memory without one of `costs`."""
        return self.controller.simulate(self.spec, indices, workload.content, cost)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results in which bursts, energy or times do not add up.

        Raises:
          SimulatorError: An invariant is broken; the message says which one and by how much.
        """
        column = {spec.name: values[:, i] for i, spec in enumerate(self.metrics)}
        self.controller.check(column, workload.content)
        check_order(column, "p50_latency_ns", "p95_latency_ns")
        check_order(column, "p95_latency_ns", "p99_latency_ns")

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        return self.controller.laws(self.space, indices, column, workload.content)

    def not_compared(self, workload: Workload) -> str:
        """Return what of a workload no other tool was compared on, in words; "" for nothing."""
        return waits_not_compared(workload.content)

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of the trace on the device: name to (value, unit)."""
        return self.controller.facts(workload.content)

    def expressible(self, form: str) -> Mapping[str, Sequence[Any]]:
        """Return the values that a format can express, by parameter that it lacks some of."""
        return self.controller.expressible(self.space)

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Files:
        """Return a design as files of the tool that has the device.

        Raises:
          InvalidDesignError: The tool cannot express the design or the workload.
        """
        from archgym.simulators.kit.exports import stated

        metrics = stated(self, indices, workload)
        return self.controller.files(self.space, indices, workload, metrics)

    def file_settings(
        self, form: str, indices: np.ndarray, workload: Workload
    ) -> Mapping[str, Any]:
        """Return what files of the device's tool say of a design; see `Stating.file_settings`."""
        return self.controller.settings(self.space, indices)


def _controller(
    device: str, address_mapping: str, addresses: str, window: ThermalWindow
) -> Controller:
    """Return the model that has a device.

    Raises:
      UnknownNameError: Neither has it, or an option means nothing with its device.
      FileFormatError: It is a file that is not a device.
    """
    if device not in dramsys_device_names():
        from archgym.simulators.dram.ramulator.machine import FAMILIES, speed_bins

        is_family = device in FAMILIES or device in speed_bins()
        if not (is_family or is_file_name(device)):
            raise unknown_name("device", device, device_names())
        if is_family or extended_device(device) in FAMILIES:
            from archgym.simulators.dram.controllers.ramulator import RamulatorController

            given = {"address_mapping": address_mapping, "addresses": addresses != "refuse"}
            for name in (name for name, is_given in given.items() if is_given):
                raise unknown_name(
                    f"option of simulator 'dram' with device={device}", name, _OF_ALL
                )
            return RamulatorController(device, window)
    from archgym.simulators.dram.controllers.dramsys import DramsysController

    return DramsysController(device, address_mapping, addresses == "wrap", window)
