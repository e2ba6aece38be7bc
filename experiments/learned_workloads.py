"""Workloads, small design space and tables of the study of learned policies.

`learned_policies.py` has the commands. Each family of workloads has shipped ones and, except for
recorded programs, generated ones whose settings are drawn at random with a fixed seed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import final

import numpy as np
from trace_similarity import trace_features

from archgym.errors import unknown_name
from archgym.evaluation.simulator import BatchResult, Simulator, Workload
from archgym.simulators.dram.formats.trace import Trace
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads import generators
from archgym.simulators.dram.workloads.generators import Traffic
from archgym.simulators.dram.workloads.shipped import SHIPPED, shipped_trace
from archgym.spaces.design import Condition
from archgym.spaces.expression import P
from archgym.spaces.parameter import Categorical, Ordinal, Parameter
from archgym.spaces.space import DesignSpace

__all__ = ["FAMILIES", "SmallController", "Tables", "generated", "space", "workload_names"]

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "sequential": ("stream", "weight-stream", "expert-load", "expert-misses"),
    "irregular": ("random", "gups", "kv-cache-gather", "pointer-chase", "strided"),
    "phases-and-copies": ("cloud-1", "cloud-2", "copy-rw", "multicore-rw"),
    "short-runs": ("mixed-rw", "bursty-rw", "sparse-rw"),
    "recorded": tuple(name for name in SHIPPED if name.startswith("recorded-")),
}
"""Shipped workloads by family; a family is left out as a whole."""
_REQUESTS = 10_000
"""Length of generated traces, that of most shipped ones."""
_MIB = 2**20
_SEED = 2026
# chosen: requests of 512 bytes and more are the fast ones, on a time base of 125 ps as shipped.
_FAST_MHZ = 8000
_SIZES = (128, 256, 512)

# Settings of the space `default` that the small space varies; others keep their defaults.
# chosen: the settings that move the objective most, with few levels, so that tables are small.
_VARIED: Mapping[str, tuple[object, ...]] = {
    "page_policy": ("Open", "OpenAdaptive", "Closed", "ClosedAdaptive"),
    "scheduler": ("Fifo", "FrFcfsGrp", "FrFcfs"),
    "request_buffer_size": (2, 8, 64),
    "refresh_max_postponed": (0, 8),
    "power_down_policy": ("NoPowerDown", "Staggered"),
    "arbiter": ("Simple", "Fifo"),
    "max_active_transactions": (4, 16, 128),
    "address_mapping": (
        "row-bank-column",
        "bank-row-column",
        "row-column-bank",
        "row-bank-column-xor",
    ),
}


def space() -> DesignSpace:
    """Return the small space: 2,304 distinct designs of 10^7 in the space `default`."""
    full = DramSimulator().space
    parameters: list[Parameter] = []
    for name, values in _VARIED.items():
        of_full = full.parameter(name)
        kept = {"name": name, "default": of_full.default, "unit": of_full.unit, "doc": of_full.doc}
        if isinstance(of_full, Categorical):
            parameters.append(Categorical(choices=tuple(map(str, values)), **kept))
        else:
            parameters.append(Ordinal(levels=tuple(int(str(v)) for v in values), **kept))
    return DesignSpace(
        "small",
        parameters,
        conditions=[Condition("max_active_transactions", P("arbiter") != "Simple")],
        doc="Eight settings of a memory controller with few levels each.",
    )


@final
class SmallController(Simulator):
    """The DRAM simulator on the small space, for shipped and generated workloads."""

    name = "small-controller"
    version = 0
    default_objective = "balanced"
    default_workload = "bursty-rw"

    def __init__(self, tables: "Tables | None" = None) -> None:
        """Take the tables that answer in the simulator's place."""
        self._dram = DramSimulator()
        self._tables = tables
        self.space = space()
        self.metrics = self._dram.metrics
        self.objectives = self._dram.objectives
        self.model_reasons = self._dram.model_reasons
        full = self._dram.space
        self._default = full.default_indices
        self._places = [full.names.index(name) for name in self.space.names]
        self._levels = [
            np.array([full.parameters[place].index(own.value(i)) for i in range(own.size)])
            for place, own in zip(self._places, self.space.parameters, strict=True)
        ]

    def workload_names(self) -> tuple[str, ...]:
        """Return the names of shipped and generated workloads."""
        return workload_names()

    def workload(self, name: str | Path) -> Workload:
        """Return a shipped or generated workload.

        Raises:
          UnknownNameError: There is no such workload.
        """
        trace = trace_of(str(name))
        return Workload(trace.name, trace.digest, trace)

    def simulate(self, indices: np.ndarray, workload: Workload) -> BatchResult:
        """Return results of designs, from the tables if there are any."""
        if self._tables is not None:
            return self._tables.look_up(workload.name, self.space.flat(indices))
        full = np.tile(self._default, (len(indices), 1))
        for column, (place, levels) in enumerate(zip(self._places, self._levels, strict=True)):
            full[:, place] = levels[indices[:, column]]
        return self._dram.evaluate_batch(full, workload)


