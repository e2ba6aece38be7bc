"""Translation simulator: the cost of address translation, and hardware that lowers it."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final, final

import numpy as np

from archgym.physics.arrays import TABLE_NODE
from archgym.physics.economics import (
    ChipUse,
    NodeOption,
)
from archgym.simulators.kit import (
    BatchResult,
    Columns,
    KitSimulator,
    Laws,
    Option,
    SimulatorSpec,
    Workload,
    declared,
    require_kept,
)
from archgym.simulators.translation.costs import COSTS, counted_without, measures_without
from archgym.simulators.translation.kernel.prepared import Prepared, latest_prepared
from archgym.simulators.translation.kernel.run import run
from archgym.simulators.translation.kernel.state import MAX_CHAINS
from archgym.simulators.translation.layout import Memory
from archgym.simulators.translation.machine import (
    CORES,
    DEFAULT_HARDWARE,
    PREFETCHERS,
    Core,
    Hardware,
    on_core,
)
from archgym.simulators.translation.metrics import (
    METRICS,
    OBJECTIVES,
    check_counters,
    count_cycles,
    leakage_mw,
    measures,
)
from archgym.simulators.translation.space import (
    GROUPS,
    SPACE_NAMES,
    design_space,
    machines_of,
    memory_of,
)
from archgym.simulators.translation.workloads import (
    DEFAULT_WORKLOAD,
    TraceContent,
    characterise,
    load,
    names,
)

SHORT_RECORDS: Final = 200_000
"""Records of the fidelity `short`, which makes a table of 100,000 designs affordable."""
# chosen: fewer hardly leave the warm-up of a TLB of 1,024 entries.
_LEAST_RECORDS: Final = 1_000
# chosen: more than any trace has.
_MAX_RECORDS: Final = 10**11 - 1
_require = partial(require_kept, "translation")


@final
class TranslationSimulator(KitSimulator):
    """TLBs, page walks and mechanisms such as Victima, on memory traces of real programs.

    A design is the hardware that translates addresses, the L2 cache with page-table entries and TLB
    blocks, and the system's layout of memory. Time is that of a simple core without a pipeline:
    speedups are ratios on one trace.
    """

    spec = SimulatorSpec(
        name="translation",
        title="Address translation",
        compared=(
            "counts equal three tools on 464 recorded rows; times were not compared with hardware"
        ),
        version=2,
        # Measured with the benchmark's tasks; see archgym/bench/data/hardness.jsonl.
        evaluation_s=0.02,
        space_names=SPACE_NAMES,
        fidelity_names=("standard", "short"),
        faster_fidelity="short",
        default_objective="speed-under-area",
        default_workload=DEFAULT_WORKLOAD,
        table_space="tabulated",
        metrics=METRICS,
        objectives=OBJECTIVES,
        costs=COSTS,
        groups=GROUPS,
    )

    @declared
    def __init__(
        self,
        space: str = "default",
        core: Annotated[
            str,
            Option(
                "Core: out-of-order has a reorder buffer and a clock, additive hides a share of "
                "each latency, in-order none; with window, misses of the L2 TLB overlap.",
                choices=tuple(CORES),
            ),
        ] = "out-of-order",
        fidelity: str = "standard",
        parallel_misses: Annotated[
            int,
            Option(
                "Misses that the program has in flight at most, 1 for a chain of pointers; by "
                "default the workload's.",
                low=1,
                high=MAX_CHAINS,
            ),
        ] = 0,
        prefetcher: Annotated[
            str, Option("Prefetcher of the L2 cache.", choices=PREFETCHERS)
        ] = "none",
        straddling: Annotated[
            str,
            Option(
                "Number of accesses that an access across two lines counts as; one has at most "
                "one miss in each TLB and cache, as cachegrind counts it.",
                choices=("two", "one"),
            ),
        ] = "two",
        records: Annotated[
            int,
            Option(
                "First records of each trace that run; by default the fidelity's number.",
                low=_LEAST_RECORDS,
                high=_MAX_RECORDS,
            ),
        ] = 0,
        node: NodeOption = "",
        *,
        use: ChipUse,
    ) -> None:
        """Make the simulator of one space, core and fidelity.

        Args:
          space: One of `space_names`.
          core: As its `Option` says; so do the others. With `window`, the number of walkers is a
            parameter of the wide spaces.
          fidelity: `standard` runs whole traces, `short` their first 200,000 records.
          records: As its `Option` says. Few records rank designs much as all do, in a fraction of
            the time.
          node: Node of area and energy, which are those of 22 nm without one, and of price and
            carbon of the slice.

        Raises:
          UnknownNameError: The space, core, fidelity, prefetcher, `straddling`, node or grid does
            not exist.
          InvalidArgumentError: An option is outside its limits, or needs a node.
        """
        self._node = node or TABLE_NODE
        self._core = CORES[core]
        self._mlp = float(parallel_misses)
        self._prefetcher = prefetcher
        self._joins_lines = straddling == "one"
        self._max_records = records or (SHORT_RECORDS if fidelity == "short" else 0)
        self._baselines: dict[str, float] = {}
        self.spec = self.spec.completed(
            space=design_space(space, has_walkers=self._core.overlaps_walks),
            metrics=(*METRICS, *use.metrics(node)),
        )

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
        hardware = [
            self._with_system(design, content) for design in machines_of(self.space, indices)
        ]
        rows_by_memory: dict[Memory, list[int]] = defaultdict(list)
        for row, memory in enumerate(memory_of(self.space, indices)):
            rows_by_memory[memory].append(row)
        baseline = self._baseline_cycles(content)
        values = np.empty((len(indices), len(self.spec.simulated_metrics)))
        for memory, rows in rows_by_memory.items():
            designs = [hardware[row] for row in rows]
            counters = count(self._prepared(content, memory), designs)
            check_counters(counters)
            values[rows] = measure(designs, counters, self._core, baseline)
        return BatchResult(values, np.zeros(len(indices), dtype=np.int16))

    def _with_system(self, hardware: Hardware, content: TraceContent) -> Hardware:
        """Return hardware with the core, the prefetcher and the parallelism of the program."""
        mlp = (self._mlp or content.mlp) if self._core.has_parallelism else 1.0
        cored = on_core(hardware, self._core)
        return replace(cored, mlp=mlp, l2_cache_prefetcher=self._prefetcher, node=self._node)

    def _prepared(self, content: TraceContent, memory: Memory) -> Prepared:
        return latest_prepared(
            content.source, content.digest, self._max_records, memory, content.name,
            joins_lines=self._joins_lines,
        )  # fmt: skip

    def _baseline_cycles(self, content: TraceContent) -> float:
        """Return the cycles of the default design on a workload, which runs once."""
        if content.digest not in self._baselines:
            default = self._with_system(DEFAULT_HARDWARE, content)
            counters = run(self._prepared(content, Memory()), default)[0]
            self._baselines[content.digest] = count_cycles(default, counters, self._core).total
        return self._baselines[content.digest]

    def check(self, values: np.ndarray, workload: Workload) -> None:
        """Check that the metrics of the results are consistent.

        Raises:
          SimulatorError: An invariant is violated; the message has the difference.
        """
        column = dict(zip((spec.name for spec in self.metrics), values.T, strict=True))
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

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        cycles, rate = column["total_cycles"], self._core.cycles_per_instruction
        found = [self._with_system(h, workload.content) for h in machines_of(self.space, indices)]
        instructions = column["ipc"] * cycles
        walks = instructions * column["walks_per_kilo_instruction"] / 1000.0
        # A fetch waits apart from the misses of the program's parallelism.
        at_once = np.array([1.0 + max(1, min(MAX_CHAINS, round(h.mlp))) for h in found])
        exposed = 1.0 if self._core.reorder_entries else self._core.miss_exposed
        waited = exposed * walks * column["mean_walk_latency_cycles"]
        return {
            "cycles are the instructions over the width": (cycles, instructions * rate),
            "cycles are the walks' latency over those at once": (cycles, waited / at_once),
            "power is leakage": (column["power_mw"], np.array([leakage_mw(h) for h in found])),
        }

    def describe_workload(self, workload: Workload) -> Mapping[str, tuple[float | str, str]]:
        """Return statistics of the trace: name to (value, unit)."""
        return characterise(workload.content)
