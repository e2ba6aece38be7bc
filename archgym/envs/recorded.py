"""Tasks as a dataset recorded them, for what needs neither simulator nor proxy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from archgym.datasets.metadata import task_workloads
from archgym.declaration import Declaration
from archgym.errors import FileFormatError
from archgym.metrics import MetricSpec
from archgym.space import DesignSpace

__all__ = ["RecordedTask"]


@final
@dataclass(frozen=True)
class RecordedTask:
    """What observations need of a task, be the simulator or proxy behind it there or not."""

    id: str
    space: DesignSpace
    metrics: tuple[MetricSpec, ...]
    labels: tuple[str, ...]
    """Names by which rows cite the workloads."""
    weights: np.ndarray
    """(w,), of the workloads; they sum to 1."""
    reference: np.ndarray
    """(w, n_metrics), the default design's metrics on each workload."""

    @classmethod
    def of(cls, path: Path, recipe: Mapping[str, Any], declaration: Declaration) -> "RecordedTask":
        """The task of a recipe in a dataset.

        Args:
          path: The dataset, for errors.
          recipe: What `Task.to_json` gave, as it stands in the dataset's metadata.
          declaration: What its simulator declares.

        Raises:
          FileFormatError: The recipe is damaged.
        """
        shape = (len(recipe["workloads"]), len(declaration.metrics))
        try:
            weights = np.array([w["weight"] for w in recipe["workloads"]], dtype=np.float64)
            reference = np.array(recipe["reference"], dtype=np.float64)
            if not (weights > 0).all() or not np.isfinite(weights.sum()):
                raise ValueError("weights must be above 0")
            if reference.shape != shape or not np.isfinite(reference).all():
                raise ValueError(f"`reference` must be {shape[0]} x {shape[1]} finite numbers")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problem = " ".join(str(error).split())[:200].removesuffix(".")
            raise FileFormatError(
                path,
                None,
                f"task {recipe['id']!r} must be what `archgym dataset build` wrote; {problem}",
                "Restore it from a copy, or build the dataset again",
            ) from None
        labels = tuple(label for label, _ in task_workloads(recipe))
        weights = weights / weights.sum()
        return cls(recipe["id"], declaration.space, declaration.metrics, labels, weights, reference)

    def average(self, values: np.ndarray) -> np.ndarray:
        """Metrics averaged over the workloads by weight, (n, n_metrics) from (n, w, n_metrics)."""
        mean: np.ndarray = np.einsum("nwm,w->nm", values, self.weights)
        return mean
