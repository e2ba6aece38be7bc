"""Tree ensembles of any library as flat arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from archgym.proxy.model import Predictor, checked

# chosen: known trees are less than 50 levels deep; each level costs a step of every walk.
_MAX_DEPTH = 512
_MAX_NODES = 2**31 - 2


@final
@dataclass(frozen=True)
class GrownTree:
    """One tree as a library gives it; node 0 is the root.

    `feature` is (n,), below 0 at a leaf; `threshold` (n,): values above it go to `right`, others
    to `left`; `value` is (n, width), predictions of a leaf for the outputs from `output` on.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    output: int = 0


@final
class TreeEnsemble(Predictor):
    """Trees whose leaves are added: `base + scale × sum`.

    Children follow their parents, side by side, so that no walk can be endless. Equal
    leaves share a row of `values`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], n_features: int, n_outputs: int) -> None:
        """Take the arrays of `arrays`.

        Raises:
          ValueError: The arrays are inconsistent.
        """
        self.feature = checked(arrays, "feature", "i", (None,), -1, n_features - 1)
        n = len(self.feature)
        self.threshold = checked(arrays, "threshold", "f", (n,))
        self.left = checked(arrays, "left", "i", (n,), 0, n)
        self.values = checked(arrays, "values", "f", (None, None))
        self.row = checked(arrays, "row", "i", (n,), 0, len(self.values) - 1)
        self.roots = checked(arrays, "roots", "i", (None,), 0, n - 1)
        width = self.values.shape[1]
        self.output = checked(arrays, "output", "i", self.roots.shape, 0, n_outputs - width)
        self.base = checked(arrays, "base", "f", (n_outputs,))
        self.scale = checked(arrays, "scale", "f", (n_outputs,))
        self.n_features = n_features
        self._check_structure()

    def _check_structure(self) -> None:
        """Refuse trees that are too deep, or whose nodes are not children of earlier nodes."""
        n = len(self.feature)
        inner = np.flatnonzero(self.feature >= 0)
        left = self.left[inner]
        is_child = np.ones(n, dtype=bool)
        is_child[self.roots] = False
        children = np.concatenate([left, left + 1])
        if (
            (left <= inner).any()
            or len(np.unique(self.roots)) != len(self.roots)
            or not np.array_equal(np.sort(children), np.flatnonzero(is_child))
        ):
            raise ValueError("its nodes form no trees")
        level = self.roots
        for _ in range(_MAX_DEPTH):
            level = self.left[level[self.feature[level] >= 0]]
            if not len(level):
                return
            level = np.concatenate([level, level + 1])
        raise ValueError(f"a tree is over {_MAX_DEPTH} deep")

    def arrays(self) -> dict[str, np.ndarray]:
        names = "feature", "threshold", "left", "row", "roots", "output", "values", "base", "scale"
        return {name: getattr(self, name) for name in names}

    @property
    def has_spread(self) -> bool:
        # Each tree of a mean predicts the outputs; a tree of a sum alone does not.
        return bool(np.allclose(self.scale * len(self.roots), 1.0) and len(self.roots) > 1)

    def predict(self, features: np.ndarray) -> np.ndarray:
        rows = self._rows(features)
        total = np.zeros((len(features), len(self.base)))
        # Numbers of a file may be so large that sums overflow; then the prediction is not a number.
        with np.errstate(over="ignore", invalid="ignore"):
            for tree, output in enumerate(self.output.tolist()):
                total[:, output : output + self.values.shape[1]] += self.values[rows[:, tree]]
            return np.asarray(self.base + self.scale * total)

    def spread(self, features: np.ndarray) -> np.ndarray | None:
        if not self.has_spread:
            return None
        rows = self._rows(features)
        mean = self.values[rows].mean(axis=1)
        square = (self.values**2)[rows].mean(axis=1)
        return np.asarray(np.sqrt(np.maximum(square - mean**2, 0.0)))

    def _rows(self, features: np.ndarray) -> np.ndarray:
        """Return the row of `values` that each tree predicts, (n, n_trees)."""
        narrow = np.ascontiguousarray(features, dtype=np.float32)
        place = np.tile(self.roots, (len(narrow), 1))
        designs = np.arange(len(narrow))[:, None]
        while True:
            feature = self.feature[place]
            is_inner = feature >= 0
            if not is_inner.any():
                return np.asarray(self.row[place])
            goes_right = narrow[designs, np.maximum(feature, 0)] > self.threshold[place]
            place = np.where(is_inner, self.left[place] + goes_right, place)


def pack(
    trees: Sequence[GrownTree],
    n_features: int,
    base: np.ndarray,
    scale: np.ndarray | None = None,
) -> TreeEnsemble:
    """Return the ensemble of trees that a library grew.

    Args:
      n_features: Features of the designs they learned from.
    """
    parts: dict[str, list[Any]] = {n: [] for n in ("feature", "threshold", "left", "value")}
    roots = []
    first = 0
    for tree in trees:
        order, left = _breadth_first(tree)
        is_inner = tree.feature[order] >= 0
        roots.append(first)
        parts["feature"].append(np.where(is_inner, tree.feature[order], -1))
        parts["threshold"].append(np.where(is_inner, tree.threshold[order], 0.0))
        parts["left"].append(np.where(is_inner, left + first, 0))
        parts["value"].append(np.where(is_inner[:, None], 0.0, tree.value[order]))
        first += len(order)
    if first > _MAX_NODES:
        raise ValueError(f"an ensemble may have {_MAX_NODES} nodes; it has {first}")
    values, row = np.unique(np.concatenate(parts["value"]), axis=0, return_inverse=True)
    return TreeEnsemble(
        {
            "feature": np.concatenate(parts["feature"]).astype(np.int32),
            "threshold": np.concatenate(parts["threshold"]).astype(np.float64),
            "left": np.concatenate(parts["left"]).astype(np.int32),
            "row": row.reshape(-1).astype(np.int32),
            "roots": np.array(roots, dtype=np.int32),
            "output": np.array([tree.output for tree in trees], dtype=np.int32),
            "values": values.astype(np.float64),
            "base": np.asarray(base, dtype=np.float64),
            "scale": np.ones(len(base)) if scale is None else scale,
        },
        n_features,
        len(base),
    )


def _breadth_first(tree: GrownTree) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes level by level, siblings adjacent, and the start of each node's children."""
    levels = [np.zeros(1, dtype=np.int64)]
    starts = []
    n = 1
    while len(levels[-1]):
        level = levels[-1]
        is_inner = tree.feature[level] >= 0
        parents = level[is_inner]
        start = np.zeros(len(level), dtype=np.int64)
        start[is_inner] = n + 2 * np.arange(len(parents))
        starts.append(start)
        children = np.stack([tree.left[parents], tree.right[parents]], axis=1).reshape(-1)
        levels.append(children.astype(np.int64))
        n += len(children)
    return np.concatenate(levels), np.concatenate(starts)


def grow_forests(forests: Sequence[Any], features: np.ndarray, targets: np.ndarray) -> TreeEnsemble:
    """Fit scikit-learn's forests on all targets together, and pack all their trees as one."""
    narrow = np.ascontiguousarray(features, dtype=np.float32)
    trees = []
    for forest in forests:
        forest.fit(narrow, targets if targets.shape[1] > 1 else targets[:, 0])
        trees += [_grown(estimator.tree_) for estimator in forest.estimators_]
    n_outputs = targets.shape[1]
    scale = np.full(n_outputs, 1.0 / len(trees))
    return pack(trees, features.shape[1], np.zeros(n_outputs), scale)


def _grown(tree: Any) -> GrownTree:
    return GrownTree(
        # scikit-learn marks leaves by children of -1.
        np.where(tree.children_left < 0, -1, tree.feature),
        tree.threshold,
        tree.children_left,
        tree.children_right,
        tree.value[:, :, 0],
    )
