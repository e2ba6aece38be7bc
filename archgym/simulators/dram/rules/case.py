"""Measurement of scheduling and page rules: latency, bandwidth, energy, row hits.

`simulate_rule` and `prepare` run in the rules' process.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.dram.controllers.dramsys import DramsysController, dramsys_of
from archgym.simulators.dram.dramsys.kernel.commands import CONTROLLER_COLUMNS, USER_SCHEDULER
from archgym.simulators.dram.formats.devices import load_device
from archgym.simulators.dram.simulator import DEFAULT_DEVICE, DramSimulator
from archgym.simulators.kit import SimulatorError, Workload, check_known, unknown_name, with_values
from archgym.simulators.kit.rules import RuleCase, RuleSource

if TYPE_CHECKING:
    from archgym.simulators.dram.dramsys.kernel.batch import Tables
    from archgym.simulators.kit.kernels import EntryPoints, Storage

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = {
    "fcfs": {"scheduler": "Fifo"},
    "frfcfs": {"scheduler": "FrFcfs"},
    "frfcfs-grouped": {"scheduler": "FrFcfsGrp"},
    "open-adaptive": {"scheduler": "FrFcfs", "page_policy": "OpenAdaptive"},
    "closed": {"scheduler": "FrFcfs", "page_policy": "Closed"},
    "closed-adaptive": {"scheduler": "FrFcfs", "page_policy": "ClosedAdaptive"},
}
"""Values of parameters that are the built-in rules; the page policy is else the case's."""
_MEASURES: Final = (
    "mean_latency_ns", "p95_latency_ns", "p99_latency_ns", "total_time_ns",
    "bandwidth_gbps", "row_hits", "row_misses", "row_conflicts", "energy_pj",
)  # fmt: skip
_TOLERANCE: Final = 1e-9


