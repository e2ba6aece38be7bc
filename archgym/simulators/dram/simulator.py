"""The DRAM simulator: a memory controller and its memory, cycle by cycle."""

import json
from collections.abc import Mapping
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Final, final

import numpy as np

from archgym.checks import parse_whole
from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective
from archgym.evaluation.simulator import BatchResult, Simulator, Workload, require_kept
from archgym.simulators.dram.bursts import Prepared, prepared
from archgym.simulators.dram.characterise import characterise
from archgym.simulators.dram.commands import CONTROLLER_CODES, CONTROLLER_COLUMNS
from archgym.simulators.dram.core_energy import core_power, core_power_note
from archgym.simulators.dram.costs import COSTS, RELIEF, relieve_controllers
from archgym.simulators.dram.device_files import load_device, load_mapping
from archgym.simulators.dram.devices import Device
from archgym.simulators.dram.mapping import LAYOUTS, AddressMapping, layout
from archgym.simulators.dram.metrics import (
    ENERGY_CAUSES,
    FORMER_OBJECTIVES,
    metrics,
    objectives,
)
from archgym.simulators.dram.ramulator.model import DEFAULT_FAMILY, REASONS, RamulatorModel
from archgym.simulators.dram.space import FIXED, GROUPS, SPACE_NAMES, design_space
from archgym.simulators.dram.workloads import SHIPPED, load_trace

CONTROLLERS = ("dramsys", "ramulator")
ADDRESSES = ("refuse", "wrap")
EXTENSIONS = ("none", "refresh")
_DEFAULT_DEVICE = "ddr3-1600"
_SECOND_WORKLOAD = "kv-cache-gather"
# Standards whose banks can refresh one at a time; DRAMSys aborts for the others.
_PER_BANK_REFRESH = ("LPDDR4", "HBM2")
# What the kernel calls otherwise.
_KERNEL_NAMES = {"bandwidth_gb_per_s": "bandwidth_gbps", "total_energy_pj": "energy_pj"}
_require = partial(require_kept, "DRAM")


@cache
def _fidelity_errors() -> Mapping[str, Mapping[str, float]]:
    """Return the largest error of each metric by fidelity [%]; `exact` has none."""
    path = resources.files("archgym.simulators.dram").joinpath("data/fidelity.json")
    found: dict[str, dict[str, float]] = json.loads(path.read_text("utf-8"))
    return {**found, "exact": {}}


# chosen: more than any trace has.
_MAX_PART: Final = 10**11 - 1


