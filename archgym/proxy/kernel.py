"""Compiled prediction of tree ensembles.

A node is one 64-bit word: where its children start (bits 32 to 62), the feature it looks at (16 to
31), and the code that the feature must exceed for the second child (0 to 15). A leaf leads to
itself, so that walks need no branch: those of a block of designs, or of the trees of one design,
go on side by side until none moves, and the processor waits for many nodes at a time.
"""

from typing import Final

import numpy as np

from archgym.kernels import compiled, entry_point, inlined

__all__ = ["BLOCK", "LEAF_CODE", "predict_trees"]

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
    """Where a walk goes from a node; unsigned, since a signed index may count from the end."""
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
    """Leaves of one tree that `n` designs fall into."""
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
    """Leaves of some trees that one design falls into."""
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
    """Adds what a leaf says to a design's totals."""
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
    """Metrics of many designs; sums go in the order of the trees, whatever the batch.

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
                    _walk_trees(nodes, roots[begin:end], codes, np.uint64(design), places, moving)  # type: ignore[arg-type]  # NumPy's numbers are no int
                    for tree in range(begin, end):
                        start = starts[places[tree - begin]]
                        _add(start, widths[tree], outputs[tree], values, totals, design)
        for design in range(size):
            for output in range(n_outputs):
                result = base[output] + scale[output] * totals[design, output]
                if is_log[output]:
                    result = np.exp(result)
                results[first + design, order[output]] = result
