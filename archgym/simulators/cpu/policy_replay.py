"""Measurement of cache policies: cycles, misses by cause, prefetches, state."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_choice
from archgym.errors import SimulatorError, unknown_name
from archgym.rules.language import PolicySource, bounds_of
from archgym.rules.sandbox import PolicyRunner
from archgym.simulators.cpu import layout as lay
from archgym.simulators.cpu.metrics import METRICS, measures
from archgym.simulators.cpu.parameters import PREFETCHERS, REPLACEMENTS
from archgym.simulators.cpu.policy_counts import fills_and_bound, run_case
from archgym.simulators.cpu.run import COUNTERS
from archgym.simulators.cpu.simulator import CpuSimulator
from archgym.simulators.cpu.space import machine_of
from archgym.simulators.cpu.trace import InstructionTrace
from archgym.simulators.cpu.workloads import Program
from archgym.spaces.texts import with_values

_CACHES: Final = {"l1d": "L1D", "l2": "L2C", "llc": "LLC"}
BUILT_IN: Final[Mapping[str, tuple[str, int]]] = {
    **{name: ("replacement", REPLACEMENTS.index(name)) for name in REPLACEMENTS[:4]},
    **{name: ("prefetcher", PREFETCHERS.index(name)) for name in PREFETCHERS[1:]},
}
"""Parameter of the cache and its value, by name of the built-in policy."""
_KINDS: Final = {
    "LOAD": lay.LOAD,
    "RFO": lay.RFO,
    "PREFETCHED": lay.PREFETCH,
    "WRITE": lay.WRITE,
    "TRANSLATION": lay.TRANSLATION,
}
_MEASURES: Final = (
    "total_cycles", "ipc", "l1d_mpki", "l2_mpki", "llc_mpki", "prefetch_accuracy_percent",
    "prefetch_coverage_percent", "prefetch_timely_percent", "energy_per_instruction_pj",
)  # fmt: skip
# chosen: the look-ahead of ChampSim's stride prefetcher.
_DEGREE: Final = 3
_MAX_DEGREE: Final = 64  # chosen: the blocks of a page, which a look-ahead does not leave


@final
@dataclass(frozen=True)
class CpuCase:
    """A program, and the machine with the cache that a policy manages.

    Attributes:
      name: Name of the program.
      trace: Its instructions.
      machine: Every parameter of the machine.
      cache: Name of the cache among the machine's components.
      warmup, length: Instructions before counting, and counted.
    """

    name: str
    trace: InstructionTrace
    machine: Mapping[str, int]
    cache: str
    warmup: int
    length: int

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of arrays by name."""
        sets, ways = self.machine[f"{self.cache}.sets"], self.machine[f"{self.cache}.ways"]
        return {"line": sets * ways, "set": sets}

    @property
    def values(self) -> dict[str, int]:
        """Values of the domain by name."""
        sets, ways = self.machine[f"{self.cache}.sets"], self.machine[f"{self.cache}.ways"]
        return {"SETS": sets, "WAYS": ways, **_KINDS}

    def arguments(self, degree: int = _DEGREE) -> dict[str, Any]:
        """Return the input of the simulation.

        Args:
          degree: Prefetches of a look-ahead.
        """
        return {
            "records": self.trace.records,
            "n": self.trace.n,
            "n_pages": self.trace.n_pages,
            "machine": dict(self.machine),
            "warmup": self.warmup,
            "length": self.length,
            "component": lay.COMPONENTS.index(self.cache),
            "degree": degree,
            "sizes": self.sizes,
            "values": self.values,
        }

    @cached_property
    def ideal_cycles(self) -> int:
        """Cycles of the machine if the cache always hits."""
        place = lay.CACHES + lay.CACHE_SIZE * lay.COMPONENTS.index(self.cache) + lay.K_PERFECT

        def adapt(state: npt.NDArray[np.int64]) -> None:
            state[place] = 1

        counters, _ = run_case(self.arguments(), adapt)
        if counters is None:
            raise SimulatorError(f"The machine never ends on {self.name} with an ideal cache.")
        return int(counters[0])


