"""Prefix caches with the host's memory below them: blocks move as fast as its controllers allow."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Final, cast, final

import numpy as np

from archgym.simulators.dram.controllers.ramulator import controllers_of
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import (
    FEASIBLE,
    Columns,
    Laws,
    Limit,
    MetricSpec,
    Objective,
    Simulator,
    SimulatorSpec,
    Term,
    Workload,
)
from archgym.simulators.kit.composition import Composition, Part, PartInfeasible
from archgym.simulators.kv.metrics import TIMED
from archgym.simulators.kv.simulator import KvSimulator
from archgym.simulators.kv.space import design_space

PINS_LIMIT: Final = 256
"""chosen: four sockets of DDR4 modules, or eight half-channels of DDR5."""
_SMALL: Final = "the memory holds less than the tier dram_gb"
_LINE: Final = 64
# chosen: 512 KiB, of which a cold start is less than a percent.
_LINES: Final = 8192
# chosen: all families hold so much on one channel; far more than rows that are open.
_REGION: Final = 2**30
# chosen: no request waits for its time, so that the stream runs as fast as the memory serves it.
_TRACE_MHZ: Final = 1000
# chosen: memories that are simulated in twenty seconds, which no clock ends.
_MOST_MEMORIES: Final = 2**11
_OF_CACHE: Final = {spec.name: spec for spec in TIMED}
_JOINT: Final = (
    *(
        replace(_OF_CACHE[name], tied=f"kv.{name}")
        for name in ("usd_per_mtoken", "ttft_p90_ms", "goodput_per_s")
    ),
    MetricSpec(
        "memory_gb_per_s", "GB/s", "none", 1e-3, "Rate of loads and stores that the memory serves."
    ),
)
_SIGNS: Final = {"minimise": 1.0, "maximise": -1.0, "none": math.nan}
_LIMITS: Final = (Limit("ttft_p90_ms", "<=", 2000.0), Limit("dram.data_pins", "<=", PINS_LIMIT))
_COST: Final = Term("usd_per_mtoken", "minimise")
_OBJECTIVES: Final = (
    Objective("cost", (_COST,), "Least cost, within two seconds and 256 data pins.", _LIMITS),
    Objective(
        "latency",
        (Term("ttft_p90_ms", "minimise"),),
        "Quickest first tokens within 256 data pins.",
        _LIMITS[1:],
    ),
)


@final
class KvDramSimulator(Composition):
    """A prefix cache with tiers, and the host's memory.

    The rate of the tier `dram` is the one at which the memory serves a load and a store of blocks
    at a time, line by line, where the links to the accelerators are not slower.
    """

    spec = SimulatorSpec(
        name="kv+dram",
        title="Prefix cache and host memory",
        compared=(
            "the parts equal vLLM's own classes and Ramulator 2.1; the traffic between "
            "them was compared with no server"
        ),
        version=2,
        evaluation_s=0.1,
        bounded_by=(
            *(f"kv.{name}" for name in design_space("serving", ()).names),
            "dram.organisation",
            "dram.ranks",
            "dram.channels",
        ),
        objectives={o.name: o for o in _OBJECTIVES},
        default_objective="cost",
    )
    kinds: ClassVar[Mapping[str, str]] = {"kv": "kv", "dram": "dram"}
    usual_options: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "kv": {"space": "serving"},
        "dram": {"device": "ddr5"},
    }
    decided: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "kv": ("space", "fidelity", "dram_gb_per_s"),
        "dram": ("space", "fidelity", "requests"),
    }
    links: Mapping[str, str] = {
        "kv > dram": "loads and stores of blocks, each layer's piece at a place of its own",
        "dram > kv": "the rate at which they move",
    }
    apart: ClassVar[Mapping[str, str]] = {
        "energy": "that of the memory is for a sample of its traffic, and kv counts its moved bytes"
    }
    own_reasons: tuple[str, ...] = (_SMALL,)
    joint_metrics: tuple[MetricSpec, ...] = _JOINT

    def join(self, parts: Mapping[str, Simulator]) -> None:
        """Take over what the parts declare.

        Raises:
          InvalidArgumentError: The device has no open controller model of ticks.
        """
        controllers_of(parts["dram"])
        super().join(parts)
        self._tables: list[tuple[Any, ...]] = []

    def couple(self, parts: Mapping[str, Part], workload: Workload) -> Mapping[str, float] | str:
        """Return the joint metrics of one design; see `Composition.couple`."""
        kv, dram = parts["kv"], parts["dram"]
        design = kv.design
        piece = cast(KvSimulator, kv.simulator).piece_bytes(design)
        if isinstance(piece, str):
            kv.refuse(piece)
        memory = dram.run(block_traffic(piece))
        if memory["capacity_mib"] * 2**20 < float(str(design["dram_gb"])) * 1e9:
            return _SMALL
        rate = memory["bandwidth_gb_per_s"]
        served = kv.run(workload, **_option(f"{rate:.6g}", _noticed_below(kv)))
        found = {spec.name: served[spec.name] for spec in _JOINT[:3]}
        return {**found, "memory_gb_per_s": rate}

    def laws(self, indices: np.ndarray, column: Columns, workload: Workload) -> Laws:
        """Return laws of conservation for evaluated designs; see `Simulator.laws`."""
        # The cache learns the rate with six digits.
        moved = column["kv.dram_moved_gb"] / column["memory_gb_per_s"] * (1.0 - 1e-5)
        law = {"time is the bytes over the memory's rate": (column["kv.duration_s"], moved)}
        return {**super().laws(indices, column, workload), **law}

    def bounds(self, partial: np.ndarray, workload: Workload) -> np.ndarray:
        """Return the best metrics of caches over all memories; see `Simulator.bounds`.

        The memories that are left are tabulated, up to `_MOST_MEMORIES`. A cache runs once at each
        rate that it can notice, so that a memory that is not noticed costs nothing.
        """
        found = super().bounds(partial, workload)
        of_kv, of_dram = (self._columns[name][0] for name in ("kv", "dram"))
        names = [spec.name for spec in self.parts["kv"].metrics]
        own = [spec.name.removeprefix("kv.") for spec in self.metrics]
        known = [column for column, name in enumerate(own) if name in names]
        signs = np.array([_SIGNS[self.metrics[column].goal] for column in known])
        for row in np.flatnonzero((partial[:, of_kv] >= 0).all(axis=1)):
            memory = partial[row, of_dram]
            if math.prod(self.space.sizes[of_dram][memory < 0].tolist()) > _MOST_MEMORIES:
                continue
            # Nothing is worse than a design that cannot be built.
            found[row, known] = np.inf * signs
            kv = self.opened(np.maximum(partial[row], 0))["kv"]
            design = kv.design
            piece = cast(KvSimulator, kv.simulator).piece_bytes(design)
            if not isinstance(piece, str):
                rates, rooms = self._memories(piece, memory)
                rates = rates[rooms >= float(str(design["dram_gb"])) * 1e9]
                for rate in np.unique(np.where(rates < _noticed_below(kv), rates, np.inf)):
                    with suppress(PartInfeasible):
                        metrics = kv.run(workload, **_option(f"{rate:.6g}", math.inf))
                        values = signs * np.array([metrics[own[column]] for column in known])
                        found[row, known] = signs * np.minimum(signs * found[row, known], values)
        return found

    def _memories(self, piece: int, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rate [GB/s] and size [byte] of each memory that choices leave, (n,) each.

        Args:
          piece: Bytes of a block that lie together.
          chosen: Indices of the memory's parameters in the joint space, -1 where one is free.
        """
        for of_piece, known, table in self._tables:
            if of_piece == piece and ((known < 0) | (known == chosen)).all():
                designs, rates, rooms = table
                break
        else:
            designs, rates, rooms = table = self._tabulated(piece, chosen)
            self._tables.append((piece, chosen.copy(), table))
        kept = ((chosen < 0) | (designs == chosen)).all(axis=1)
        return rates[kept], rooms[kept]

    def _tabulated(self, piece: int, chosen: np.ndarray) -> list[np.ndarray]:
        """Return the memories that choices leave, their rates and sizes; see `_memories`."""
        own = self._columns["dram"][0]
        axes = [
            np.arange(size) if place < 0 else np.array([place])
            for place, size in zip(chosen, self.space.sizes[own], strict=True)
        ]
        designs = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
        rows = np.tile(self.space.default_indices, (len(designs), 1))
        rows[:, own] = designs
        rows = self.space.canonical(rows)
        is_kept = self.space.feasible(rows)
        memory = self.parts["dram"]
        different, which = np.unique(
            self.of_part("dram", rows[is_kept]), axis=0, return_inverse=True
        )
        result = memory.evaluate_batch(different, block_traffic(piece))
        names = [spec.name for spec in memory.metrics]
        rates = [float(f"{v:.6g}") for v in result.values[:, names.index("bandwidth_gb_per_s")]]
        rooms = result.values[:, names.index("capacity_mib")] * 2**20
        which = which.ravel()
        is_built = (result.reason == FEASIBLE)[which]
        return [a[is_built] for a in (designs[is_kept], np.array(rates)[which], rooms[which])]


