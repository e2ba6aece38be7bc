"""All tree ensembles of a model in one structure, for one compiled call."""

from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np

from archgym.proxy.encoding import Encoding
from archgym.proxy.scaling import Scaling
from archgym.proxy.trees import TreeEnsemble

__all__ = ["CompiledTrees"]

# The codes of a feature are 16 bits, of which the last one marks leaves.
_MAX_EDGES = 0xFFFE


@final
class CompiledTrees:
    """Predicts all metrics of many designs in a call, from their index vectors.

    What a tree compares are not a feature's numbers but their ranks, which for most parameters are
    a table of a few values.
    """

    def __init__(
        self,
        encoding: Encoding,
        scaling: Scaling,
        groups: Sequence[tuple[Sequence[int], TreeEnsemble]],
    ) -> None:
        """Puts the ensembles one behind the other.

        Args:
          encoding: What makes features of designs.
          scaling: Of all metrics.
          groups: Metrics with the ensemble that answers for them, together all that change.

        Raises:
          ValueError: There are more thresholds than fit into a code.
        """
        self._encoding = encoding
        self._ensembles = [ensemble for _, ensemble in groups]
        self._tables = encoding.tables
        self._edges = [self._scale_of(feature) for feature in range(encoding.n_features)]
        self._place_features()
        self._place_trees()
        order = [metric for metrics, _ in groups for metric in metrics]
        self._order = np.array(order, dtype=np.int64)
        factor = scaling.factor[order]
        # What overflows is no number of a metric's, and is predicted as such.
        with np.errstate(over="ignore", invalid="ignore"):
            self._base = scaling.shift[order] + factor * _joined([e.base for e in self._ensembles])
            self._scale = factor * _joined([e.scale for e in self._ensembles])
        self._is_log = scaling.is_log[order]
        self._constants = np.where(scaling.factor > 0, 0.0, scaling.shift)

    def predict(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """Metrics in their units, (n, n_metrics), of canonical designs on a workload.

        Args:
          indices: (n, n_parameters) int64.
          facts: (n_facts,), the workload's.
        """
        from archgym.proxy.kernel import predict_trees

        arguments = self.arguments(indices, facts)
        predict_trees(*arguments)
        return np.asarray(arguments[-1])

    def arguments(self, indices: np.ndarray, facts: np.ndarray) -> tuple[Any, ...]:
        """What the kernel takes for these designs; the last one holds its results."""
        from archgym.proxy.kernel import BLOCK

        results = np.empty((len(indices), len(self._constants)))
        results[:] = self._constants
        return (
            self.columns(indices, facts),
            self._sources,
            self._offsets,
            self._table,
            self._nodes,
            self._starts,
            self._roots,
            self._outputs,
            self._widths,
            self._values,
            self._scale,
            self._base,
            self._is_log,
            self._order,
            np.empty((BLOCK, len(self._edges)), dtype=np.uint16),
            np.empty(BLOCK, dtype=np.uint64),
            np.empty(BLOCK, dtype=np.uint64),
            np.empty((BLOCK, len(self._order))),
            results,
        )

    def columns(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """What the kernel reads of designs: indices, then codes of features without a table."""
        # A copy: to compiled code an array that cannot be written is of another type.
        wide = np.array(indices, dtype=np.int64, order="C")
        if not self._untabled:
            return wide
        features = self._encoding.features(indices, facts)
        codes = [self._codes(feature, features[:, feature]) for feature in self._untabled]
        return np.concatenate([wide, np.stack(codes, axis=1)], axis=1)

    def _listed(self, feature: int) -> tuple[int, np.ndarray | None]:
        """The parameter of a feature, and all its numbers where they are listed."""
        return self._tables[feature] if feature < len(self._tables) else (0, None)

    def _scale_of(self, feature: int) -> np.ndarray:
        """What codes of a feature count: its listed numbers, or all thresholds that trees have."""
        listed = self._listed(feature)[1]
        if listed is not None:
            return np.unique(_narrow(listed))
        edges = np.unique(_joined([e.threshold[e.feature == feature] for e in self._ensembles]))
        if len(edges) > _MAX_EDGES:
            raise ValueError(f"feature {feature} has over {_MAX_EDGES} thresholds")
        return edges

    def _codes(self, feature: int, values: np.ndarray) -> np.ndarray:
        """Codes of a feature's numbers, which exceed those of a threshold as the numbers do it."""
        side: Literal["left", "right"] = "left" if self._listed(feature)[1] is None else "right"
        return np.searchsorted(self._edges[feature], _narrow(values), side=side)

    def _threshold_codes(self, feature: int, thresholds: np.ndarray) -> np.ndarray:
        side: Literal["left", "right"] = "left" if self._listed(feature)[1] is None else "right"
        return np.searchsorted(self._edges[feature], thresholds, side=side)

    def _place_features(self) -> None:
        n_parameters = self._encoding.space.n_parameters
        self._untabled: list[int] = []
        sources, offsets, table = [], [], [np.empty(0, dtype=np.uint16)]
        size = 0
        for feature in range(self._encoding.n_features):
            place, listed = self._listed(feature)
            if listed is None:
                sources.append(n_parameters + len(self._untabled))
                offsets.append(-1)
                self._untabled.append(feature)
            else:
                sources.append(place)
                offsets.append(size)
                table.append(self._codes(feature, listed).astype(np.uint16))
                size += len(listed)
        self._sources = np.array(sources, dtype=np.int64)
        self._offsets = np.array(offsets, dtype=np.int64)
        self._table = np.concatenate(table)

    def _place_trees(self) -> None:
        nodes, starts, roots, outputs, widths, values = [], [], [], [], [], []
        first_node = first_output = first_value = 0
        for ensemble in self._ensembles:
            width = ensemble.values.shape[1]
            nodes.append(self._packed(ensemble, first_node))
            starts.append(first_value + width * ensemble.row)
            roots.append(first_node + ensemble.roots)
            outputs.append(first_output + ensemble.output)
            widths.append(np.full(len(ensemble.roots), width))
            values.append(ensemble.values.reshape(-1))
            first_node += len(ensemble.feature)
            first_output += len(ensemble.base)
            first_value += ensemble.values.size
        self._nodes = np.concatenate([np.empty(0, dtype=np.int64), *nodes]).astype(np.uint64)
        self._starts = _joined(starts).astype(np.int32)
        self._roots = _joined(roots).astype(np.int64)
        self._outputs = _joined(outputs).astype(np.int64)
        self._widths = _joined(widths).astype(np.int64)
        self._values = _joined(values).astype(np.float64)

    def _packed(self, ensemble: TreeEnsemble, first: int) -> np.ndarray:
        """(n_nodes,) int64, as the kernel reads them."""
        from archgym.proxy.kernel import LEAF_CODE

        nodes = ((first + np.arange(len(ensemble.feature), dtype=np.int64)) << 32) | LEAF_CODE
        for feature in range(len(self._edges)):
            at = np.flatnonzero(ensemble.feature == feature)
            code = self._threshold_codes(feature, ensemble.threshold[at])
            nodes[at] = ((first + ensemble.left[at]) << 32) | (feature << 16) | code
        return nodes


def _narrow(values: np.ndarray) -> np.ndarray:
    """Numbers as scikit-learn's trees see them."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0), *parts])
