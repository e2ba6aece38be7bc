"""Kernels that Python calls: many mappings of one problem on one architecture."""

import numpy as np

from archgym.runtime.kernels import entry_point
from archgym.simulators.accelerator.buffers import Machine, Shape, Work
from archgym.simulators.accelerator.counting import assess
from archgym.simulators.accelerator.layout import VALID, lay_out

__all__ = ["evaluate_many"]


@entry_point(seconds=25)
def evaluate_many(
    shape: Shape, machine: Machine, factors: np.ndarray, orders: np.ndarray, keeps: np.ndarray,
    mode: int, work: Work, status: np.ndarray, totals: np.ndarray, counts: np.ndarray,
    energies: np.ndarray,
) -> None:  # fmt: skip
    """Evaluate mappings one after the other.

    Args:
      shape: The problem.
      machine: The architecture.
      factors: (n, n_levels, 3, n_dimensions) int64.
      orders: (n, n_levels, 2, n_dimensions) int64.
      keeps: (n, n_levels, 3) int64.
      mode: `TIMELOOP` or `IDEAL`.
      work: Scratch.
      status: (n,) int64, takes what `lay_out` returns.
      totals: (n, 4), takes energy, cycles, utilisation and cycles of computing.
      counts: (n, n_levels, 3, 6), takes each mapping's; or (0, …) where they are not wanted.
      energies: (n, n_levels, 3), likewise.
    """
    n_levels = factors.shape[1]
    for row in range(factors.shape[0]):
        status[row] = lay_out(shape, machine, factors, orders, keeps, row, work)
        if status[row] != VALID:
            for c in range(4):
                totals[row, c] = np.nan
            continue
        assess(shape, machine, factors, orders, keeps, row, mode, work)
        for c in range(4):
            totals[row, c] = work.totals[c]
        if row < counts.shape[0]:
            for level in range(n_levels):
                for tensor in range(3):
                    energies[row, level, tensor] = work.costs[level, tensor]
                    for c in range(6):
                        counts[row, level, tensor, c] = work.counts[level, tensor, c]
