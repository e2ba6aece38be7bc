"""Systolic arrays with buffers: which tiles of a layer move between them and DRAM, and when.

A fold of one matrix stays in the array while two others stream through. A fold is cut into phases
whose tiles fit the buffers; small folds are one phase together. Each buffer has two halves: while
one phase computes, the tiles of the next come in and the results of the one before leave. Columns
of folds are outermost, then rows, then the stream, as in SCALE-Sim. A matrix is fetched again
unless the part that returns fits its half of a buffer; partial sums leave and return unless they
fit. Cycles without stalls are those of `systolic`.

Inputs are counted once for each value that a tile has, not for each window. Operands have one byte
and partial sums four. Tiles lie one behind the other, in lines of 64 bytes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.simulators.accelerator.kernel.systolic import DATAFLOWS, SystolicRun, systolic_run
from archgym.simulators.accelerator.machine.energy import multiply_accumulate, registers, sram
from archgym.simulators.accelerator.problem import INPUTS, OUTPUTS, WEIGHTS, Problem
from archgym.simulators.accelerator.workloads import Network
from archgym.simulators.kit import (
    BatchResult,
    Categorical,
    DesignSpace,
    Limit,
    MetricSpec,
    Objective,
    PowerOfTwo,
    Term,
    unknown_name,
)

BUFFERED: Final = "systolic-buffered"
"""Space whose designs are systolic arrays with buffers."""
LINE_BYTES: Final = 64
# chosen: inference with 8-bit operands and 32-bit sums, as in TPU v1 (Jouppi et al., ISCA 2017).
_OPERAND_BYTES, _SUM_BYTES = 1, 4
_OPERAND_BITS, _SUM_BITS = 8, 32
_WORD_BITS: Final = 64
Ints = npt.NDArray[np.int64]

METRICS: Final = (
    MetricSpec("latency_cycles", "cycles", "minimise", 1.0, "Cycles of one inference, no stalls."),
    MetricSpec("dram_bytes", "B", "minimise", 1.0, "Bytes between buffers and DRAM."),
    MetricSpec("area_mm2", "mm2", "minimise", 1e-6, "Area of units and buffers at 45 nm."),
    MetricSpec("units", "units", "minimise", 1.0, "Units of the array.", exact=True),
    MetricSpec(
        "buffer_kib", "KiB", "minimise", 1.0, "Buffers, both halves of all three.", exact=True
    ),
    MetricSpec(
        "utilisation_percent", "%", "maximise", 1e-3,
        "Operations over the number that all units could do in the same time.",
    ),
    MetricSpec("phases", "phases", "none", 1.0, "Times that tiles are exchanged."),
    MetricSpec(
        "energy_uj", "uJ", "minimise", 1e-3,
        "Energy of units and buffers at 45 nm, without DRAM.", identifies=False,
    ),
)  # fmt: skip
# By dataflow, the matrix that stays, the one along the array's rows, and that along its columns.
_ROLES: Final = {
    "output-stationary": (OUTPUTS, INPUTS, WEIGHTS),
    "weight-stationary": (WEIGHTS, INPUTS, OUTPUTS),
    "input-stationary": (INPUTS, WEIGHTS, OUTPUTS),
}
# chosen: an eighth above the default design, a 32 x 32 array with three buffers of 64 KiB.
AREA_LIMIT_MM2: Final = 2.5
_LIMITS: Final = (Limit("area_mm2", "<=", AREA_LIMIT_MM2),)
_CYCLES, _BYTES = Term("latency_cycles", "minimise"), Term("dram_bytes", "minimise")
DEFAULT_OBJECTIVE: Final = "low-latency"
OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective
    for objective in (
        Objective("low-latency", (_CYCLES,), f"Fewest cycles in {AREA_LIMIT_MM2} mm2.", _LIMITS),
        Objective("low-traffic", (_BYTES,), f"Fewest bytes in {AREA_LIMIT_MM2} mm2.", _LIMITS),
        Objective(
            "latency-and-traffic",
            (_CYCLES, _BYTES),
            f"Trade-off of cycles against bytes in {AREA_LIMIT_MM2} mm2.",
            _LIMITS,
        ),
    )
}


@final
@dataclass(frozen=True)
class Array:
    """A systolic array with its buffers.

    Attributes:
      height, width: Units along rows and columns.
      dataflow: Matrix that stays in the array, one of `systolic.DATAFLOWS`.
      kib: KiB of the buffers of weights, inputs and outputs, both halves.
    """

    height: int
    width: int
    dataflow: str
    kib: tuple[int, int, int]

    @staticmethod
    def of(design: Mapping[str, object]) -> "Array":
        """Return the array of a design of the space `systolic-buffered`."""
        numbers = [int(str(design[f"{name}_kib"])) for name in ("weight", "input", "output")]
        return Array(
            int(str(design["array_height"])),
            int(str(design["array_width"])),
            str(design["dataflow"]),
            (numbers[0], numbers[1], numbers[2]),
        )

    @property
    def area_mm2(self) -> float:
        """Area at 45 nm of multipliers, adders, registers of two operands and a sum, and SRAM."""
        unit = multiply_accumulate(_OPERAND_BITS, _SUM_BITS).area_um2
        unit += registers(1, 2 * _OPERAND_BITS + _SUM_BITS).area_um2
        area = self.height * self.width * unit
        for kib in self.kib:
            cost = sram(kib * 1024 * 8 // _WORD_BITS, _WORD_BITS)
            assert cost is not None, "one bank of any depth can be built"
            area += cost.area_um2
        return area / 1e6


@final
@dataclass(frozen=True, eq=False)
class Tiles:
    """Phases of a layer; tiles of a phase are read before it and written after it.

    Attributes:
      cycles: (n,) int64, cycles of each phase while nothing stalls.
      reads: (n, 3) int64, bytes that it needs by tensor; of outputs, partial sums.
      read_at: (n, 3) int64, address of each [byte].
      writes: (n,) int64, bytes that leave after it.
      write_at: (n,) int64, their address [byte].
      repeats: Times that all of it runs, for groups of a layer.
    """

    cycles: Ints
    reads: Ints
    read_at: Ints
    writes: Ints
    write_at: Ints
    repeats: int

    @property
    def n_bytes(self) -> int:
        """Bytes that all repeats move."""
        return self.repeats * int(self.reads.sum() + self.writes.sum())


# chosen: the layers of some networks; a layer has at most a few megabytes.
@lru_cache(maxsize=64)
def tiles_of(problem: Problem, array: Array) -> Tiles:
    """Return the phases of a layer on an array.

    Raises:
      UnknownNameError: The dataflow does not exist.
    """
    bounds = {name: problem.bounds.get(name, 1) for name in "GCMRSNPQ"}
    is_depthwise = "C" not in problem.bounds
    repeats = bounds["M"] if is_depthwise else bounds["G"]
    rows = bounds["P"] * bounds["Q"] * bounds["N"]
    inner = bounds["C"] * bounds["R"] * bounds["S"]
    columns = 1 if is_depthwise else bounds["M"]
    if array.dataflow not in _ROLES:
        raise unknown_name("dataflow", array.dataflow, DATAFLOWS)
    held, first, second = _ROLES[array.dataflow]
    along, across, stream = {
        OUTPUTS: (rows, columns, inner),
        WEIGHTS: (inner, columns, rows),
        INPUTS: (inner, rows, columns),
    }[held]
    height, width = array.height, array.width
    n_i, n_j = -(-along // height), -(-across // width)
    room = [512 * kib for kib in array.kib]
    # Bytes of an element: a value of the inputs serves several windows.
    unique = min(1.0, problem.tensor_size(INPUTS) / (repeats * rows * inner))
    size = {WEIGHTS: 1.0 * _OPERAND_BYTES, INPUTS: unique, OUTPUTS: 1.0 * _SUM_BYTES}
    longest = min(room[first] / (height * size[first]), room[second] / (width * size[second]))
    length = max(1, min(stream, int(longest)))
    n_k = -(-stream // length)
    n = n_i * n_j * n_k
    j, i, k = np.unravel_index(np.arange(n), (n_j, n_i, n_k))
    h = np.minimum(height, along - i * height)
    w = np.minimum(width, across - j * width)
    depth = np.minimum(length, stream - k * length)
    is_first, is_last = k == 0, k == n_k - 1

    def fits(tensor: int, elements: float) -> bool:
        return elements * size[tensor] <= room[tensor]

    reads = np.zeros((n, 3), dtype=np.int64)
    read_at = np.zeros((n, 3), dtype=np.int64)
    writes = np.zeros(n, dtype=np.int64)
    stays = fits(first, along * stream)
    reads[:, first] = np.where((j > 0) & stays, 0, _lines(h * depth * size[first]))
    read_at[:, first] = (i * n_k + k) * _line_count(height * length * size[first])
    stays = fits(second, min(width, across) * stream)
    if second == OUTPUTS:
        sums = _lines(w * depth * _SUM_BYTES)
        reads[:, OUTPUTS] = 0 if stays else np.where(i > 0, sums, 0)
        done = _lines(w * depth * _OPERAND_BYTES)
        writes[:] = np.where(i == n_i - 1, done, 0 if stays else sums)
    else:
        reads[:, second] = np.where((i > 0) & stays, 0, _lines(w * depth * size[second]))
    read_at[:, second] = (j * n_k + k) * _line_count(width * length * size[second])
    write_at = read_at[:, OUTPUTS].copy()
    if held == OUTPUTS:
        writes[:] = np.where(is_last, _lines(h * w * _OPERAND_BYTES), 0)
        write_at = (j * n_i + i) * _line_count(height * width * _OPERAND_BYTES)
    else:
        reads[:, held] = np.where(is_first, _lines(h * w * size[held]), 0)
        read_at[:, held] = (j * n_i + i) * _line_count(height * width * size[held])
    filling = height if held != OUTPUTS else 0
    cycles = depth + np.where(is_first, filling + height + width - 2, 0)
    cycles[-1] -= 1
    # As many folds as the halves hold exchange their tiles at once.
    largest = [*zip(room, reads.max(axis=0), strict=True), (room[OUTPUTS], writes.max())]
    group = np.arange(0, n, max(1, min(half // most for half, most in largest if most)))
    cycles, writes = np.add.reduceat(cycles, group), np.add.reduceat(writes, group)
    reads, read_at, write_at = np.add.reduceat(reads, group), read_at[group], write_at[group]
    # Weights, inputs and outputs lie behind each other, each from a multiple of a mebibyte.
    ends = [int((read_at[:, t] + reads[:, t]).max()) for t in (WEIGHTS, INPUTS)]
    starts = np.cumsum([0, *(-(-end // 2**20) * 2**20 for end in ends)])
    return Tiles(
        cycles, reads, read_at + starts[[WEIGHTS, INPUTS, OUTPUTS]], writes,
        write_at + starts[OUTPUTS], repeats,
    )  # fmt: skip


def _lines(n_bytes: npt.ArrayLike) -> Ints:
    """Return bytes rounded up to whole lines."""
    return np.ceil(np.asarray(n_bytes) / LINE_BYTES).astype(np.int64) * LINE_BYTES


def _line_count(n_bytes: float) -> int:
    return math.ceil(n_bytes / LINE_BYTES) * LINE_BYTES


def buffered_space() -> DesignSpace:
    """Return the space of arrays with buffers."""
    sides = (("height", "Units along the rows."), ("width", "Units along the columns."))
    kinds = ("weight", "input", "output")
    return DesignSpace(
        BUFFERED,
        (
            *(
                PowerOfTwo(f"array_{side}", 16, 256, default=32, unit="units", doc=doc)
                for side, doc in sides
            ),
            Categorical(name="dataflow", choices=DATAFLOWS, doc="Matrix that stays in the array."),
            *(
                PowerOfTwo(
                    name=f"{kind}_kib", low=16, high=256, default=64, unit="KiB",
                    doc=f"Buffer of {kind}s, both halves.",
                )
                for kind in kinds
            ),
        ),
        doc="Systolic arrays with three buffers; what leaves and enters them is counted.",
    )  # fmt: skip


def buffered_results(space: DesignSpace, indices: np.ndarray, network: Network) -> BatchResult:
    """Return the metrics of arrays on a network, layer after layer, without stalls."""
    values = np.empty((len(indices), len(METRICS)))
    for row, design in enumerate(map(space.design_at, indices)):
        array = Array.of(design)
        cycles = n_bytes = phases = 0
        energy_pj = 0.0
        for layer in network.layers:
            run = systolic_run(layer.problem, array.height, array.width, array.dataflow)
            tiles = tiles_of(layer.problem, array)
            cycles += layer.count * run.cycles
            n_bytes += layer.count * tiles.n_bytes
            phases += layer.count * tiles.repeats * len(tiles.cycles)
            energy_pj += layer.count * _energy_pj(layer.problem, array, run, tiles)
        units = array.height * array.width
        used = 100.0 * network.n_operations / (units * cycles)
        area, kib = array.area_mm2, sum(array.kib)
        values[row] = cycles, n_bytes, area, units, kib, used, phases, energy_pj / 1e6
    return BatchResult(values, np.zeros(len(indices), dtype=np.int16))


def _energy_pj(problem: Problem, array: Array, run: SystolicRun, tiles: Tiles) -> float:
    """Return the energy of a layer: operations, their registers, and accesses of the buffers.

    An operation reads and writes a unit's registers once. Words pass between buffers and array in
    rows of a buffer; what DRAM gives and takes passes a buffer once more.
    """
    unit = registers(1, 2 * _OPERAND_BITS + _SUM_BITS)
    each = multiply_accumulate(_OPERAND_BITS, _SUM_BITS).read_pj + unit.read_pj + unit.write_pj
    found = problem.n_operations * each
    by_tensor = dict(zip(_ROLES[array.dataflow], run.moved, strict=True))
    for tensor, kib in zip((WEIGHTS, INPUTS, OUTPUTS), array.kib, strict=True):
        cost = sram(kib * 1024 * 8 // _WORD_BITS, _WORD_BITS)
        assert cost is not None, "one bank of any depth can be built"
        bits = _SUM_BITS if tensor == OUTPUTS else _OPERAND_BITS
        out, into = (
            (cost.write_pj, cost.read_pj) if tensor == OUTPUTS else (cost.read_pj, cost.write_pj)
        )
        filled = int(tiles.reads[:, tensor].sum()) + (
            int(tiles.writes.sum()) if tensor == OUTPUTS else 0
        )
        found += (by_tensor[tensor] * bits * out + tiles.repeats * filled * 8 * into) / _WORD_BITS
    return found
