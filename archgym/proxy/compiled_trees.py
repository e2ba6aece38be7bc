"""All tree ensembles of a model in one structure, for one compiled call.

Treelite 4.8 was measured for comparison, on 50 extra trees for 8 outputs that learned 2,000 designs
of the DRAM simulator, one thread, in CPU time: its interpreter GTIL takes 34 us a design in batches
of 20,000 and 93 us alone, from features; this module takes 3.0 and 12 us, from index vectors. It
was not adopted. Its compiler to C, TL2cgen 1.0, warns on models of that version, as it brings
Treelite 4.1, and needs a C compiler for each fitted model; it was not timed.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, final

import numpy as np

from archgym.proxy.features import Encoding, Scaling
from archgym.proxy.trees import TreeEnsemble
from archgym.runtime.kernels import compiled, entry_point, inlined

# The codes of a feature are 16 bits, of which the last one marks leaves.
_MAX_EDGES = 0xFFFE


@final
class CompiledTrees:
    """Compiled trees that predict all metrics of many designs in a call.

    What a tree compares are not a feature's numbers but their ranks, which for most parameters are
    a table of a few values.
    """

    def __init__(
        self,
        encoding: Encoding,
        scaling: Scaling,
        groups: Sequence[tuple[Sequence[int], TreeEnsemble]],
    ) -> None:
        """Concatenate the trees of the ensembles.

        Args:
          encoding: Encoding of designs as features.
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
        # What overflows is not a number of a metric's, and is predicted as such.
        with np.errstate(over="ignore", invalid="ignore"):
            self._base = scaling.shift[order] + factor * _joined([e.base for e in self._ensembles])
            self._scale = factor * _joined([e.scale for e in self._ensembles])
        self._is_log = scaling.is_log[order]
        self._constants = np.where(scaling.factor > 0, 0.0, scaling.shift)

    def predict(self, indices: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """Return metrics in their units, (n, n_metrics), of canonical designs on a workload.

        Args:
          indices: (n, n_parameters) int64.
          facts: (n_facts,), the workload's.
        """
        arguments = self.arguments(indices, facts)
        predict_trees(*arguments)
        return np.asarray(arguments[-1])

    def arguments(self, indices: np.ndarray, facts: np.ndarray) -> tuple[Any, ...]:
        """Return the kernel's arguments for these designs; the last one receives its results."""
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
        """Return the kernel's inputs: indices, then codes of features without a table."""
        # A copy: to compiled code an array that cannot be written is of another type.
        wide = np.array(indices, dtype=np.int64, order="C")
        if not self._untabled:
            return wide
        features = self._encoding.features(indices, facts)
        codes = [self._codes(feature, features[:, feature]) for feature in self._untabled]
        return np.concatenate([wide, np.stack(codes, axis=1)], axis=1)

    def _listed(self, feature: int) -> tuple[int, np.ndarray | None]:
        """Return the parameter of a feature, and all its numbers where they are listed."""
        return self._tables[feature] if feature < len(self._tables) else (0, None)

    def _scale_of(self, feature: int) -> np.ndarray:
        """Return the numbers that a feature's codes count: listed ones, or tree thresholds."""
        listed = self._listed(feature)[1]
        if listed is not None:
            return np.unique(_narrow(listed))
        edges = np.unique(_joined([e.threshold[e.feature == feature] for e in self._ensembles]))
        if len(edges) > _MAX_EDGES:
            raise ValueError(f"feature {feature} has over {_MAX_EDGES} thresholds")
        return edges

    def _codes(self, feature: int, values: np.ndarray) -> np.ndarray:
        """Return codes of a feature's numbers, in the order of the numbers and thresholds."""
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
        """Return (n_nodes,) int64, as the kernel reads them."""
        nodes = ((first + np.arange(len(ensemble.feature), dtype=np.int64)) << 32) | LEAF_CODE
        for feature in range(len(self._edges)):
            at = np.flatnonzero(ensemble.feature == feature)
            code = self._threshold_codes(feature, ensemble.threshold[at])
            nodes[at] = ((first + ensemble.left[at]) << 32) | (feature << 16) | code
        return nodes


def _narrow(values: np.ndarray) -> np.ndarray:
    """Convert numbers to the precision that scikit-learn's trees use."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0), *parts])


# chosen: the walks of a block, with their codes, fit into the first levels of cache.
BLOCK: Final = 256
LEAF_CODE: Final = 0xFFFF
"""A code that no feature exceeds."""
# chosen: fewer walks do not hide the wait for a node.
_FEW: Final = 8
_16: Final = np.uint64(16)
_32: Final = np.uint64(32)
_LAST: Final = np.uint64(0xFFFF)


@inlined
def _next(nodes: np.ndarray, place: int, codes: np.ndarray, design: int) -> int:
    """Return the next node of a walk; unsigned, since a signed index may count from the end."""
    node = nodes[place]
    code = np.uint64(codes[design, (node >> _16) & _LAST])
    return (node >> _32) + np.uint64(code > (node & _LAST))  # type: ignore[no-any-return]  # as is


@compiled
def _walk_designs(
    nodes: np.ndarray,
    root: int,
    codes: np.ndarray,
    n: int,
    places: np.ndarray,
    moving: np.ndarray,
) -> None:
    """Find the leaves of one tree that `n` designs fall into."""
    for design in range(n):
        places[design] = root
        moving[design] = design
    while n > 0:
        left = 0
        for walk in range(n):
            design = moving[walk]
            place = places[design]
            following = _next(nodes, place, codes, design)
            places[design] = following
            # Those that stand at a leaf are overwritten by the next that does not.
            moving[left] = design
            left += following != place
        n = left


@compiled
def _walk_trees(
    nodes: np.ndarray,
    roots: np.ndarray,
    codes: np.ndarray,
    design: int,
    places: np.ndarray,
    moving: np.ndarray,
) -> None:
    """Find the leaves of several trees that one design falls into."""
    n = int(roots.shape[0])
    for tree in range(n):
        places[tree] = roots[tree]
        moving[tree] = tree
    while n > 0:
        left = 0
        for walk in range(n):
            tree = moving[walk]
            place = places[tree]
            following = _next(nodes, place, codes, design)
            places[tree] = following
            moving[left] = tree
            left += following != place
        n = left


@compiled
def _add(
    start: int, width: int, output: int, values: np.ndarray, totals: np.ndarray, design: int
) -> None:
    """Add what a leaf says to a design's totals."""
    first = np.uint64(start)
    if width == 1:
        totals[design, np.uint64(output)] += values[first]
        return
    for column in range(width):
        totals[design, output + column] += values[first + np.uint64(column)]


@entry_point(4.0)
def predict_trees(
    columns: np.ndarray,
    sources: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    nodes: np.ndarray,
    starts: np.ndarray,
    roots: np.ndarray,
    outputs: np.ndarray,
    widths: np.ndarray,
    values: np.ndarray,
    scale: np.ndarray,
    base: np.ndarray,
    is_log: np.ndarray,
    order: np.ndarray,
    codes: np.ndarray,
    places: np.ndarray,
    moving: np.ndarray,
    totals: np.ndarray,
    results: np.ndarray,
) -> None:
    """Return metrics of many designs; sums are in the order of the trees for any batch.

    Args:
      columns: (n, n_columns) int64, the designs' indices, and codes of what has no table.
      sources: (n_features,) int64, the column of each feature.
      offsets: (n_features,) int64, where each feature's codes start in `table`; below 0 for a
        column of codes.
      table: (n_codes,) uint16, code by index.
      nodes: (n_nodes,) uint64, see above.
      starts: (n_nodes,) int32, where each leaf's numbers start in `values`.
      roots: (n_trees,) int64.
      outputs: (n_trees,) int64, the first output that each tree adds to.
      widths: (n_trees,) int64, the number of outputs that it adds to.
      values: (n_values,) float64.
      scale: (n_outputs,), factor of the sum.
      base: (n_outputs,), added to it.
      is_log: (n_outputs,) bool, whether the result is a logarithm, to be undone.
      order: (n_outputs,) int64, the column of `results` of each output.
      codes: (BLOCK, n_features) uint16, scratch.
      places: (BLOCK,) uint64, scratch.
      moving: (BLOCK,) uint64, scratch.
      totals: (BLOCK, n_outputs), scratch.
      results: (n, n_metrics); columns that are not in `order` stay as they are.
    """
    n, n_trees, n_outputs = columns.shape[0], roots.shape[0], order.shape[0]
    for first in range(0, n, BLOCK):
        size = min(BLOCK, n - first)
        totals[:size] = 0.0
        for design in range(size):
            for feature in range(sources.shape[0]):
                index = columns[first + design, sources[feature]]
                offset = offsets[feature]
                if offset < 0:
                    codes[design, feature] = index
                else:
                    codes[design, feature] = table[offset + index]
        if size >= _FEW:
            for tree in range(n_trees):
                _walk_designs(nodes, roots[tree], codes, size, places, moving)
                for design in range(size):
                    start = starts[places[design]]
                    _add(start, widths[tree], outputs[tree], values, totals, design)
        else:
            for design in range(size):
                for begin in range(0, n_trees, BLOCK):
                    end = min(begin + BLOCK, n_trees)
                    _walk_trees(nodes, roots[begin:end], codes, np.uint64(design), places, moving)  # type: ignore[arg-type]  # NumPy's numbers are not int
                    for tree in range(begin, end):
                        start = starts[places[tree - begin]]
                        _add(start, widths[tree], outputs[tree], values, totals, design)
        for design in range(size):
            for output in range(n_outputs):
                result = base[output] + scale[output] * totals[design, output]
                if is_log[output]:
                    result = np.exp(result)
                results[first + design, order[output]] = result
