"""Analysis of routing traces for caching: hit-rate curves, segments, balance and reuse.

python -m evidence.moe.analysis TRACE.routing.npz [PICTURE]
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.checks import check_whole
from archgym.simulators.moe.workloads.routing import Routing
from archgym.simulators.moe.workloads.routing_trace import read_routing
from evidence.moe.locality import hit_rates, segment_routing

# chosen: the segments of arXiv 2505.16056, and room from half the experts of a token to all.
WINDOWS: Final = (4, 16, 64, 256)
_RATIOS: Final = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 6.0, 8.0, 12.0, 16.0)
CURVES: Final = ("LRU", "LFU", "SCH 16", "Belady", "Belady, bypass")
"""Names of the curves."""
_RULES: Final = {
    "LRU": ("lru", 0),
    "LFU": ("lfu", 0),
    "SCH 16": ("sch", 16),
    "Belady": ("belady", 0),
    "Belady, bypass": ("belady-bypass", 0),
}
_BATCHES: Final = (1, 2, 4, 8, 16, 32)


@final
@dataclass(frozen=True)
class Analysis:
    """Measures of a routing, by layer where not said otherwise.

    Attributes:
      name: Name of the routing.
      n_tokens: Tokens that were looked at.
      layers: (n,) layers that were looked at.
      sizes: (n_sizes,) experts that fit into the cache of one layer.
      curves: Hit rates (n, n_sizes) by name of the rule; caches start empty with each document.
      windows: Tokens of segments, those that some document has.
      srp: (n, n_windows) segment routing best performance.
      srp_size: (n, n_windows) experts of the best segment router over those of a token.
      load: (n, n_experts) share of uses of each expert, the largest first.
      reuse: (n,) share of a token's experts that the token before used too.
      batches: Documents at once.
      distinct: (n, n_batches) distinct experts that a token of every document uses together.
    """

    name: str
    n_tokens: int
    layers: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    curves: dict[str, npt.NDArray[np.float64]]
    windows: tuple[int, ...]
    srp: npt.NDArray[np.float64]
    srp_size: npt.NDArray[np.float64]
    load: npt.NDArray[np.float64]
    reuse: npt.NDArray[np.float64]
    batches: tuple[int, ...]
    distinct: npt.NDArray[np.float64]

    @property
    def imbalance(self) -> npt.NDArray[np.float64]:
        """(n,), largest over mean load; 1 is even."""
        highest: npt.NDArray[np.float64] = self.load[:, 0] * self.load.shape[1]
        return highest

    @property
    def skew(self) -> npt.NDArray[np.float64]:
        """(n,), slope of the logarithm of load over that of rank, as in Zipf's law."""
        ranks = np.log(np.arange(1, self.load.shape[1] + 1))
        slopes = np.zeros(len(self.load))
        for place, load in enumerate(self.load):
            used = load > 0
            if used.sum() > 1:
                slopes[place] = -np.polyfit(ranks[used], np.log(load[used]), 1)[0]
        return slopes


