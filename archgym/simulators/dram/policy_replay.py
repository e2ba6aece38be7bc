"""Measurement of scheduling and page policies: latency, bandwidth, energy, row hits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import SimulatorError, unknown_name
from archgym.evaluation.simulator import Workload
from archgym.rules.language import RuleSource, bounds_of
from archgym.rules.sandbox import RuleRunner
from archgym.simulators.dram.simulator import DramSimulator
from archgym.spaces.texts import with_values

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = {
    "fcfs": {"scheduler": "Fifo"},
    "frfcfs": {"scheduler": "FrFcfs"},
    "frfcfs-grouped": {"scheduler": "FrFcfsGrp"},
    "open-adaptive": {"scheduler": "FrFcfs", "page_policy": "OpenAdaptive"},
    "closed": {"scheduler": "FrFcfs", "page_policy": "Closed"},
    "closed-adaptive": {"scheduler": "FrFcfs", "page_policy": "ClosedAdaptive"},
}
"""Values of parameters that are the built-in policies; the page policy is else the case's."""
_MEASURES: Final = (
    "mean_latency_ns", "p95_latency_ns", "p99_latency_ns", "total_time_ns",
    "bandwidth_gbps", "row_hits", "row_misses", "row_conflicts", "energy_pj",
)  # fmt: skip
_TOLERANCE: Final = 1e-9


@final
@dataclass(frozen=True)
class DramCase:
    """A trace of requests, and the memory and controller that serve it.

    Attributes:
      name: Name of the trace.
      simulator: The simulator of the memory, exact in every event.
      workload: The trace.
      indices: (1, n_parameters), the design that the policy replaces parts of.
    """

    name: str
    simulator: DramSimulator
    workload: Workload
    indices: npt.NDArray[np.int64]

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        device = self.simulator.device
        return {"bank": device.n_ranks * device.n_banks}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        design = self.simulator.space.design_at(self.indices[0])
        buffer = design["request_buffer_size"]
        return {"BANKS": self.sizes["bank"], "BUFFER": int(str(buffer))}

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Input of the simulation."""
        found = self.simulator.kernel_arguments(self.indices, self.workload)
        # The name stands for the device, which cannot be sent to the policies' process.
        named = {"memory": self.simulator.device.name}
        return {**found, **named, "sizes": self.sizes, "values": self.values}

    @cached_property
    def bound_latency_ns(self) -> float:
        """Latency of one request in an idle memory with its row open, which none can beat."""
        device = self.arguments["device"].device[0]
        is_write = self.arguments["is_write"]
        done = np.where(is_write, device["write_done"], device["read_done"])
        return float(done.mean()) / 1000.0


@final
@dataclass(frozen=True, kw_only=True)
class DramResult:
    """Measures of a policy on one case."""

    case: DramCase
    policy: str
    outputs: Mapping[str, float] | None = None
    state_bits: int | None = None
    operations: Mapping[str, int] | None = None
    problem: str = ""

    @property
    def loss(self) -> float:
        """Mean latency over that of an idle memory; infinite for an infeasible policy."""
        if self.outputs is None:
            return math.inf
        return self.outputs["mean_latency_ns"] / self.case.bound_latency_ns

    def to_json(self) -> dict[str, Any]:
        """Return the measures as JSON."""
        found: dict[str, Any] = {"trace": self.case.name, "policy": self.policy}
        if self.outputs is None:
            return {**found, "problem": self.problem}
        found |= {name: self.outputs[name] for name in _MEASURES if name in self.outputs}
        found["bound_latency_ns"] = self.case.bound_latency_ns
        found["state_bits"] = self.state_bits
        found["operations"] = None if self.operations is None else dict(self.operations)
        return found


def open_case(name: str, options: Mapping[str, str]) -> DramCase:
    """Return a trace with the memory and controller that options describe.

    Args:
      name: Workload of the simulator, or a trace file.
      options: `device`, and parameters of the default space.

    Raises:
      UnknownNameError: An option or a workload does not exist.
      InvalidDesignError: A value is not one of its parameter.
      FileFormatError: The file is damaged or of another form.
    """
    simulator = DramSimulator(device=options.get("device"), fidelity="exact")
    space = simulator.space
    texts = {key: text for key, text in options.items() if key != "device"}
    for key in texts:
        if key not in space.names:
            raise unknown_name("option", key, ["device", *space.names])
    default = space.design_at(space.default_indices)
    design = with_values(space, default, texts)
    indices = space.canonical(space.indices_of(design)[None, :])
    return DramCase(str(name), simulator, simulator.workload(name), indices)


def simulation_arguments(name: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Return the input of the simulation of a case."""
    return open_case(name, options).arguments


def evaluate_policy(
    source: RuleSource,
    case: DramCase,
    runner: RuleRunner,
    tuned: Mapping[str, int] | None = None,
) -> DramResult:
    """Return the measures of a policy on a case; a policy that fails is infeasible.

    Raises:
      SimulatorError: Requests are lost or faster than the memory; a defect of the simulator.
    """
    name = source.doc.split("\n")[0].rstrip(".") or source.path
    operations = bounds_of(source, case.values)
    outputs = runner.run(source.text, case.arguments, tuned)
    if "problem" in outputs:
        return DramResult(case=case, policy=name, problem=str(outputs["problem"]))
    _check(name, case, outputs)
    return DramResult(
        case=case,
        policy=name,
        outputs=outputs,
        state_bits=source.state_bits(case.sizes),
        operations=operations,
    )


def _check(name: str, case: DramCase, outputs: Mapping[str, float]) -> None:
    served = sum(outputs[key] for key in ("row_hits", "row_misses", "row_conflicts"))
    if served != len(case.arguments["addresses"]):
        raise SimulatorError(f"The requests that policy {name!r} served do not add up.")
    latency = outputs["mean_latency_ns"]
    if latency < case.bound_latency_ns * (1 - _TOLERANCE):
        raise SimulatorError(
            f"Policy {name!r} has a mean latency of {latency:g} ns on {case.name!r}, less than "
            f"the {case.bound_latency_ns:g} ns of an idle memory. That is a defect of the "
            "simulator; report it with the policy."
        )


def evaluate_built_in(policy: str, case: DramCase) -> DramResult:
    """Return the measures of a built-in policy on a case.

    Raises:
      UnknownNameError: There is no such policy.
    """
    return DramResult(case=case, policy=policy, outputs=built_in_outputs(policy, case))


def built_in_outputs(policy: str, case: DramCase) -> dict[str, float]:
    """Return the outputs of the kernel under a built-in policy, by name."""
    from archgym.simulators.dram.kernel import OUTPUTS

    if policy not in BUILT_IN:
        raise unknown_name("built-in policy", policy, BUILT_IN)
    simulator = case.simulator
    design = with_values(
        simulator.space, simulator.space.design_at(case.indices[0]), BUILT_IN[policy]
    )
    indices = simulator.space.indices_of(design)[None, :]
    outputs = simulator.outputs(simulator.space.canonical(indices), case.workload)
    found = dict(zip(OUTPUTS, outputs[0].tolist(), strict=True))
    return {name: value for name, value in found.items() if not math.isnan(value)}