@final
@dataclass(frozen=True)
class Tables:
    """Results of every distinct design on every workload.

    `numbers` is (n_designs,), each design's number in the space; `values` is
    (n_workloads, n_designs, n_metrics), NaN where a design was not built.
    """

    workloads: tuple[str, ...]
    numbers: np.ndarray
    values: np.ndarray
    reason: np.ndarray

    def look_up(self, workload: str, numbers: np.ndarray) -> BatchResult:
        """Return the results of canonical designs with these numbers."""
        rows = np.searchsorted(self.numbers, numbers)
        place = self.workloads.index(workload)
        return BatchResult(self.values[place, rows], self.reason[place, rows])

    @classmethod
    def read(cls, path: Path) -> "Tables":
        """Return the tables in a file that `write` made."""
        with np.load(path) as data:
            names = tuple(str(name) for name in data["workloads"])
            return cls(names, data["numbers"], data["values"], data["reason"])

    @classmethod
    def measure(cls, path: Path) -> "Tables":
        """Simulate every design on every workload, one line of progress each, and write them."""
        simulator = SmallController()
        designs = np.concatenate(list(simulator.space.enumerate(canonical=True)))
        values, reason = [], []
        for name in workload_names():
            result = simulator.evaluate_batch(designs, simulator.workload(name))
            values.append(result.values)
            reason.append(result.reason)
            print(f"{len(values)} of {len(workload_names())}: {name}", flush=True)
        numbers = simulator.space.flat(designs)
        found = cls(workload_names(), numbers, np.array(values), np.array(reason))
        np.savez(
            path,
            workloads=np.array(found.workloads),
            numbers=found.numbers,
            values=found.values,
            reason=found.reason,
        )
        return found


def workload_names() -> tuple[str, ...]:
    """Return the names of all workloads, shipped ones first."""
    return (*SHIPPED, *generated())


def family_of(workload: str) -> str:
    """Return the family of a workload."""
    for family, shipped in FAMILIES.items():
        if workload in shipped or workload.startswith(f"{family}:"):
            return family
    raise unknown_name("workload", workload, workload_names())


@cache
def trace_of(workload: str) -> Trace:
    """Return the trace of a shipped or generated workload.

    Raises:
      UnknownNameError: There is no such workload.
    """
    return generated()[workload]() if workload in generated() else shipped_trace(workload)


def features(workloads: tuple[str, ...]) -> np.ndarray:
    """Return the features of workloads, (n_workloads, n_features); no simulation is needed."""
    return np.array([trace_features(trace_of(name)) for name in workloads])


@cache
def generated() -> Mapping[str, Callable[[], Trace]]:
    """Return the makers of generated traces by name, `family:recipe-number`."""
    recipes: tuple[tuple[str, str, int, Callable[[np.random.Generator], Trace]], ...] = (
        ("sequential", "stream", 8, _stream),
        ("sequential", "blocks", 8, _blocks),
        ("irregular", "random", 8, _random),
        ("irregular", "chase", 4, _chase),
        ("irregular", "strided", 6, _strided),
        ("phases-and-copies", "phases", 8, _phases),
        ("phases-and-copies", "copy", 8, _copy),
        ("short-runs", "steady", 10, partial(_short_runs, bursty=False)),
        ("short-runs", "bursty", 12, partial(_short_runs, bursty=True)),
    )
    found: dict[str, Callable[[], Trace]] = {}
    for family, recipe, count, make in recipes:
        for number in range(count):
            name = f"{family}:{recipe}-{number}"
            seed = (_SEED, len(found))
            found[name] = partial(_made, make, name, seed)
    return found


def _made(make: Callable[[np.random.Generator], Trace], name: str, seed: tuple[int, int]) -> Trace:
    return replace(make(np.random.default_rng(seed)), name=name)


