"""Translation simulator: the cost of address translation, and hardware that lowers it."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, final

import numpy as np

from archgym.checks import parse_whole
from archgym.errors import InvalidArgumentError, unknown_name
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective
from archgym.evaluation.simulator import BatchResult, Simulator, Workload, require_kept
from archgym.simulators.translation.costs import COSTS, counted_without, measures_without
from archgym.simulators.translation.cycles import Core, core_named, count_cycles, on_core
from archgym.simulators.translation.designs import (
    DEFAULT_HARDWARE,
    hardware_of_many,
    memory_of,
)
from archgym.simulators.translation.hardware import PREFETCHERS, Hardware
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.metrics import (
    FORMER_OBJECTIVES,
    METRICS,
    OBJECTIVES,
    check_counters,
    measures,
)
from archgym.simulators.translation.prepared import Prepared, latest_prepared
from archgym.simulators.translation.run import run
from archgym.simulators.translation.space import GROUPS, SPACE_NAMES, design_space
from archgym.simulators.translation.state import MAX_CHAINS
from archgym.simulators.translation.workloads import (
    DEFAULT_WORKLOAD,
    TraceContent,
    characterise,
    load,
    names,
)
from archgym.traces import MemoryTrace

SHORT_RECORDS: Final = 200_000
"""Records of the fidelity `short`, which makes a table of 100,000 designs affordable."""
# chosen: fewer hardly leave the warm-up of a TLB of 1,024 entries.
_LEAST_RECORDS: Final = 1_000
# chosen: more than any trace has.
_MAX_RECORDS: Final = 10**11 - 1
_DEFAULT_PREFETCHER: Final = "none"
_DEFAULT_CORE: Final = "out-of-order"
_STRADDLING: Final = ("two", "one")
_PICTURES: Final = (".png", ".svg", ".pdf")
_require = partial(require_kept, "translation")


@final
class TranslationSimulator(Simulator):
    """TLBs, page walks and mechanisms such as Victima, on memory traces of real programs.

    A design is the hardware that translates addresses, the L2 cache with page-table entries and TLB
    blocks, and the system's layout of memory. Time is that of a simple core without a pipeline:
    speedups are ratios on one trace.
    """

    name = "translation"
    version = 2
    space_names: ClassVar[tuple[str, ...]] = SPACE_NAMES
    fidelity_names: ClassVar[tuple[str, ...]] = ("standard", "short")
    default_objective = "speed-under-area"
    default_workload = DEFAULT_WORKLOAD
    table_space = "tabulated"
    metrics: tuple[MetricSpec, ...] = METRICS
    objectives: Mapping[str, Objective] = OBJECTIVES
    former_objectives: Mapping[str, Objective] = FORMER_OBJECTIVES
    costs = COSTS
    exports: Mapping[str, str] = {
        "champsim": "TLBs, walker and caches as ChampSim's parameters; mechanisms in a section."
    }

    def __init__(
        self,
        space: str = "default",
        core: str = _DEFAULT_CORE,
        fidelity: str = "standard",
        parallel_misses: str = "",
        prefetcher: str = _DEFAULT_PREFETCHER,
        straddling: str = _STRADDLING[0],
        records: str = "",
    ) -> None:
        """Initialise the simulator for one space, core and fidelity.

        Args:
          space: One of `space_names`.
          core: `out-of-order` has a reorder buffer and a clock. `additive` hides a fixed share of
            each latency, `in-order` hides nothing. With `window`, misses of the L2 TLB overlap
            within the limits of the workload and the walkers, and the number of walkers is a
            parameter of the wide spaces.
          fidelity: `standard` runs whole traces, `short` their first 200,000 records.
          parallel_misses: Misses that the program has in flight at most, 1 to 16: 1 for a chain of
            pointers. By default the workload's.
          prefetcher: Prefetcher of the L2 cache: `none`, `next-line` or `streamer`.
          straddling: Number of accesses that an access across two lines counts as: `two`, or `one`
            with at most one miss in each TLB and cache, as cachegrind counts it.
          records: First records of each trace that run, 1,000 or more; by default the fidelity's
            number. Few records rank designs much as all do, in a fraction of the time.

        Raises:
          UnknownNameError: The space, core, fidelity, prefetcher or `straddling` does not exist.
          InvalidArgumentError: `parallel_misses` is not a number from 1 to 16, or `records` not one
            from 1,000.
        """
        if prefetcher not in PREFETCHERS:
            raise unknown_name("prefetcher", prefetcher, PREFETCHERS)
        if straddling not in _STRADDLING:
            raise unknown_name("straddling", straddling, _STRADDLING)
        self._prefetcher = prefetcher
        self._joins_lines = straddling == "one"
        self._mlp = _parallel(parallel_misses) if parallel_misses else 0.0
        if fidelity not in self.fidelity_names:
            raise unknown_name("fidelity", fidelity, self.fidelity_names)
        self.fidelity = fidelity
        self._n_records = (
            parse_whole("records", records, _LEAST_RECORDS, _MAX_RECORDS) if records else 0
        )
        self._core_name = core
        self._core = core_named(core)
        # Without the default, so that the names of its tasks are short.
        chosen = {
            "core": (core, _DEFAULT_CORE),
            "parallel_misses": (f"{self._mlp:g}", "0"),
            "prefetcher": (prefetcher, _DEFAULT_PREFETCHER),
            "straddling": (straddling, _STRADDLING[0]),
            "records": (str(self._n_records), "0"),
        }
        self.options = {name: value for name, (value, usual) in chosen.items() if value != usual}
        self.space = design_space(space, has_walkers=self._core.overlaps_walks)
        self.groups: Mapping[str, tuple[str, ...]] = {
            group: present
            for group, members in GROUPS.items()
            if (present := tuple(m for m in members if m in self.space.names))
        }

    def __reduce__(self) -> tuple[type["TranslationSimulator"], tuple[str, ...]]:
        parallel_misses = self.options.get("parallel_misses", "")
        return TranslationSimulator, (
            self.space.name, self._core_name, self.fidelity, parallel_misses,
            self._prefetcher, _STRADDLING[self._joins_lines], self.options.get("records", ""),
        )  # fmt: skip

    def workload_names(self) -> tuple[str, ...]:
        """Return the built-in workloads."""
        return names()

    def workload(self, name: str | Path) -> Workload:
        """Return the built-in workload with this name, or the memory trace at this path.

        Raises:
          UnknownNameError: The name is neither.
          FileFormatError: The file cannot be read, or is too short.
        """
        content = load(name)
        return Workload(content.name, content.digest, content)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Evaluate designs that are canonical and feasible in the space."""
        return self._results(indices, workload, run, measures)

    def simulate_without(self, cost: str, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Evaluate designs as `simulate` does, on an ideal machine without one of `costs`."""
        count, measure = partial(counted_without, cost), partial(measures_without, cost)
        return self._results(indices, workload, count, measure)

    def _results(
        self,
        indices: np.ndarray,
        workload: Workload,
        count: Callable[[Prepared, list[Hardware]], np.ndarray],
        measure: Callable[[list[Hardware], np.ndarray, Core, float], np.ndarray],
    ) -> BatchResult:
        """Count the events of designs on the trace, and compute their metrics."""
        content: TraceContent = workload.content
        mlp = self._parallel_misses(content)
        hardware = [
            replace(on_core(design, self._core), l2_cache_prefetcher=self._prefetcher)
            for design in hardware_of_many(self.space, indices, mlp)
        ]
        rows_by_memory: dict[Memory, list[int]] = defaultdict(list)
        for row, memory in enumerate(memory_of(self.space, indices)):
            rows_by_memory[memory].append(row)
        baseline = self._baseline_cycles(content)
        values = np.empty((len(indices), len(self.simulated_metrics)))
        for memory, rows in rows_by_memory.items():
            ready = latest_prepared(
                content.source, content.digest, self._max_records, memory, content.name,
                joins_lines=self._joins_lines,
            )  # fmt: skip
            designs = [hardware[row] for row in rows]
            counters = count(ready, designs)
            check_counters(counters)
            values[rows] = measure(designs, counters, self._core, baseline)
        return BatchResult(values, np.zeros(len(indices), dtype=np.int16))

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Check that the metrics of the results are consistent.

        Raises:
          SimulatorError: An invariant is violated; the message has the difference.
        """
        names = [spec.name for spec in self.simulated_metrics]
        column = dict(zip(names, values.T, strict=True))
        baseline = self._baseline_cycles(workload.content)
        _require(
            "speedup x cycles are the default design's",
            column["speedup"] * column["total_cycles"],
            baseline,
        )
        instructions = column["ipc"] * column["total_cycles"]
        _require("all designs run the same instructions", instructions, instructions[:1])
        # A miss of an access to two pages that counts as one may take two walks.
        of_walks = () if self._joins_lines else (("walks_per_kilo_instruction", "l2_tlb_mpki"),)
        for below, above in (
            ("l2_tlb_mpki", "l1_tlb_mpki"),
            *of_walks,
            ("l3_cache_data_mpki", "l2_cache_data_mpki"),
            ("l2_cache_data_mpki", "l1_cache_data_mpki"),
            ("block_reach_mib", "translation_reach_mib"),
            ("translation_area_mm2", "area_mm2"),
        ):
            smaller = np.minimum(column[below], column[above])
            _require(f"{below} is at most {above}", column[below], smaller)
        if self._joins_lines:
            return
        served = column["mechanism_hit_percent"] / 100.0 * column["l2_tlb_mpki"]
        _require(
            "walks and misses that the mechanism served are the misses of the L2 TLB",
            column["walks_per_kilo_instruction"] + served,
            column["l2_tlb_mpki"],
        )

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        """Return the hardware of a design as parameters in the style of ChampSim."""
        from archgym.simulators.translation.export import champsim_files

        return champsim_files(hardware_of_many(self.space, np.asarray(indices)[None, :])[0])

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return statistics of the trace: name to (value, unit)."""
        return characterise(workload.content)

    def picture_workload(self, workload: Workload, path: Path) -> bool:
        """Draw the trace; `path` ends in .png, .svg or .pdf.

        Raises:
          InvalidArgumentError: The path has another ending.
          StorageError: The file cannot be written.
        """
        from archgym.traces.analysis import analyse
        from archgym.traces.picture import draw_analysis

        if path.suffix not in _PICTURES:
            raise InvalidArgumentError(
                f"A picture's `path` must end in {', '.join(_PICTURES)}; got {path.name!r}."
            )
        content: TraceContent = workload.content
        trace = content.trace
        found = analyse(trace)
        events = f"{found.accesses:,} accesses of data in {found.instructions:,} instructions"
        if not isinstance(content.source, MemoryTrace):
            events += f" (only the first {len(trace):,} records)"
        draw_analysis(found, f"{trace.name}: {events}", path)
        return True

    def _parallel_misses(self, content: TraceContent) -> float:
        if not self._core.has_parallelism:
            return 1.0
        return self._mlp or content.mlp

    def _baseline_cycles(self, content: TraceContent) -> float:
        mlp = self._parallel_misses(content)
        key = (self._max_records, self._core_name, mlp, self._prefetcher, self._joins_lines)
        return _baseline_cycles(content, *key)

    @property
    def _max_records(self) -> int:
        if self._n_records:
            return self._n_records
        return SHORT_RECORDS if self.fidelity == "short" else 0


def _parallel(text: str) -> float:
    """Return a number of parallel misses.

    Raises:
      InvalidArgumentError: The text is not a whole number from 1 to 16.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= number <= MAX_CHAINS:
        raise InvalidArgumentError(
            f"`parallel_misses` must be a whole number from 1 to {MAX_CHAINS}; got {text!r}."
        )
    return float(number)


# chosen: more workloads than a process uses at a time.
_MAX_BASELINES: Final = 1024
_BASELINES: dict[tuple[str, int, str, float, str, bool], float] = {}


def _baseline_cycles(
    content: TraceContent,
    max_records: int,
    core_name: str,
    mlp: float,
    prefetcher: str,
    joins_lines: bool,
) -> float:
    """Return the cycles of the default design on a workload."""
    key = (content.digest, max_records, core_name, mlp, prefetcher, joins_lines)
    if key not in _BASELINES:
        core = core_named(core_name)
        ready = latest_prepared(
            content.source, content.digest, max_records, Memory(), content.name,
            joins_lines=joins_lines,
        )  # fmt: skip
        default = replace(on_core(DEFAULT_HARDWARE, core), mlp=mlp, l2_cache_prefetcher=prefetcher)
        if len(_BASELINES) >= _MAX_BASELINES:
            _BASELINES.clear()
        _BASELINES[key] = count_cycles(default, run(ready, default)[0], core).total
    return _BASELINES[key]