@final
@dataclass(frozen=True)
class DramCase(RuleCase):
    """A trace of requests, and the memory and controller that serve it.

    Attributes:
      name: Name of the trace.
      simulator: The simulator of the memory, exact in every event.
      workload: The trace.
      indices: (1, n_parameters), the design that the rule replaces parts of.
    """

    name: str
    simulator: DramSimulator
    workload: Workload
    indices: npt.NDArray[np.int64]

    @property
    def controller(self) -> DramsysController:
        """The controller of DRAMSys."""
        return dramsys_of(self.simulator)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        device = self.controller.device
        return {"bank": device.n_ranks * device.n_banks}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        design = self.simulator.space.design_at(self.indices[0])
        buffer = design["request_buffer_size"]
        return {"BANKS": self.sizes["bank"], "BUFFER": int(str(buffer))}

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the input of the simulation, the same for every rule."""
        # The name stands for the device, which cannot be sent to the rules' process.
        return {**self._kernel_arguments, "memory": self.controller.device.name}

    @cached_property
    def _kernel_arguments(self) -> dict[str, Any]:
        space, trace = self.simulator.space, self.workload.content
        return self.controller.kernel_arguments(space, self.indices, trace)

    @cached_property
    def bound_latency_ns(self) -> float:
        """Latency of one request in an idle memory with its row open, which none can beat."""
        device = self._kernel_arguments["device"].device[0]
        is_write = self._kernel_arguments["is_write"]
        done = np.where(is_write, device["write_done"], device["read_done"])
        return float(done.mean()) / 1000.0

    def built_in_counts(self, rule: str) -> dict[str, float]:
        """Return the outputs of the kernel under a built-in rule, by name."""
        from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS

        if rule not in BUILT_IN:
            raise unknown_name("built-in rule", rule, BUILT_IN)
        space = self.simulator.space
        design = with_values(space, space.design_at(self.indices[0]), BUILT_IN[rule])
        indices = space.canonical(space.indices_of(design)[None, :])
        outputs = self.controller.outputs(space, indices, self.workload.content)[0].tolist()
        found = dict(zip(OUTPUTS, outputs, strict=True))
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return mean latency over that of an idle memory."""
        return float(counts["mean_latency_ns"] / self.bound_latency_ns)

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return latencies, bandwidth, row hits and, where the device has it, energy."""
        found = {name: counts[name] for name in _MEASURES if name in counts}
        return {**found, "bound_latency_ns": self.bound_latency_ns}

    def check(self, rule: str, counts: Mapping[str, Any]) -> None:
        """Check that every request was served, and none faster than the memory."""
        served = sum(counts[key] for key in ("row_hits", "row_misses", "row_conflicts"))
        if served != len(self._kernel_arguments["addresses"]):
            raise SimulatorError(f"The requests that rule {rule!r} served do not add up.")
        latency = counts["mean_latency_ns"]
        if latency < self.bound_latency_ns * (1 - _TOLERANCE):
            raise SimulatorError(
                f"Rule {rule!r} has a mean latency of {latency:g} ns on {self.name!r}, less than "
                f"the {self.bound_latency_ns:g} ns of an idle memory. That is a defect of the "
                "simulator; report it with the rule."
            )


def open_case(name: str, options: Mapping[str, str]) -> DramCase:
    """Return a trace with the memory and controller that options describe.

    Args:
      name: Workload of the simulator, or a trace file.
      options: `device`, and parameters of the default space.

    Raises:
      UnknownNameError: An option or a workload does not exist.
      InvalidArgumentError: The device is not one of DRAMSys.
      InvalidDesignError: A value is not one of its parameter.
      FileFormatError: The file is damaged or of another form.
    """
    simulator = DramSimulator(device=options.get("device", DEFAULT_DEVICE))
    dramsys_of(simulator)
    space = simulator.space
    texts = {key: text for key, text in options.items() if key != "device"}
    check_known("option", texts, ["device", *space.names])
    default = space.design_at(space.default_indices)
    design = with_values(space, default, texts)
    indices = space.canonical(space.indices_of(design)[None, :])
    return DramCase(str(name), simulator, simulator.workload(name), indices)


_SCHEDULER = CONTROLLER_COLUMNS.index("scheduler")


def simulate_rule(
    points: "EntryPoints", storage: "Storage", case: Mapping[str, Any]
) -> dict[str, Any]:
    """Return outputs of the kernel by name for a rule on a case.

    Args:
      points: Its compiled functions.
      storage: Its arrays.
      case: Arguments of the kernel, of `DramCase.input`.
    """
    from archgym.simulators.dram.dramsys.kernel.batch import STATUSES

    controllers = np.array(case["controllers"])
    if points.addresses["score"]:
        controllers[:, _SCHEDULER] = USER_SCHEDULER
    given = case["device"]
    blank = given.blank.copy()
    state = blank[0]
    for name, address in points.addresses.items():
        state[f"policy_{name}"] = address
    state["policy_memory"] = storage.memory.ctypes.data
    state["policy_floats"] = storage.floats.ctypes.data
    started = time.perf_counter()
    found = _run(case, controllers, replace(given, blank=blank))
    took_s = time.perf_counter() - started
    if found["status"]:
        return {"problem": f"the controller never ends ({STATUSES[int(found['status'])]})"}
    # Energies are missing for some devices.
    outputs = {name: value for name, value in found.items() if np.isfinite(value)}
    return {**outputs, "seconds": took_s}


def _run(case: Mapping[str, Any], controllers: Any, device: "Tables") -> dict[str, float]:
    from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS, simulate

    arguments = {k: v for k, v in case.items() if k not in ("sizes", "values")}
    memory = load_device(case["memory"])
    arguments |= {"controllers": controllers, "device": device, "memory": memory}
    outputs = simulate(**arguments)
    return dict(zip(OUTPUTS, outputs[0].tolist(), strict=True))


def prepare() -> None:
    """Load or compile the kernel."""
    case = open_case("random", {}).input()
    few = {name: case[name][:8] for name in ("addresses", "ticks", "is_write")}
    few |= {"decoded": case["decoded"][:, :8].copy(), "first_burst": None}
    _run({**case, **few}, case["controllers"], case["device"])