# chosen: ranges that hold the settings of the shipped workloads with some room to either side.
def _traffic(rng: np.random.Generator, *, bursty: bool, writes: bool = True) -> Traffic:
    """Return times and directions: mean gaps from 1 to 100 ticks, spread evenly by logarithm."""
    high = round(float(np.exp(rng.uniform(0.0, np.log(200.0)))))
    low = max(1, round(high * rng.uniform(0.1, 1.0)))
    burst, idle = (0, 0), (0, 0)
    if bursty:
        high = low = int(rng.integers(1, 5))
        longest = int(rng.integers(16, 160))
        burst = (max(1, longest // 4), longest)
        most = int(rng.integers(100, 1500))
        idle = (most // 4, most)
    share = float(rng.uniform(0.5, 1.0)) if writes else 1.0
    return Traffic(
        read_share=share,
        write_run=int(rng.integers(1, 9)),
        gap_ticks=(low, high),
        burst_requests=burst,
        idle_ticks=idle,
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _stream(rng: np.random.Generator) -> Trace:
    traffic = _traffic(rng, bursty=bool(rng.random() < 0.3))
    return generators.stream(_REQUESTS, seed=_seed(rng), traffic=traffic)


def _blocks(rng: np.random.Generator) -> Trace:
    size = int(rng.choice((512, 1024)))
    gap = int(rng.integers(8, 64))
    longest = int(rng.integers(64, 256))
    traffic = Traffic(
        request_bytes=size,
        gap_ticks=(gap, gap),
        burst_requests=(longest // 2, longest),
        idle_ticks=(500, int(rng.integers(1000, 8000))),
        clock_mhz=_FAST_MHZ,
    )
    return generators.local(
        _REQUESTS * 64 // size,
        seed=_seed(rng),
        sequential_share=float(rng.uniform(0.9, 1.0)),
        footprint_bytes=512 * _MIB,
        traffic=traffic,
    )


def _random(rng: np.random.Generator) -> Trace:
    return generators.random_access(
        _REQUESTS,
        seed=_seed(rng),
        footprint_bytes=int(rng.choice((16, 64, 256, 1024))) * _MIB,
        traffic=_traffic(rng, bursty=bool(rng.random() < 0.3)),
    )


def _chase(rng: np.random.Generator) -> Trace:
    low = int(rng.integers(20, 80))
    return generators.pointer_chase(
        _REQUESTS,
        seed=_seed(rng),
        n_nodes=int(rng.choice((512, 2048, 8192))),
        footprint_bytes=int(rng.choice((64, 256))) * _MIB,
        traffic=Traffic(gap_ticks=(low, low + int(rng.integers(1, 40)))),
    )


def _strided(rng: np.random.Generator) -> Trace:
    return generators.strided(
        _REQUESTS,
        stride_bytes=int(rng.choice((1, 2, 4, 8, 16, 32, 64))) * 1024,
        footprint_bytes=int(rng.choice((4, 16, 64))) * _MIB,
        seed=_seed(rng),
        traffic=_traffic(rng, bursty=False),
    )


def _phases(rng: np.random.Generator) -> Trace:
    requests = int(rng.choice((20, 50, 100)))
    total = _REQUESTS // requests
    sequential = int(total * rng.uniform(0.3, 0.7))
    runs = max(2, int(min(sequential, total - sequential) * rng.uniform(0.3, 1.0)))
    return generators.phases(
        seed=_seed(rng),
        n_sequential=sequential,
        n_random=total - sequential,
        n_runs=runs,
        phase_requests=requests,
        starts_sequential=bool(rng.random() < 0.5),
        footprint_bytes=1024 * _MIB,
        traffic=_traffic(rng, bursty=bool(rng.random() < 0.3)),
    )


def _copy(rng: np.random.Generator) -> Trace:
    return generators.copy(
        _REQUESTS,
        seed=_seed(rng),
        block_requests=int(rng.choice((8, 16, 32, 64, 128))),
        source_address=64 * _MIB,
        target_address=int(rng.choice(_SIZES)) * _MIB + 64 * _MIB,
        traffic=_traffic(rng, bursty=bool(rng.random() < 0.5)),
    )


def _short_runs(rng: np.random.Generator, *, bursty: bool) -> Trace:
    return generators.local(
        _REQUESTS,
        seed=_seed(rng),
        sequential_share=float(rng.uniform(0.2, 0.8)),
        footprint_bytes=int(rng.choice((128, 512, 1024))) * _MIB,
        traffic=_traffic(rng, bursty=bursty),
    )
