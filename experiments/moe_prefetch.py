"""Gain of prefetching by the predictor's accuracy, on an idle and on a saturated link.

python experiments/moe_prefetch.py PICTURE
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.files.storage import atomic_file, figure_metadata
from archgym.simulators.moe.kernel.run import Run, documents, run
from archgym.simulators.moe.machine.columns import Prefetch
from archgym.simulators.moe.machine.hardware import Link, NodePreset, node
from archgym.simulators.moe.machine.plan import plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.presets import model
from archgym.simulators.moe.workloads.requests import Requests
from archgym.simulators.moe.workloads.routing import generate, popularity, routing_preset

_NS_PER_MS: Final = 1e6
_ENDINGS: Final = (".png", ".svg", ".pdf")
# chosen: a link that loads an expert of 4 bits in a tenth of a layer's time, and one that takes
# ten layers; a consumer card's 25 GB/s lies between.
LINKS: Final = {"idle": 400.0, "saturated": 3.0}
"""Bandwidth of the host link [GB/s of 1e9 bytes]."""
_ACCURACIES: Final = tuple(round(0.1 * step, 1) for step in range(11))
# chosen: a third of the experts fit; the buffers' room comes out of the cache's.
_PLACES, _BUFFERS = 2048, 32
# chosen: what a direct copy costs, so that the idle link is idle.
_LATENCY_NS: Final = 1_000.0
_COLOURS: Final = {"idle": "#0072B2", "saturated": "#D55E00"}


@final
@dataclass(frozen=True)
class Sweep:
    """Time per token over accuracy on one link.

    Attributes:
      link: Its name in `LINKS`.
      gb_per_s: Its bandwidth.
      accuracies: Accuracies of the predictor, ascending.
      tpot_ms: Time per output token with prefetch, by accuracy [ms].
      without_ms: Without prefetch, all the room being the cache's [ms].
      busy_percent: Busy time of the link without prefetch.
      wasted_percent: Prefetches that were not used, by accuracy.
    """

    link: str
    gb_per_s: float
    accuracies: tuple[float, ...]
    tpot_ms: tuple[float, ...]
    without_ms: float
    busy_percent: float
    wasted_percent: tuple[float, ...]


def prefetch_sweep(
    accuracies: Sequence[float] = _ACCURACIES, progress: Callable[[str], None] | None = None
) -> tuple[Sweep, ...]:
    """Run Qwen3-30B at 4 bits on a card that holds a third of it, prefetching the next layer.

    Args:
      accuracies: Accuracies of the predictor, from 0 to 1.
      progress: Called with the next run.
    """
    served, card = model("qwen3-30b-a3b"), node("rtx-4090")
    requests = Requests(
        np.zeros(2, dtype=np.int64),
        np.full(2, 16, dtype=np.int32),
        np.full(2, 32, dtype=np.int32),
        "two at once",
    )
    routing = generate(routing_preset(served.routing), 3, [48, 48], served.moe_layers)
    where, ranking = documents(requests, routing), popularity(routing)
    base = Serving(
        expert_bits=4, attention_bits=8, cache_experts=_PLACES, staging_experts=8, max_sequences=2
    )
    found = []
    for link, gb_per_s in LINKS.items():
        if progress is not None:
            progress(f"{link} link, {gb_per_s:g} GB/s")
        server = replace(card, host_to_gpu=Link(gb_per_s, _LATENCY_NS))

        def measured(serving: Serving, server: NodePreset = server) -> Run:
            return run(plan(served, server, serving, requests), requests, routing, where, ranking)

        without = measured(base)
        ahead = replace(
            base,
            prefetch=Prefetch.GATE,
            staging_experts=_BUFFERS,
            cache_experts=_PLACES - (_BUFFERS - base.staging_experts),
        )
        runs = [measured(replace(ahead, accuracy=accuracy)) for accuracy in accuracies]
        c = without.counters
        found.append(
            Sweep(
                link,
                gb_per_s,
                tuple(accuracies),
                tuple(float(each.tpot_ns.mean()) / _NS_PER_MS for each in runs),
                float(without.tpot_ns.mean()) / _NS_PER_MS,
                100.0 * c["h2d_busy_ns"] / c["elapsed_ns"],
                tuple(
                    100.0 * each.counters["n_wasted"] / max(1.0, each.counters["n_prefetch"])
                    for each in runs
                ),
            )
        )
    return tuple(found)


def draw_sweep(sweeps: Sequence[Sweep], path: str | Path) -> None:
    """Draw time per token over accuracy, a panel a link.

    Args:
      sweeps: Results of `prefetch_sweep`.
      path: Ends in .png, .svg or .pdf; the same sweeps give the same file.

    Raises:
      InvalidArgumentError: The path has another ending.
      StorageError: It cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InvalidArgumentError(
            f"A picture's `path` must end in {', '.join(_ENDINGS)}; got {path.name!r}."
        )
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    panels = figure.subplots(1, len(sweeps), squeeze=False)[0]
    for axes, sweep in zip(panels, sweeps, strict=True):
        percent = [100.0 * accuracy for accuracy in sweep.accuracies]
        axes.plot(
            percent, sweep.tpot_ms, ".-", color=_COLOURS.get(sweep.link), label="next layer ahead"
        )
        axes.axhline(sweep.without_ms, color="black", linestyle="--", label="no prefetch")
        axes.set_title(
            f"{sweep.link} link: {sweep.gb_per_s:g} GB/s, {sweep.busy_percent:.0f} % busy before",
            fontsize="medium",
        )
        axes.set_xlabel("accuracy of the predictor [%]")
        axes.set_ylabel("time per token [ms]")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    # No date and no random names inside, so that the file depends on the sweeps alone.
    metadata = figure_metadata(path)
    with mpl.rc_context({"svg.hashsalt": "archgym"}), atomic_file(path) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=120, metadata=metadata)


def main() -> None:
    """Run the sweep, draw it and print the times."""
    sweeps = prefetch_sweep()
    draw_sweep(sweeps, sys.argv[1])
    for sweep in sweeps:
        print(f"{sweep.link}: {sweep.without_ms:.1f} ms without; by accuracy:")
        for accuracy, time in zip(sweep.accuracies, sweep.tpot_ms, strict=True):
            print(f"  {accuracy:.0%}: {time:.1f} ms")


if __name__ == "__main__":
    main()