def _noticed_below(kv: Part) -> float:
    """Return the rate below which a cache notices that of the memory [GB/s]; 0 without a tier."""
    design = kv.design
    if float(str(design["dram_gb"])) == 0.0:
        return 0.0
    return cast(KvSimulator, kv.simulator).link_gb_per_s(design)


def _option(rate: str, limit: float) -> dict[str, str]:
    """Return the option by which a cache learns the memory's rate, or none where it is no less."""
    return {"dram_gb_per_s": rate} if float(rate) < limit else {}


# chosen: the sizes of a block in one space.
@lru_cache(maxsize=16)
def block_traffic(piece: int) -> Workload:
    """Return loads and stores of blocks as a workload of the DRAM simulator.

    One load and one store are under way at a time, line by line. Their places are drawn once.

    Args:
      piece: Bytes that lie together.
    """
    lines = max(1, -(-piece // _LINE))
    step = lines * _LINE
    n_places = max(2, _REGION // step)
    n_pieces = -(-_LINES // lines)
    drawn = np.random.default_rng(0).integers(0, n_places, size=(n_pieces, 2))
    starts = drawn[:, None, :] * step + _LINE * np.arange(lines)[None, :, None]
    addresses = starts.reshape(-1)[:_LINES].astype(np.int64)
    trace = Trace(
        f"blocks-{step}",
        np.zeros(len(addresses), dtype=np.int64),
        np.arange(len(addresses)) % 2 == 1,
        addresses,
        np.full(len(addresses), _LINE, dtype=np.int64),
        clock_mhz=_TRACE_MHZ,
    )
    return Workload(trace.name, trace.digest, trace)
