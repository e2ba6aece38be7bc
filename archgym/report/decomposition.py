"""Detection of metrics that are the sum, maximum or product of other metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, final

import numpy as np

from archgym.evaluation.metrics import MetricSpec

# chosen: all subsets of so many metrics are tried in milliseconds.
_MAX_PARTS = 12
# chosen: a part of less is not a cause to name, where others are not known.
_LEAST_PART = 0.05
# chosen: parts that add up by chance do not do so over so many designs that differ.
_MIN_DESIGNS = 8
_MAX_DESIGNS = 64
_QUOTIENTS = ("%", "mW", "W")
# Sums of doubles differ by some 1e-15; simulators may store less exact ones.
_ROUNDING = 1e-7


@final
@dataclass(frozen=True)
class Cause:
    """A part of a metric, in its unit, and its share."""

    metric: str
    value: float
    share: float


@final
@dataclass(frozen=True)
class Causes:
    """Composition of a design's metric: the sum of parts, the largest of them, or their product.

    Of a product, shares are those of what its logarithm varies by over the designs. Where the
    parts do not add up, those that its name says are in it are the kind "part".
    """

    metric: str
    kind: Literal["sum", "largest", "product", "part"]
    parts: tuple[Cause, ...]
    """Largest first."""
    n_designs: int
    """Designs on which the relation holds exactly."""


def causes(values: np.ndarray, specs: Sequence[MetricSpec]) -> list[Causes]:
    """Return exact relations of metrics that are sought with others of the same unit.

    Args:
      values: (n, n_metrics), finite, the design that is explained first, others after it.
      specs: The metrics.
    """
    tried = np.unique(values[1:], axis=0)[: _MAX_DESIGNS - 1]
    tried = np.concatenate([values[:1], tried])
    if len(tried) < _MIN_DESIGNS:
        return []
    found = []
    for place, spec in enumerate(specs):
        # A share of one thing is not part of a share of another.
        if spec.goal == "none" or spec.unit in ("", "%") or np.ptp(tried[:, place]) == 0:
            continue
        others = [
            other
            for other, part in enumerate(specs)
            if other != place and part.unit == spec.unit and (tried[:, other] >= 0).all()
        ]
        kind: Literal["sum", "largest", "product", "part"] | None
        kind, parts = _relation(tried, place, others)
        if kind is None:
            parts = [p for p in others if specs[p].name.endswith(f"_{spec.name}")]
            parts = [p for p in parts if (tried[:, p] <= tried[:, place]).all()]
            parts = [p for p in parts if tried[0, p] > _LEAST_PART * tried[0, place]]
            kind = "part" if parts else None
        if kind is None and (factors := _factors(tried, place, specs)):
            found.append(Causes(spec.name, "product", factors, len(tried)))
            continue
        if kind is not None:
            total = tried[0, place]
            named = [
                Cause(specs[p].name, float(tried[0, p]), float(tried[0, p] / total) if total else 0)
                for p in parts
            ]
            named.sort(key=lambda cause: -cause.value)
            found.append(Causes(spec.name, kind, tuple(named), len(tried)))
    return found


def _factors(
    tried: np.ndarray, place: int, specs: Sequence[MetricSpec]
) -> tuple[Cause, ...] | None:
    """Return the two sought metrics whose product a metric is, but for a constant."""
    others = [
        p
        for p, spec in enumerate(specs)
        if p != place
        and spec.goal != "none"
        and np.ptp(tried[:, p]) > 0
        and tried[:, p].min() > 0
        # What is itself a quotient, as power is of energy and time, causes neither.
        and spec.unit not in _QUOTIENTS
        # IPC per area follows from IPC, not the other way round.
        and not spec.unit.startswith(f"{specs[place].unit}/")
    ]
    if tried[:, place].min() <= 0:
        return None
    logs = np.log(np.maximum(tried, 1e-300))
    whole = logs[:, place] - logs[:, place].mean()
    for a, b in combinations(others, 2):
        if np.ptp(whole - logs[:, a] - logs[:, b]) < _ROUNDING:
            parts = [logs[:, p] - logs[:, p].mean() for p in (a, b)]
            found = [
                Cause(specs[p].name, float(tried[0, p]), float(part @ whole / (whole @ whole)))
                for p, part in zip((a, b), parts, strict=True)
            ]
            # A quotient written the other way round would have shares beyond the whole.
            if min(cause.share for cause in found) >= 0:
                return tuple(sorted(found, key=lambda cause: -cause.share))
    return None


def _relation(
    tried: np.ndarray, place: int, others: Sequence[int]
) -> tuple[Literal["sum", "largest"] | None, list[int]]:
    whole = tried[:, place]
    room = _ROUNDING * np.maximum(np.abs(whole), 1e-300)
    inside = [p for p in others if (tried[:, p] <= whole + room).all()][:_MAX_PARTS]
    if len(inside) < 2:
        return None, []
    numbers = np.arange(1, 2 ** len(inside))
    masks = ((numbers[:, None] >> np.arange(len(inside))[None, :]) & 1).astype(np.float64)
    fits = (np.abs(tried[:, inside] @ masks.T - whole[:, None]) <= room[:, None]).all(axis=0)
    fits &= masks.sum(axis=1) >= 2
    if fits.any():
        # Parts that are always 0 belong to it as much as not; named, they are seen to be 0.
        chosen = masks[np.flatnonzero(fits)[np.argmax(masks[fits].sum(axis=1))]]
        return "sum", [p for p, is_in in zip(inside, chosen, strict=True) if is_in]
    reaches = np.abs(tried[:, inside] - whole[:, None]) <= room[:, None]
    if (
        reaches.any(axis=1).all()
        and reaches.any(axis=0).sum() >= 2
        and not reaches.all(axis=1).all()
    ):
        return "largest", [p for p, any_ in zip(inside, reaches.any(axis=0), strict=True) if any_]
    return None, []