@final
class DramSimulator(Simulator):
    """A memory controller and its DRAM on traces of requests.

    The option `controller` names the model. `dramsys` reproduces DRAMSys 4: a design is the
    controller's policies, queues and limits and the address mapping for one device. `ramulator`
    reproduces Ramulator 2.1: a design is also the organisation, speed bin, ranks and channels of a
    device family.
    """

    name = "dram"
    version = 0
    space_names: ClassVar[tuple[str, ...]] = SPACE_NAMES
    fidelity_names: ClassVar[tuple[str, ...]] = ("auto", "fast", "exact")
    # By metric, the largest differences of random designs: `experiments/dram_fidelity.py`.
    metric_accuracy_percent: ClassVar[Mapping[str, Mapping[str, float]]] = _fidelity_errors()
    accuracy_percent: ClassVar[Mapping[str, float]] = {
        fidelity: max(by_metric.values(), default=0.0)
        for fidelity, by_metric in _fidelity_errors().items()
    }
    costs: Mapping[str, str] = COSTS
    relief: Mapping[str, tuple[str, ...]] = RELIEF
    former_objectives: Mapping[str, Objective] = FORMER_OBJECTIVES
    # On the bursts of `bursty-rw` requests wait for each other, and the bus has time to spare:
    # designs can halve the latency without loss of time or energy. Latency alone, or a workload
    # that saturates the bus, such as `cloud-1`, rewards designs that hold requests back.
    default_objective = "balanced"
    default_workload = "bursty-rw"
    table_space = "archgym-2023"
    exports: Mapping[str, str] = {
        "dramsys": "Simulation, address mapping, controller, memory and trace of DRAMSys 4.0."
    }
    exports_of_options: ClassVar[Mapping[str, str]] = {
        "dramsys": "controller=dramsys",
        "ramulator": "controller=ramulator",
    }
    model_reasons: tuple[str, ...] = (
        "the controller waits for ever: no request can be served, and none can be taken in",
    )

    def __init__(
        self,
        space: str = "default",
        device: str | None = None,
        fidelity: str = "auto",
        controller: str = "dramsys",
        address_mapping: str | None = None,
        addresses: str = "refuse",
        extensions: str = "none",
        requests: str = "",
    ) -> None:
        """Make the simulator of one space, device and fidelity.

        Args:
          space: One of `space_names`; the controller `ramulator` has the first one only.
          device: For `dramsys` a name that `archgym.simulators.dram.device_names` lists, a memory
            specification of DRAMSys, or a file as `device_files` describes; for `ramulator` one of
            `ramulator.standard.FAMILIES`, or a file of own speed bins and organisations.
          fidelity: `exact` keeps the order of all events that fall on one time, as DRAMSys does.
            `fast` does not and takes half to two thirds of the time; docs/dram.md has its errors.
            `auto` is `fast` where that was measured to be equal, else `exact`: see
            `is_fast_proven`. The controller `ramulator` is exact under each.
          controller: dramsys, or ramulator for the controller and devices of Ramulator 2.1.
          address_mapping: Name of an address mapping, or a file of DRAMSys or as `device_files`
            describes. The space then has no such parameter.
          addresses: Addresses beyond the capacity: refused, or `wrap` to ignore their upper bits as
            DRAMSys does.
          extensions: `refresh` adds same-bank refresh and refresh management to DDR5 under
            `ramulator`: our own reading of JESD79-5, outside the part that is validated.
          requests: First requests of each trace that are sent; all by default. Few requests rank
            designs much as all do, in a fraction of the time.

        Raises:
          UnknownNameError: There is no such space, device, fidelity, controller or mapping.
          FileFormatError: A file cannot be used.
          InvalidArgumentError: The controller has no such option, or `requests` is not a whole
            number from 1.
        """
        if fidelity not in self.fidelity_names:
            raise unknown_name("fidelity", fidelity, self.fidelity_names)
        if controller not in CONTROLLERS:
            raise unknown_name("controller", controller, CONTROLLERS)
        if addresses not in ADDRESSES:
            raise unknown_name("treatment of addresses", addresses, ADDRESSES)
        self.fidelity = fidelity
        if extensions not in EXTENSIONS:
            raise unknown_name("extension", extensions, EXTENSIONS)
        if extensions != "none" and controller != "ramulator":
            raise InvalidArgumentError(
                "Option `extensions` must be left out for controller 'dramsys', which has none."
            )
        self._arguments = (
            space, device, fidelity, controller,
            address_mapping, addresses, extensions, requests,
        )  # fmt: skip
        self._n_requests = parse_whole("requests", requests, 1, _MAX_PART) if requests else 0
        self.second: RamulatorModel | None = None
        self._mapping: AddressMapping | None = None
        self._wraps = addresses == "wrap"
        if controller == "ramulator":
            if address_mapping is not None or self._wraps:
                raise InvalidArgumentError(
                    "Options `address_mapping` and `addresses` must be left out for controller "
                    "'ramulator', whose designs have a mapping of their own."
                )
            self._become_second(space, device, extensions)
            return
        device = _DEFAULT_DEVICE if device is None else device
        self.device: Device = load_device(device)
        if self.device.has_energy and self.device.n_ranks > 1:
            self.version = 1  # energy of several ranks under power-down was corrected
        # What is the default is left out, so that its tasks have the short name.
        self.options = {} if device == _DEFAULT_DEVICE else {"device": self.device.name}
        layouts = tuple(LAYOUTS)
        if address_mapping is not None:
            self._mapping = load_mapping(address_mapping, self.device)
            self.options["address_mapping"] = self._mapping.name
            layouts = ()
        if self._wraps:
            self.options["addresses"] = addresses
        if self._n_requests:
            self.options["requests"] = str(self._n_requests)
        self.space = design_space(space, layouts, self.device.standard in _PER_BANK_REFRESH)
        self._has_energy = self.device.has_energy or core_power(self.device) is not None
        note = "" if core_power(self.device) is None else core_power_note()
        self.metrics: tuple[MetricSpec, ...] = metrics(self._has_energy, note)
        self.objectives: Mapping[str, Objective] = objectives(self._has_energy)
        self.groups: Mapping[str, tuple[str, ...]] = {
            group: present
            for group, members in GROUPS.items()
            if (present := tuple(m for m in members if m in self.space.names))
        }

    def _become_second(self, space: str, device: str | None, extensions: str) -> None:
        """Take space, metrics and objectives from the model of the controller `ramulator`."""
        if space != self.space_names[0]:
            raise unknown_name("space of controller 'ramulator'", space, self.space_names[:1])
        family = DEFAULT_FAMILY if device is None else device
        model = self.second = RamulatorModel(family, extensions != "none")
        self.options = {"controller": "ramulator"}
        if extensions != "none":
            self.options["extensions"] = extensions
        if self._n_requests:
            self.options["requests"] = str(self._n_requests)
        self.exports = {"ramulator": "Script for Ramulator 2.1, and the requests as its trace."}
        if model.device != DEFAULT_FAMILY:
            self.options["device"] = model.device
        self.accuracy_percent = dict.fromkeys(self.fidelity_names, 0.0)  # type: ignore[misc]
        self.version = 1  # the first tick decides the write mode of idle channels
        self.space = model.space
        self.metrics = model.metrics
        self.objectives = model.objectives
        self.groups = model.groups
        self.model_reasons = REASONS
        self.default_workload = _SECOND_WORKLOAD

    def __reduce__(
        self,
    ) -> tuple[type["DramSimulator"], tuple[str, str | None, str, str, str | None, str, str, str]]:
        return DramSimulator, self._arguments

    def workload_names(self) -> tuple[str, ...]:
        """Return workloads that ship: see `archgym.simulators.dram.workloads`."""
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
        if self.second is not None:
            self.second.check_workload(workload)
        else:
            self._prepared(workload)
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
        if self.second is not None:
            return self.second.simulate(indices, workload, without)
        from archgym.simulators.dram.kernel import OUTPUTS

        outputs = self.outputs(indices, workload, without)
        columns = [OUTPUTS.index(_KERNEL_NAMES.get(s.name, s.name)) for s in self.simulated_metrics]
        reason = outputs[:, OUTPUTS.index("status")].astype(np.int16)
        if self._has_energy and without is None:
            _check_power(outputs[reason == 0], OUTPUTS, self.device)
        return BatchResult(outputs[:, columns], reason)

    def outputs(
        self, indices: np.ndarray, workload: Workload, without: str | None = None
    ) -> np.ndarray:
        """Return everything that the controller `dramsys` computes, also what is not a metric.

        Args:
          indices: (n_designs, n_parameters) of designs that the space allows.
          workload: The trace.
          without: One of `costs` that the memory does not pay.

        Returns:
          (n_designs, n_outputs), columns by `kernel.OUTPUTS`.
        """
        # Numba takes a while to import, which listing and describing should not wait for.
        from archgym.simulators.dram.kernel import simulate

        is_exact = self.fidelity == "exact"
        is_exact |= self.fidelity == "auto" and not self.is_fast_proven(workload)
        return simulate(**self.kernel_arguments(indices, workload, without), is_exact=is_exact)

    def kernel_arguments(
        self, indices: np.ndarray, workload: Workload, without: str | None = None
    ) -> dict[str, Any]:
        """Return the arguments of `kernel.simulate` for designs, without the fidelity."""
        ready = self._prepared(workload)
        controllers = self._controllers(indices)
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
            "memory": self.device,
        }

    def is_fast_proven(self, workload: Workload) -> bool:
        """Return True if `fast` was measured to be equal to `exact` on such workloads.

        They are back to back, on DDR3 of one rank with the player's clock: then requests hardly
        arrive at the time of another event of which `fast` takes the order otherwise. All random
        designs and all but one of some 4,000 recorded runs were equal; it differed by 0.009 %.
        """
        bursts = self._prepared(workload).bursts
        return (
            self.device.standard == "DDR3"
            and self.device.n_ranks == 1
            and self.device.clock_ps == bursts.period_ps
            and bursts.are_back_to_back
        )

    def _prepared(self, workload: Workload) -> Prepared:
        return prepared(workload.content, self.device, self._mapping, self._wraps)

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Refuse results in which bursts, energy or times do not add up.

        Raises:
          SimulatorError: Says which invariant, and by how much.
        """
        if self.second is not None:
            self.second.check(values, workload)
            return
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

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return characteristics of the trace on the device: name to (value, unit)."""
        if self.second is not None:
            return self.second.describe(workload)
        return characterise(workload.content, self.device, self._wraps).rows()

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        """Return a design as files of DRAMSys, or as a script of the controller's own tool.

        Raises:
          InvalidDesignError: The tool cannot express the design or the workload.
        """
        from archgym.simulators.dram.export import dramsys_files, ramulator_files

        design = self.space.design_at(indices)
        if self.second is not None:
            made = self.second.made
            return ramulator_files(
                self.second.configuration(design), made.family, made.path, workload.content
            )
        controller = {name: design.get(name, FIXED.get(name)) for name in CONTROLLER_COLUMNS}
        name = str(design.get("address_mapping", next(iter(LAYOUTS))))
        mapping = self._mapping or layout(name, self.device)
        return dramsys_files(controller, mapping, self.device, workload.content)

    def picture_workload(self, workload: Workload, path: Path) -> bool:
        """Draw the trace; `path` ends in .png, .svg or .pdf."""
        if self.second is not None:
            return False
        from archgym.simulators.dram.picture import picture

        picture(workload.content, self.device, path, self._wraps)
        return True

    def _controllers(self, indices: np.ndarray) -> np.ndarray:
        """Return (n, 12) int64, the designs as the kernel reads them."""
        columns = []
        for name in CONTROLLER_COLUMNS:
            if name in self.space.names:
                place = self.space.names.index(name)
                parameter = self.space.parameters[place]
                values = [parameter.value(i) for i in range(parameter.size)]
                table = np.array([_code(name, value) for value in values], dtype=np.int64)
                columns.append(table[indices[:, place]])
            else:
                columns.append(np.full(len(indices), _code(name, FIXED[name]), dtype=np.int64))
        return np.stack(columns, axis=1)

    def _mapping_index(self, indices: np.ndarray) -> np.ndarray:
        """Return (n,) int64, the designs' rows of the decoded trace."""
        if "address_mapping" not in self.space.names:
            return np.zeros(len(indices), dtype=np.int64)
        # The parameter's choices are LAYOUTS in their order.
        return indices[:, self.space.names.index("address_mapping")]


def _code(name: str, value: object) -> int:
    if name in CONTROLLER_CODES:
        return CONTROLLER_CODES[name].index(str(value))
    return int(str(value))


def _check_power(outputs: np.ndarray, names: tuple[str, ...], device: Device) -> None:
    column = {name: outputs[:, i] for i, name in enumerate(names)}
    accounted_ns = column["accounted_cycles"] * (1000.0 / device.clock_mhz)
    _require(
        "power x accounted time is energy", column["power_mw"] * accounted_ns, column["energy_pj"]
    )
