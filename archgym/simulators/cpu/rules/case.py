"""Measurement of cache rules: cycles, misses by cause, prefetches."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from archgym.simulators.cpu.kernel import layout as lay
from archgym.simulators.cpu.kernel.layout import Ints
from archgym.simulators.cpu.kernel.run import COUNTERS, Adapt, run_logged
from archgym.simulators.cpu.machine import PREFETCHERS, REPLACEMENTS
from archgym.simulators.cpu.metrics import METRICS, measures
from archgym.simulators.cpu.simulator import CpuSimulator
from archgym.simulators.cpu.space import machine_of
from archgym.simulators.cpu.workloads.programs import InstructionTrace, Program
from archgym.simulators.kit import (
    InvalidArgumentError,
    SimulatorError,
    check_choice,
    check_known,
    unknown_name,
    with_values,
)
from archgym.simulators.kit.kernels import BLOCK, WAY, EntryPoints, Storage
from archgym.simulators.kit.rules import RuleCase, RuleSource
from archgym.simulators.translation.rules.bounds import optimum_misses

_CACHES: Final = {"l1d": "L1D", "l2": "L2C", "llc": "LLC"}
BUILT_IN: Final[Mapping[str, tuple[str, int]]] = {
    **{name: ("replacement", REPLACEMENTS.index(name)) for name in REPLACEMENTS[:4]},
    **{name: ("prefetcher", PREFETCHERS.index(name)) for name in PREFETCHERS[1:]},
}
"""Parameter of the cache and its value, by name of the built-in rule."""
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


_PREPARED: Final = "1000"  # instructions


@final
@dataclass(frozen=True)
class CpuCase(RuleCase):
    """A program, and the machine with the cache that a rule manages.

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

    def arguments(
        self, source: RuleSource | None = None, tuned: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return the input of the simulation.

        A constant `DEGREE` of the rule sets the prefetches of a look-ahead.
        """
        constants = {} if source is None else {**source.constants, **(tuned or {})}
        degree = constants.get("DEGREE", _DEGREE)
        if type(degree) is not int or not 1 <= degree <= _MAX_DEGREE:
            raise InvalidArgumentError(f"DEGREE must be 1 to {_MAX_DEGREE}")
        return {
            "records": self.trace.records,
            "n": self.trace.n,
            "n_pages": self.trace.n_pages,
            "machine": dict(self.machine),
            "warmup": self.warmup,
            "length": self.length,
            "component": lay.COMPONENTS.index(self.cache),
            "degree": degree,
        }

    def built_in_input(self, rule: str) -> dict[str, Any]:
        """Return the input of the simulation with a built-in rule.

        Raises:
          UnknownNameError: There is no such rule.
        """
        if rule not in BUILT_IN:
            raise unknown_name("built-in rule", rule, BUILT_IN)
        parameter, value = BUILT_IN[rule]
        return {**self.input(), "machine": {**self.machine, f"{self.cache}.{parameter}": value}}

    def built_in_counts(self, rule: str) -> dict[str, int]:
        """Simulate a built-in rule, and return its counts by name.

        They are the counters of the core, and blocks that the cache fetches: `fills`, the fewest
        that any rule needs (`bound_fills`), and the distinct ones (`compulsory_fills`).

        Raises:
          UnknownNameError: There is no such rule.
          SimulatorError: The machine never ends.
        """
        given = self.built_in_input(rule)
        counters, _ = run_case(given)
        if counters is None:
            raise SimulatorError(f"The machine never ends on {self.name} with rule {rule!r}.")
        fills, bound, compulsory = fills_and_bound(given)
        named = dict(zip(COUNTERS, counters.tolist(), strict=True))
        return {**named, "fills": fills, "bound_fills": bound, "compulsory_fills": compulsory}

    def loss(self, counts: Mapping[str, Any]) -> float:
        """Return cycles over those with a cache that always hits."""
        return float(counts["cycles"] / self.ideal_cycles)

    def measures(self, counts: Mapping[str, Any]) -> dict[str, Any]:
        """Return metrics of the core, and fills of the cache by cause."""
        values = measures(self.machine, np.array([counts[name] for name in COUNTERS]))
        named = dict(zip((spec.name for spec in METRICS), values.tolist(), strict=True))
        of_rule = counts["fills"] - counts["bound_fills"]
        of_capacity = counts["bound_fills"] - counts["compulsory_fills"]
        return {
            **{name: named[name] for name in _MEASURES},
            "fills": counts["fills"],
            "bound_fills": counts["bound_fills"],
            "compulsory_fills": counts["compulsory_fills"],
            "capacity_fills": of_capacity,
            "policy_fills": of_rule,
            "diagnosis": "policy" if of_rule > of_capacity else "working set",
        }

    @cached_property
    def ideal_cycles(self) -> int:
        """Cycles of the machine if the cache always hits."""
        place = lay.CACHES + lay.CACHE_SIZE * lay.COMPONENTS.index(self.cache) + lay.K_PERFECT

        def adapt(state: Ints) -> None:
            state[place] = 1

        counters, _ = run_case(self.input(), adapt)
        if counters is None:
            raise SimulatorError(f"The machine never ends on {self.name} with an ideal cache.")
        return int(counters[0])


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
    check_known("option", texts, [*own, *space.names])
    cache = check_choice("cache", options.get("cache", "l2"), tuple(_CACHES))
    design = with_values(space, space.design_at(space.default_indices), texts)
    program: Program = simulator.workload(name).content
    trace, warmup, length = simulator.region(program)
    machine = machine_of(space.name, design)
    return CpuCase(str(name), trace, machine, _CACHES[cache], warmup, length)


def prepare() -> None:
    """Load or compile the kernels."""
    fills_and_bound(open_case("b-tree", {"instructions": _PREPARED}).input())


_HOOKS: Final = {
    "victim": lay.K_HOOK_VICTIM,
    "on_hit": lay.K_HOOK_ON_HIT,
    "on_fill": lay.K_HOOK_ON_FILL,
    "prefetch": lay.K_HOOK_PREFETCH,
    "stride": lay.K_HOOK_STRIDE,
}
# chosen: four times the events of the programs that ship.
_EVENTS_PER_INSTRUCTION: Final = 24


def run_case(
    case: Mapping[str, Any], adapt: Adapt | None = None, n_events: int = 0
) -> tuple[Ints | None, Ints]:
    """Return counters of a case, None if it never ends, and the first events of its caches."""
    trace = InstructionTrace("case", "", case["records"], int(case["n"]), int(case["n_pages"]))
    machine = dict(case["machine"])
    return run_logged(machine, trace, int(case["warmup"]), int(case["length"]), n_events, adapt)


def fills_and_bound(case: Mapping[str, Any], adapt: Adapt | None = None) -> tuple[int, int, int]:
    """Return fills of the cache with the warm-up, their least number, and first fills.

    The least number is that of Belady's rule on the hits and fills of the run, in their order.

    Raises:
      SimulatorError: The log of events is full, or fewer fills than possible; a defect.
    """
    n_events = _EVENTS_PER_INSTRUCTION * (int(case["warmup"]) + int(case["length"]))
    _, events = run_case(case, adapt, n_events)
    if len(events) >= n_events:
        raise SimulatorError(f"The caches have more events than the {n_events} that are logged.")
    ways = int(case["values"]["WAYS"])
    own = events[events[:, 1] == int(case["component"])]
    is_fill = own[:, 0] == lay.EVENT_FILL
    is_kept = is_fill | (own[:, 6] < ways)
    blocks = np.ascontiguousarray(own[is_kept, 2] >> 6)
    fills = int(is_fill.sum())
    bound = optimum_misses(blocks, int(case["sizes"]["line"]), ways)
    if fills < bound:
        raise SimulatorError(
            f"The cache has {fills} fills, fewer than the optimum of {bound}. That is a defect of "
            "the simulator; report it with the rule."
        )
    return fills, bound, len(np.unique(blocks))


def simulate_rule(points: EntryPoints, storage: Storage, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return counters by name, fills and their least number for a rule on a case.

    Args:
      points: Its compiled functions.
      storage: Its arrays; each run begins with them as they are.
      case: Program and machine, of `CpuCase.input`.
    """
    base = lay.CACHES + lay.CACHE_SIZE * int(case["component"])
    given = points.addresses
    begin = storage.memory.copy()

    def adapt(state: Ints) -> None:
        if given["victim"]:
            state[base + lay.K_REPLACEMENT] = lay.USER_REPLACEMENT
        if given["prefetch"] or given["stride"]:
            state[base + lay.K_PREFETCHER] = lay.USER_PREFETCHER
        for name, field in _HOOKS.items():
            state[base + field] = given[name]
        state[base + lay.K_HOOK_MEMORY] = storage.memory.ctypes.data
        state[base + lay.K_HOOK_FLOATS] = storage.floats.ctypes.data
        state[base + lay.K_HOOK_DEGREE] = int(case["degree"])
        state[base + lay.K_HOOK_WAY_FAULT] = WAY
        state[base + lay.K_HOOK_BLOCK_FAULT] = BLOCK

    started = time.perf_counter()
    counters, _ = run_case(case, adapt)
    took_s = time.perf_counter() - started
    if counters is None:
        return {"problem": "the core never ends: no instruction retires"}
    if storage.fault[0]:
        return {}
    storage.memory[:] = begin
    fills, bound, compulsory = fills_and_bound(case, adapt)
    return {
        **dict(zip(COUNTERS, counters.tolist(), strict=True)),
        **{"fills": fills, "bound_fills": bound, "compulsory_fills": compulsory},
        "seconds": took_s,
    }
