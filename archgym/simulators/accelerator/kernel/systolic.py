"""Systolic arrays as designs: operands enter at the edges and move one unit a cycle.

A layer becomes a product of matrices: rows are output pixels of all images, the inner length is
that of a sum, columns are filters. The array holds a fold of one of the three matrices. Each fold
costs the stream that passes through it and the skew of entering and leaving. Memory never stalls.
Cycles and utilisation equal those of SCALE-Sim 3.0.0 with computed bandwidth, on square arrays and
others. The words that cross the edges have not been compared.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from archgym.simulators.accelerator.problem import Problem
from archgym.simulators.accelerator.workloads import Network
from archgym.simulators.kit import (
    BatchResult,
    Categorical,
    DesignSpace,
    InvalidArgumentError,
    Limit,
    MetricSpec,
    Objective,
    PowerOfTwo,
    Term,
    unknown_name,
)

SYSTOLIC: Final = "systolic"
"""Space whose designs are systolic arrays with a fixed dataflow."""
DATAFLOWS: Final = ("weight-stationary", "output-stationary", "input-stationary")
METRICS: Final = (
    MetricSpec("latency_cycles", "cycles", "minimise", 1.0, "Cycles of one inference."),
    MetricSpec("edge_words", "words", "minimise", 1.0, "Words that cross the array's edges."),
    MetricSpec("units", "units", "minimise", 1.0, "Units of the array.", exact=True),
    MetricSpec(
        "utilisation_percent", "%", "maximise", 1e-3,
        "Operations over the number that all units could do in the same time.", highest=100.0,
    ),
    MetricSpec("folds", "folds", "none", 1.0, "Times that the array is filled."),
)  # fmt: skip
# chosen: the default array's 16 x 16; without a limit the largest array wins.
_UNITS: Final = 256
_LIMITS: Final = (Limit("units", "<=", float(_UNITS)),)
_CYCLES: Final = Term("latency_cycles", "minimise")
DEFAULT_OBJECTIVE: Final = "low-latency"
OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective
    for objective in (
        Objective("low-latency", (_CYCLES,), "Fewest cycles with 256 units.", _LIMITS),
        Objective(
            "latency-and-traffic",
            (_CYCLES, Term("edge_words", "minimise")),
            "Trade-off of cycles against words at the edges, with 256 units.",
            _LIMITS,
        ),
    )
}


@final
@dataclass(frozen=True)
class SystolicRun:
    """Cost of a layer on a systolic array.

    Attributes:
      cycles: Total cycles.
      folds: Number of times that the array is filled.
      utilisation: Operations over the number that all units could do in that time, 0 to 1.
      words: Words that enter the array, and results or partial sums that leave it.
      moved: The same by matrix: that which stays, and those along rows and columns.
    """

    cycles: int
    folds: int
    utilisation: float
    words: int
    moved: tuple[int, int, int]


def systolic_run(
    problem: Problem, n_rows: int, n_columns: int, dataflow: str = "weight-stationary"
) -> SystolicRun:
    """Return the cost of a layer on an array of `n_rows` x `n_columns` units.

    Groups, and channels of a depthwise layer, run one after the other. The dataflow, one of
    `DATAFLOWS`, names the matrix that stays in the array.

    Raises:
      InvalidArgumentError: The array is empty.
      UnknownNameError: The dataflow does not exist.
    """
    if n_rows < 1 or n_columns < 1:
        raise InvalidArgumentError(f"An array must have units; got {n_rows} x {n_columns}.")
    serial, rows, inner, columns = products(problem)
    # Extents along the array's rows and columns, length of the stream, and the cycles that filling
    # the array takes first.
    match dataflow:
        case "output-stationary":
            along, across, stream, filling = rows, columns, inner, 0
        case "weight-stationary":
            along, across, stream, filling = inner, columns, rows, n_rows
        case "input-stationary":
            along, across, stream, filling = inner, rows, columns, n_rows
        case _:
            raise unknown_name("dataflow", dataflow, DATAFLOWS)
    along_folds, across_folds = math.ceil(along / n_rows), math.ceil(across / n_columns)
    folds = along_folds * across_folds
    cycles = serial * (folds * (stream + filling + n_rows + n_columns - 2) - 1)
    # Each pair of extents is one of the three matrices: one stays, or leaves when it is done; the
    # others pass once for each fold of the extent that they lack.
    passed = along * across, along * stream * across_folds, across * stream * along_folds
    moved = (serial * passed[0], serial * passed[1], serial * passed[2])
    used = problem.n_operations / (n_rows * n_columns * cycles)
    return SystolicRun(cycles, serial * folds, used, sum(moved), moved)


def products(problem: Problem) -> tuple[int, int, int, int]:
    """Return the products of matrices that a layer is: their number, rows, inner size, columns."""
    bounds = {name: problem.bounds.get(name, 1) for name in "GCMRSNPQ"}
    is_depthwise = "C" not in problem.bounds
    serial = bounds["M"] if is_depthwise else bounds["G"]
    rows = bounds["P"] * bounds["Q"] * bounds["N"]
    inner = bounds["C"] * bounds["R"] * bounds["S"]
    return serial, rows, inner, 1 if is_depthwise else bounds["M"]


def systolic_space() -> DesignSpace:
    """Return the space of arrays: height, width and the matrix that stays."""
    sides = (("height", "Units along the rows."), ("width", "Units along the columns."))
    return DesignSpace(
        SYSTOLIC,
        (
            *(
                PowerOfTwo(name=f"array_{side}", low=4, high=256, default=16, unit="units", doc=doc)
                for side, doc in sides
            ),
            Categorical(name="dataflow", choices=DATAFLOWS, doc="Matrix that stays in the array."),
        ),
        doc="Systolic arrays without stalls of memory, as SCALE-Sim counts them.",
    )


def systolic_results(space: DesignSpace, indices: np.ndarray, network: Network) -> BatchResult:
    """Return the metrics of arrays on a network, layer after layer."""
    values = np.empty((len(indices), len(METRICS)))
    for row, design in enumerate(map(space.design_at, indices)):
        height, width = int(str(design["array_height"])), int(str(design["array_width"]))
        dataflow = str(design["dataflow"])
        cycles = words = folds = 0
        for layer in network.layers:
            run = systolic_run(layer.problem, height, width, dataflow)
            cycles += layer.count * run.cycles
            words += layer.count * run.words
            folds += layer.count * run.folds
        units = height * width
        used = 100.0 * network.n_operations / (units * cycles)
        values[row] = cycles, words, units, used, folds
    return BatchResult(values, np.zeros(len(indices), dtype=np.int16))
