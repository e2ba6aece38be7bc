"""Measures how fast routing is drawn, replayed against expert caches, and analysed.

Run as ``python benchmarks/moe_routing.py``; prints one line for each case, in CPU time.
"""

import time
from dataclasses import replace

from archgym.simulators.moe.kernel.replay import Events, replay_events
from archgym.simulators.moe.workloads.routing import Routing, generate, routing_preset
from evidence.moe.analysis import analyse

N_DOCUMENTS = 40
N_TOKENS = 256


def draw(name: str, n_layers: int) -> Routing:
    """Draws routing of one model, and says how fast."""
    preset = routing_preset(name)
    generate(preset, 0, [2], 1)
    started = time.process_time()
    routing = generate(preset, 0, [N_TOKENS] * N_DOCUMENTS, n_layers)
    seconds = time.process_time() - started
    rate = routing.n_tokens * n_layers / seconds
    print(f"{name}: drawn at {rate / 1e6:.2f} M token-layers/s ({seconds:.2f} s)")
    return routing


def replay(routing: Routing, policy: str, scope: str, batch: int) -> None:
    """Replays all events against a cache of a quarter of the experts."""
    events = Events.from_routing(routing, batch)
    capacity = events.n_blocks // 4
    one_layer = replace(routing, experts=routing.experts[:, :1].copy())
    replay_events(Events.from_routing(one_layer), policy, routing.top_k, scope=scope)
    started = time.process_time()
    found = replay_events(events, policy, capacity, scope=scope)
    seconds = time.process_time() - started
    rate = len(events.layers) / seconds
    print(
        f"  {policy:10s} {scope:7s} batch {batch:2d}: {rate / 1e6:.2f} M events/s, "
        f"hit rate {100 * found.hit_rate:.1f} %"
    )


if __name__ == "__main__":
    for name, n_layers in (("mixtral-8x7b", 32), ("qwen3", 48)):
        drawn = draw(name, n_layers)
        for policy in ("lru", "lfu", "belady"):
            for scope in ("layer", "global"):
                replay(drawn, policy, scope, 1)
        replay(drawn, "lru", "layer", 16)
        started = time.process_time()
        analyse(drawn)
        print(f"  analysed in {time.process_time() - started:.2f} s")
