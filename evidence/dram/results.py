"""Errors of a results file by metric."""

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt


@final
@dataclass(frozen=True)
class Comparison:
    """Relative errors of one metric over the rows of one results file.

    Attributes:
      results: Name of the results file.
      metric: A group of its columns.
      errors: (n_rows,), 0 for equal rows; for texts 1 where they differ.
    """

    results: str
    metric: str
    errors: npt.NDArray[np.float64]
