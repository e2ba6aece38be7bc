"""Time of vLLM's own pool and of SGLang's own tree on the requests of `experiments.kv speed`.

    python -m pip download --no-deps vllm==0.33.0 sglang==0.5.23
    unpack vllm/v1/core and sglang/srt/mem_cache of them into FOLDER
    python -m experiments.kv_peers FOLDER [--trace TRACE]

Modules that these import and do not need here, such as configurations, are replaced by empty ones.
Requests run one after the other, with the calls of vLLM's cache manager (look up, touch, get new
blocks, cache full blocks, free) and of SGLang's scheduler (match, lock, evict, insert, unlock).
Hits must equal those of the simulator.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import time
from array import array
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from archgym.simulators.kv.kernel.run import run_pool, run_radix
from archgym.simulators.kv.workloads.stream import StreamBlocks, StreamSettings
from archgym.simulators.kv.workloads.traces import load, stream_blocks

BLOCK, CAPACITY = 512, 5000


class _Empty(ModuleType):
    """Module whose members are all there, and empty."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":
            return []
        value = MagicMock() if name != "cdiv" else lambda a, b: -(-a // b)
        setattr(self, name, value)
        return value


_OWN = (
    "vllm.v1.core.block_pool", "vllm.v1.core.kv_cache_utils",
    *(f"sglang.srt.mem_cache.{name}" for name in ("radix_cache", "base_prefix_cache",
                                                  "cache_init_params", "evict_policy")),
)  # fmt: skip


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder of everything under `vllm` and `sglang` but the caches themselves."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name.split(".")[0] not in ("vllm", "sglang"):
            return None
        own = self._folder.joinpath(*name.split(".")).with_suffix(".py")
        if name in _OWN:
            return importlib.util.spec_from_file_location(name, own)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Silent:
    """Object whose methods do nothing, at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return self._nothing

    def _nothing(self, *_: Any, **__: Any) -> None:
        return None


def run_sglang(made: StreamBlocks, capacity: int) -> tuple[float, list[int]]:
    """Return the processor time of SGLang's tree [s], and the hits of each request in pages."""
    import torch

    place = "sglang.srt.mem_cache"
    base = importlib.import_module(f"{place}.base_prefix_cache")
    policies = importlib.import_module(f"{place}.evict_policy")
    utils: Any = importlib.import_module(f"{place}.utils")
    utils.get_eviction_strategy = lambda *_: policies.LRUStrategy()
    utils.split_node_hash_value = lambda *_: (None, None)
    events: Any = importlib.import_module(f"{place}.events")
    events.KVCacheEventRecorder = _Silent
    radix: Any = importlib.import_module(f"{place}.radix_cache")
    tree = radix.RadixCache(
        SimpleNamespace(
            disable=False, req_to_token_pool=None, token_to_kv_pool_allocator=_Silent(),
            page_size=1, is_eagle=False, eviction_policy="lru", eviction_policy_config=None,
            enable_kv_cache_events=False, dynamo_kv_event_format=False, kv_event_lora_names=None,
            enable_metrics=False,
        )
    )  # fmt: skip
    blocks, hits = made.blocks, []
    # A page of one token whose number is the identity of the page.
    chains = [
        array("q", blocks.chain[blocks.start[i] : blocks.start[i + 1]].tolist())
        for i in range(len(made.stream))
    ]
    values = torch.zeros(max(map(len, chains)), dtype=torch.int64)
    started = time.process_time()
    for number, chain in enumerate(chains):
        need, eligible = int(blocks.need[number]), int(blocks.eligible[number])
        if need > capacity:
            hits.append(-1)
            continue
        found = tree.match_prefix(base.MatchPrefixParams(key=radix.RadixKey(chain[:eligible])))
        hits.append(int(found.device_prefix_len))
        tree.inc_lock_ref(found.last_device_node)
        used = tree.evictable_size() + tree.protected_size()
        short = need - hits[-1] - (capacity - used)
        if short > 0:
            tree.evict(base.EvictParams(num_tokens=short))
        key = radix.RadixKey(chain)
        tree.insert(base.InsertParams(key=key, value=values[: len(chain)]))
        tree.dec_lock_ref(found.last_device_node)
    return time.process_time() - started, hits


def run_vllm(made: StreamBlocks, capacity: int) -> tuple[float, list[int]]:
    """Return the processor time of vLLM's pool [s], and the hits of each request."""
    pool_class: Any = importlib.import_module("vllm.v1.core.block_pool").BlockPool
    # One block more: vLLM keeps a null block.
    pool = pool_class(capacity + 1, True, made.block)
    blocks, hits = made.blocks, []
    chains = [
        [int(v).to_bytes(32, "big") for v in blocks.chain[blocks.start[i] : blocks.start[i + 1]]]
        for i in range(len(made.stream))
    ]
    started = time.process_time()
    for number, chain in enumerate(chains):
        need = int(blocks.need[number])
        if need > capacity:
            hits.append(-1)
            continue
        held: list[Any] = []
        for identity in chain[: int(blocks.eligible[number])]:
            found = pool.get_cached_block(identity, [0])
            if found is None:
                break
            held += found
        hits.append(len(held))
        pool.touch(held)
        held += pool.get_new_blocks(need - len(held))
        request = SimpleNamespace(block_hashes=chain, request_id=str(number))
        pool.cache_full_blocks(request, held, hits[-1], len(chain), made.block, 0)
        pool.free_blocks(reversed(held))
    return time.process_time() - started, hits


def main() -> None:
    """Time both on one trace."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trace", default="chat")
    given = parser.parse_args()
    made = stream_blocks(load(given.trace), StreamSettings(), BLOCK)
    accesses = int(made.blocks.need.sum())
    sys.meta_path.insert(0, _Finder(given.folder))
    print(f"{len(made.stream):,} requests, {accesses:,} blocks of {BLOCK} tokens")
    for name, theirs, ours in (
        ("vLLM", run_vllm, lambda: run_pool(made, "sequential", CAPACITY, "lru")),
        ("SGLang", run_sglang, lambda: run_radix(made, CAPACITY, "lru")),
    ):
        theirs_s, hits = theirs(made, CAPACITY)
        ours()
        started = time.process_time()
        found = ours()
        ours_s = time.process_time() - started
        is_equal = found["hits"].tolist() == hits
        print(
            f"{name} {theirs_s:.3f} s, ours {ours_s:.4f} s with the optimum of hits: "
            f"{theirs_s / ours_s:.0f} times as fast; hits {'equal' if is_equal else 'DIFFER'}"
        )


if __name__ == "__main__":
    main()
