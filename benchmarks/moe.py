"""Measures how fast the MoE serving simulator is.

Run with `make bench`, or `python benchmarks/moe.py`. Times are of the processor, and leave
compiling out; generating routing, which is done once a workload, is timed apart.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from archgym.simulators.moe import MoeSimulator, Requests, generate, model, node, routing_preset
from archgym.simulators.moe.kernel.run import documents, run
from archgym.simulators.moe.machine.columns import Replacement, Scope
from archgym.simulators.moe.machine.plan import plan
from archgym.simulators.moe.machine.serving import Serving
from archgym.simulators.moe.workloads.requests import generate_requests
from archgym.simulators.moe.workloads.routing import popularity


def _timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Least processor time of some runs [s], and what the last one gave."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return float(best), result


def _serve(what: str, serving: Serving, requests: Requests, server: str, seed: int = 3) -> None:
    served = model("qwen3-30b-a3b")
    begin = time.process_time()
    routing = generate(routing_preset(served.routing), seed, [256] * 16, served.moe_layers)
    made_s = time.process_time() - begin
    where, ranking = documents(requests, routing), popularity(routing)
    ready = plan(served, node(server), serving, requests)
    run(ready, requests, routing, where, ranking)
    seconds, result = _timed(lambda: run(ready, requests, routing, where, ranking))
    events = result.counters["n_events"]
    print(
        f"{what:58} {seconds:7.3f} s  {events:9,.0f} events  {events / seconds / 1e6:6.2f} M/s"
        f"  (routing once {made_s:.2f} s)"
    )


def main() -> None:
    """Print one line a case."""
    many = generate_requests(
        300, 1, rate_per_s=10.0, prompt_mean=220, output_mean=200, prompt_spread=0.8,
        output_spread=0.8,
    )  # fmt: skip
    few = generate_requests(4, 1, rate_per_s=1.0, prompt_mean=64, output_mean=256)
    _serve(
        "Qwen3-30B, 300 requests at 10/s, all resident",
        Serving(max_sequences=128),
        many,
        "hgx-h200",
    )
    alone = Serving(max_sequences=1, expert_bits=4)
    _serve("one request at a time, all resident", alone, few, "h100")
    half = Serving(max_sequences=1, expert_bits=4, cache_experts=3072)
    _serve("the same, half resident, LRU a layer", half, few, "rtx-4090")
    pool = Serving(
        max_sequences=1,
        expert_bits=4,
        cache_experts=3072,
        scope=Scope.GLOBAL,
        replacement=Replacement.LFU,
    )
    _serve("the same, half resident, LFU over all layers", pool, few, "rtx-4090")
    simulator = MoeSimulator("edge-offload-table")
    workload = simulator.workload("turns")
    indices = simulator.space.sample(200, np.random.default_rng(0))
    simulator.evaluate_batch(indices[:2], workload)
    seconds, _ = _timed(lambda: simulator.evaluate_batch(indices, workload), 1)
    total = simulator.space.count().value
    print(
        f"{'edge-offload-table, 200 random designs':58} {1e3 * seconds / 200:7.2f} ms a design; "
        f"{total:,.0f} designs in {seconds / 200 * total / 60:.1f} min on one core"
    )


if __name__ == "__main__":
    main()
