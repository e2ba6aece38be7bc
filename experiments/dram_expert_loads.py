"""Loads of experts for the DRAM workload `expert-misses`, from the caches of the MoE simulator.

Run it as `python experiments/dram_expert_loads.py`. Four documents of OLMoE's routing preset run
together. A cache of half of all experts keeps those used last. What misses in the
events after the first half is written to archgym/simulators/dram/data/expert_loads.csv.
"""

from pathlib import Path

import numpy as np

from archgym.simulators.moe.kernel.cache_kernel import begin_event, end_event
from archgym.simulators.moe.kernel.caches import admission_code, new_cache, policy_code, tie_order
from archgym.simulators.moe.kernel.replay import Events
from archgym.simulators.moe.workloads.routing import generate, routing_preset

DATA = Path(__file__).parent.parent / "archgym/simulators/dram/data/expert_loads.csv"
PRESET, SEED, LAYERS, TOKENS, BATCH = "olmoe", 0, 16, 32, 4
CACHED_SHARE = 0.5
# chosen: as many loads as fill a workload of 640 KiB with 8 KiB each.
LOADS = 80


def events() -> Events:
    """Return the sets of experts that the layers ask for."""
    routing = generate(routing_preset(PRESET), SEED, [TOKENS] * BATCH, LAYERS)
    return Events.from_routing(routing, BATCH)


def misses(asked: Events) -> list[tuple[int, int]]:
    """Return event and block, `layer * experts + expert`, of each load by a cache."""
    capacity = int(CACHED_SHARE * asked.n_blocks)
    tie = tie_order(0, asked.n_blocks)
    cache = new_cache(asked.n_layers, asked.n_experts, np.array([capacity]), tie)
    policy, admission = policy_code("lru"), admission_code("bypass")
    missed = np.zeros(asked.n_experts, dtype=np.int32)
    blocks, found = asked.blocks, []
    for event, (first, last) in enumerate(zip(asked.offsets, asked.offsets[1:], strict=False)):
        n = begin_event(cache, blocks[first:last], last - first, asked.cycles[event], missed)
        found += [(event, int(block)) for block in missed[:n]]
        end_event(cache, policy, admission, 0, missed, n)
    return found


def main() -> None:
    """Write the loads."""
    asked = events()
    late = [(event, block) for event, block in misses(asked) if event >= len(asked.layers) // 2]
    rows = "".join(f"{event},{block}\n" for event, block in late[:LOADS])
    DATA.write_text(f"event,block\n{rows}")


if __name__ == "__main__":
    main()