@final
@dataclass(frozen=True, kw_only=True)
class CpuResult:
    """Measures of a policy on one case."""

    case: CpuCase
    policy: str
    counts: Mapping[str, int] | None = None
    state_bits: int | None = None
    operations: Mapping[str, int] | None = None
    problem: str = ""

    @property
    def loss(self) -> float:
        """Cycles over those with a cache that always hits; infinite for an infeasible policy."""
        return math.inf if self.counts is None else self.counts["cycles"] / self.case.ideal_cycles

    def to_json(self) -> dict[str, Any]:
        """Return the measures as JSON."""
        found: dict[str, Any] = {"trace": self.case.name, "policy": self.policy}
        counts = self.counts
        if counts is None:
            return {**found, "problem": self.problem}
        values = measures(self.case.machine, np.array([counts[name] for name in COUNTERS]))
        named = dict(zip((spec.name for spec in METRICS), values.tolist(), strict=True))
        of_policy = counts["fills"] - counts["bound_fills"]
        of_capacity = counts["bound_fills"] - counts["compulsory_fills"]
        return {
            **found,
            **{name: named[name] for name in _MEASURES},
            "fills": counts["fills"],
            "bound_fills": counts["bound_fills"],
            "compulsory_fills": counts["compulsory_fills"],
            "capacity_fills": of_capacity,
            "policy_fills": of_policy,
            "diagnosis": "policy" if of_policy > of_capacity else "working set",
            "state_bits": self.state_bits,
            "operations": None if self.operations is None else dict(self.operations),
        }


def open_case(name: str, options: Mapping[str, str]) -> CpuCase:
    """Return a program with the machine that options describe.

    Args:
      name: Workload of the simulator, or a ChampSim trace.
      options: `cache`, `instructions`, and parameters of the default space.

    Raises:
      UnknownNameError: An option or a workload does not exist.
      InvalidArgumentError, InvalidDesignError: A value is not one of its option.
      FileFormatError: The file is damaged or of another form.
    """
    own = ("cache", "instructions")
    length: Any = options.get("instructions", "")
    simulator = CpuSimulator(instructions=length)
    space = simulator.space
    texts = {key: text for key, text in options.items() if key not in own}
    for key in texts:
        if key not in space.names:
            raise unknown_name("option", key, [*own, *space.names])
    cache = check_choice("cache", options.get("cache", "l2"), tuple(_CACHES))
    design = with_values(space, space.design_at(space.default_indices), texts)
    program: Program = simulator.workload(name).content
    trace, warmup, length = simulator.region(program)
    machine = machine_of(space.name, design)
    return CpuCase(str(name), trace, machine, _CACHES[cache], warmup, length)


def evaluate_policy(
    source: PolicySource,
    case: CpuCase,
    runner: PolicyRunner,
    tuned: Mapping[str, int] | None = None,
) -> CpuResult:
    """Return the measures of a policy on a case; a policy that fails is infeasible.

    A constant `DEGREE` of the policy sets the prefetches of a look-ahead.
    """
    name = source.doc.split("\n")[0].rstrip(".") or source.path
    operations = bounds_of(source, case.values)
    degree = {**source.constants, **(tuned or {})}.get("DEGREE", _DEGREE)
    if type(degree) is not int or not 1 <= degree <= _MAX_DEGREE:
        problem = f"DEGREE must be 1 to {_MAX_DEGREE}"
        return CpuResult(case=case, policy=name, problem=problem)
    counts = runner.run(source.text, case.arguments(degree), tuned)
    if "problem" in counts:
        return CpuResult(case=case, policy=name, problem=str(counts["problem"]))
    return CpuResult(
        case=case,
        policy=name,
        counts=counts,
        state_bits=source.state_bits(case.sizes),
        operations=operations,
    )


def evaluate_built_in(policy: str, case: CpuCase) -> CpuResult:
    """Return the measures of a built-in policy on a case.

    Raises:
      UnknownNameError: There is no such policy.
    """
    return CpuResult(case=case, policy=policy, counts=built_in_counts(policy, case))


def built_in_arguments(policy: str, case: CpuCase) -> dict[str, Any]:
    """Return the input of the simulation with a built-in policy."""
    if policy not in BUILT_IN:
        raise unknown_name("built-in policy", policy, BUILT_IN)
    parameter, value = BUILT_IN[policy]
    found = case.arguments()
    return {**found, "machine": {**case.machine, f"{case.cache}.{parameter}": value}}


def built_in_counts(policy: str, case: CpuCase) -> dict[str, int]:
    """Return counters, fills and their least number of a built-in policy, by name.

    Raises:
      UnknownNameError: There is no such policy.
      SimulatorError: The machine never ends.
    """
    arguments = built_in_arguments(policy, case)
    counters, _ = run_case(arguments)
    if counters is None:
        raise SimulatorError(f"The machine never ends on {case.name} with policy {policy!r}.")
    fills, bound, compulsory = fills_and_bound(arguments)
    named = dict(zip(COUNTERS, counters.tolist(), strict=True))
    return {**named, "fills": fills, "bound_fills": bound, "compulsory_fills": compulsory}
