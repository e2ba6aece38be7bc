"""Counts of prefix caches on small streams, written out by hand, and properties of policies."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv.formats.trace import read_requests
from archgym.simulators.kv.kernel.policies import OFFERED
from archgym.simulators.kv.kernel.run import checksum, optimum, run_offload, run_pool, run_radix
from archgym.simulators.kv.workloads.stream import StreamBlocks, StreamSettings, stream_of
from archgym.simulators.kv.workloads.traces import stream_blocks

Made = Callable[[list[tuple[int, int, list[int]]]], StreamBlocks]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Requests (prompt, output, ids of pieces of two tokens) as blocks of two tokens."""

    def make(requests: list[tuple[int, int, list[int]]]) -> StreamBlocks:
        lines: list[dict[str, Any]] = [{"piece_tokens": 2}]
        for time, (prompt, output, ids) in enumerate(requests):
            row: dict[str, Any] = {"timestamp": time, "input_length": prompt}
            lines.append({**row, "output_length": output, "hash_ids": ids})
        path = tmp_path / "trace.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        return stream_of(read_requests(path), StreamSettings()).blocks(2)

    return make


def test_prefix_is_found_again_up_to_the_last_token(made: Made) -> None:
    # Six prompt tokens are three blocks; the last must be computed again.
    found = run_pool(made([(6, 1, [1, 2, 3]), (6, 1, [1, 2, 3])]), "sequential", 8, "lru")

    assert found["hits"].tolist() == [0, 2]
    assert found["eligible_blocks"] == 4
    assert found["optimum_blocks"] == 2


def test_block_after_a_difference_is_another_block(made: Made) -> None:
    found = run_pool(made([(7, 1, [1, 2, 3, 9]), (7, 1, [5, 2, 3, 8])]), "sequential", 9, "lru")

    assert found["hits"].tolist() == [0, 0]


def test_request_above_the_capacity_is_rejected_and_touches_nothing(made: Made) -> None:
    requests = [(5, 1, [1, 2, 7]), (9, 1, [3, 4, 5, 6, 8]), (5, 1, [1, 2, 7])]
    found = run_pool(made(requests), "sequential", 4, "lru")

    assert found["hits"].tolist() == [0, -1, 2]
    assert found["rejected"] == 1


@pytest.mark.parametrize("space", ["vllm", "sglang", "offload"])
def test_least_memory_for_half_of_the_prompts_is_an_objective(space: str) -> None:
    objective = KvSimulator(space).spec.objectives["memory-for-half"]

    assert [str(limit) for limit in objective.limits] == ["hit_percent >= 50"]
    assert [term.metric for term in objective.terms] == ["cache_gib"]


def test_checksum_is_that_of_the_specification() -> None:
    # ((0 * f + 0 + 1) * f + 2 + 1) mod 2^64 with f = 6364136223846793005.
    assert checksum(np.array([0, 2])) == 6364136223846793008
    assert checksum(np.array([-1])) == 0


def test_tail_of_a_request_is_evicted_before_its_head(made: Made) -> None:
    log: dict[str, Any] = {}
    run_pool(made([(7, 1, [1, 2, 3, 4]), (5, 1, [5, 6, 7])]), "sequential", 5, "lru", log)

    # Three full blocks 0, 1, 2 and a part; the next takes the part, a free block and the tail.
    assert log["evicted"][1].tolist() == [2]
    log.clear()
    run_pool(made([(7, 1, [1, 2, 3, 4]), (7, 1, [5, 6, 7, 8])]), "sequential", 5, "lru", log)
    assert log["evicted"][1].tolist() == [2, 1]


def _exhaustive(requests: list[tuple[int, int, list[int]]], capacity: int) -> int:
    """Return the most hits by trying which blocks to keep after each request."""
    chains = []
    for prompt, output, ids in requests:
        n = (prompt + output - 1) // 2
        known = [tuple(ids[: k + 1]) for k in range(min(n, prompt // 2))]
        chains.append((known, (prompt - 1) // 2, -(-(prompt + output - 1) // 2)))
    states: dict[frozenset[Any], int] = {frozenset(): 0}
    for known, eligible, need in chains:
        after: dict[frozenset[Any], int] = {}
        for kept, score in states.items():
            hits = 0
            while hits < eligible and hits < len(known) and known[hits] in kept:
                hits += 1
            others = kept - set(known)
            room = min(len(others), capacity - need)
            for chosen in itertools.combinations(sorted(others), room):
                state = frozenset(chosen) | frozenset(known)
                after[state] = max(after.get(state, -1), score + hits)
        states = after
    return max(states.values())


def test_optimum_is_that_of_exhaustive_search(made: Made) -> None:
    rng = np.random.default_rng(7)
    for _ in range(12):
        requests = []
        for _ in range(6):
            n = int(rng.integers(1, 4))
            ids = [int(rng.integers(2)) + 2 * k for k in range(n)]
            requests.append((2 * n + 1, 1, [*ids, 50]))
        blocks = made(requests)

        assert optimum(blocks, 5, 5) == _exhaustive(requests, 5)


@pytest.mark.parametrize("policy", OFFERED)
@pytest.mark.parametrize("driver", ["sequential", "concurrent"])
def test_no_policy_beats_the_optimum_and_an_endless_cache_needs_none(
    policy: str, driver: str
) -> None:
    options: dict[str, Any] = {"last": "150", "block_tokens": "64", "driver": driver}
    tight = KvSimulator("vllm", gpu_blocks=4000, **options)
    endless = KvSimulator("vllm", gpu_blocks=400_000, **options)

    found = tight.evaluate({"policy": policy}, tight.workload("coding"))
    all_hits = endless.evaluate({"policy": policy}, endless.workload("coding"))

    if driver == "sequential":
        assert found["hit_blocks"] <= found["optimum_blocks"]
    assert found["hit_blocks"] <= all_hits["hit_blocks"]
    assert all_hits["evictions"] == 0
    assert all_hits["gap_closed_percent"] == 100.0


def test_furthest_next_use_reaches_the_optimum_on_sessions() -> None:
    simulator = KvSimulator("vllm", block_tokens=64, gpu_blocks=4000)
    made = stream_blocks(simulator.workload("coding").content, simulator.settings, 64)

    found = run_pool(made, "sequential", 4000, "belady")

    assert found["hit_blocks"] == found["optimum_blocks"]


@pytest.mark.parametrize("space", KvSimulator.spec.space_names)
def test_policy_that_knows_the_future_is_never_a_design(space: str) -> None:
    made = KvSimulator(space)
    names = [str(v) for p in made.space.parameters for v in map(p.value, range(p.size))]

    assert "belady" not in names


def test_tree_evicts_whole_leaves(made: Made) -> None:
    requests = [(9, 1, [1, 2, 3, 4, 50]), (5, 1, [5, 6, 51]), (9, 1, [1, 2, 3, 4, 52])]
    found = run_radix(made(requests), 5, "lru")

    # The second request is short of one page, and the leaf of four goes whole.
    assert found["hits"].tolist() == [0, 0, 0]
    assert found["evictions"] == 4 + 2
    assert found["evicted_nodes"] == 2


def test_host_memory_gives_back_what_the_gpu_gave_up(made: Made) -> None:
    requests = [(9, 1, [1, 2, 3, 4, 50]), (9, 1, [5, 6, 7, 8, 51]), (9, 1, [1, 2, 3, 4, 52])]
    found = run_offload(made(requests), 5, 16, "lru", "lru")

    assert found["hits"].tolist() == [0, 0, 0]
    assert found["host_hits"].tolist() == [0, 0, 4]
