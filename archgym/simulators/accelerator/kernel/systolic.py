"""Cycles of a systolic array: operands enter at its edges and move one unit a cycle.

A layer becomes a product of matrices: rows are output pixels of all images, the inner length is
that of a sum, columns are filters. The array holds a fold of one of the three matrices. Each fold
costs the stream that passes through it and the skew of entering and leaving. Memory never stalls.
On square arrays the numbers equal those of SCALE-Sim 3.0.0 with computed bandwidth. On other arrays
they follow the same argument and have not been compared.
"""

import math
from dataclasses import dataclass
from typing import Final, final

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.simulators.accelerator.kernel.problem import Problem

DATAFLOWS: Final = ("weight-stationary", "output-stationary", "input-stationary")


@final
@dataclass(frozen=True)
class SystolicRun:
    """Cost of a layer on a systolic array.

    Attributes:
      cycles: Total cycles.
      folds: Number of times that the array is filled.
      utilisation: Operations over the number that all units could do in that time, 0 to 1.
    """

    cycles: int
    folds: int
    utilisation: float


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
    bounds = {name: problem.bounds.get(name, 1) for name in "GCMRSNPQ"}
    is_depthwise = "C" not in problem.bounds
    serial = bounds["M"] if is_depthwise else bounds["G"]
    rows = bounds["P"] * bounds["Q"] * bounds["N"]
    inner = bounds["C"] * bounds["R"] * bounds["S"]
    columns = 1 if is_depthwise else bounds["M"]
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
    folds = math.ceil(along / n_rows) * math.ceil(across / n_columns)
    cycles = serial * (folds * (stream + filling + n_rows + n_columns - 2) - 1)
    return SystolicRun(cycles, serial * folds, problem.n_operations / (n_rows * n_columns * cycles))