def analyse(
    routing: Routing,
    max_tokens: int = 2**15,
    max_layers: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Measure a routing.

    Args:
      routing: Documents.
      max_tokens: Whole documents are left out beyond so many, from the end; the first always
        counts.
      max_layers: Layers are taken evenly where there are more.
      progress: Called with the number of finished layers and of all layers.

    Raises:
      InvalidArgumentError: A limit is below 1.
    """
    check_whole("max_tokens", max_tokens, 1)
    check_whole("max_layers", max_layers, 1)
    n_documents = max(1, int(np.searchsorted(routing.starts, max_tokens, side="right")) - 1)
    starts = routing.starts[: n_documents + 1]
    kept = Routing(routing.experts[: starts[-1]], starts, routing.n_experts, routing.name)
    n_looked_at = min(max_layers, kept.n_layers)
    layers = np.unique(np.linspace(0, kept.n_layers - 1, n_looked_at).round().astype(np.int64))
    sizes = np.unique(np.clip(np.round(np.array(_RATIOS) * kept.top_k), 1, kept.n_experts))
    sizes = np.unique(np.append(sizes, kept.n_experts)).astype(np.int64)
    longest = int(np.diff(starts).max())
    windows = tuple(window for window in WINDOWS if window <= longest)
    batches = tuple(batch for batch in _BATCHES if batch <= n_documents)
    curves = {name: np.empty((len(layers), len(sizes))) for name in CURVES}
    srp = np.empty((len(layers), len(windows)))
    srp_size = np.empty((len(layers), len(windows)))
    load = np.empty((len(layers), kept.n_experts))
    reuse = np.empty(len(layers))
    distinct = np.empty((len(layers), len(batches)))
    for row, layer in enumerate(map(int, layers)):
        for name, (rule, window) in _RULES.items():
            curves[name][row] = hit_rates(kept, layer, rule, sizes.tolist(), window)
        for column, window in enumerate(windows):
            found = segment_routing(kept, layer, window)
            assert found is not None
            srp[row, column], srp_size[row, column] = found.performance, found.size
        experts = kept.experts[:, layer]
        counts = np.bincount(experts.ravel(), minlength=kept.n_experts)
        load[row] = np.sort(counts)[::-1] / counts.sum()
        reuse[row] = _reuse(experts, starts)
        distinct[row] = [_distinct(experts, starts, kept.n_experts, batch) for batch in batches]
        if progress is not None:
            progress(row + 1, len(layers))
    return Analysis(
        name=routing.name,
        n_tokens=kept.n_tokens,
        layers=layers,
        sizes=sizes,
        curves=curves,
        windows=windows,
        srp=srp,
        srp_size=srp_size,
        load=load,
        reuse=reuse,
        batches=batches,
        distinct=distinct,
    )


def _reuse(experts: npt.NDArray[np.int16], starts: npt.NDArray[np.int64]) -> float:
    """Share of experts that the token before, of the same document, used; 0 without such tokens."""
    follows = np.ones(len(experts), dtype=bool)
    follows[starts[:-1]] = False
    later = np.flatnonzero(follows)
    if not len(later):
        return 0.0
    shared = sum(
        int((experts[later, place, None] == experts[later - 1]).sum())
        for place in range(experts.shape[1])
    )
    return float(shared / (len(later) * experts.shape[1]))


def _distinct(
    experts: npt.NDArray[np.int16], starts: npt.NDArray[np.int64], n_experts: int, batch: int
) -> float:
    """Return mean of distinct experts in passes that take a token of `batch` documents each."""
    lengths = np.diff(starts)
    total = passes = 0
    for first in range(0, len(lengths) - batch + 1, batch):
        steps = int(lengths[first : first + batch].min())
        used = np.zeros((steps, n_experts), dtype=bool)
        for document in range(first, first + batch):
            begin = starts[document]
            np.put_along_axis(used, experts[begin : begin + steps].astype(np.int64), True, axis=1)
        total += int(used.sum())
        passes += steps
    return float(total / passes)


def lines_of(found: Analysis) -> list[str]:
    """Return the analysis as lines of text, means over layers."""
    lines = [
        f"{found.name}: {found.n_tokens:,} tokens, means over layers "
        f"{', '.join(map(str, found.layers))}",
        "experts that fit: hit rates [%] of " + ", ".join(found.curves),
    ]
    for place, size in enumerate(found.sizes):
        rates = (f"{100 * curve[:, place].mean():.1f}" for curve in found.curves.values())
        lines.append(f"{size:6d}: {', '.join(rates)}")
    for place, window in enumerate(found.windows):
        lines.append(
            f"segments of {window} tokens: SRP {100 * found.srp[:, place].mean():.1f} %, "
            f"{found.srp_size[:, place].mean():.2f} experts per expert of a token"
        )
    for place, batch in enumerate(found.batches):
        mean = found.distinct[:, place].mean()
        lines.append(f"{batch} documents in parallel: {mean:.2f} distinct experts")
    lines.append(
        f"The busiest expert has {found.imbalance.mean():.2f} times the mean load; load falls as "
        f"rank^-{found.skew.mean():.2f}."
    )
    reuse = 100 * found.reuse.mean()
    lines.append(f"{reuse:.1f} % of a token's experts also served the previous token.")
    return lines


def main() -> None:
    """Print the analysis of a trace, and draw its picture where a file is named."""
    found = analyse(read_routing(sys.argv[1]))
    sys.stdout.write("\n".join(lines_of(found)) + "\n")
    if len(sys.argv) > 2:
        from evidence.moe.routing_picture import picture

        picture(found, sys.argv[2])


if __name__ == "__main__":
    main()
