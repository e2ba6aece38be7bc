"""Requests that a log of vLLM's KV events shows, and one clear line for each bad log."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import FileFormatError
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv.workloads.stream import StreamSettings, stream_of
from archgym.simulators.kv.workloads.traces import read_trace


def stored(names: list[Any], parent: Any = None, **others: Any) -> dict[str, Any]:
    event = {"type": "BlockStored", "block_hashes": names, "parent_block_hash": parent}
    return {**event, "token_ids": [], "block_size": 16, "lora_id": None, "medium": "GPU", **others}


def log_of(folder: Path, *batches: tuple[float, list[Any]]) -> Path:
    path = folder / "events.jsonl"
    rows = [{"ts": ts, "events": events, "data_parallel_rank": 0} for ts, events in batches]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_events_of_a_cache_are_requests_with_what_they_found(tmp_path: Path) -> None:
    # Numbers and texts, as hashes of 64 and of 256 bits are written.
    big = 2**64 - 1
    path = log_of(
        tmp_path,
        (100.0, [stored(["a", "b"])]),
        # A further chunk of the prompt, then two blocks of output, one at a time.
        (100.5, [stored([big, "d"], "b")]),
        (101.0, [stored(["e"], "d"), stored(["e"], "d", medium="CPU")]),
        (
            101.5,
            [{"type": "BlockRemoved", "block_hashes": ["x"], "medium": "GPU"}, stored(["f"], "e")],
        ),
        # The next turn, which found all of it; a copy in other memory and a cleared cache.
        (140.0, [stored(["g", "h"], "f")]),
        # Another request, which found two blocks.
        (140.0, [stored(["i"], "b"), {"type": "AllBlocksCleared"}]),
    )

    trace = read_trace(path)
    found = stream_of(trace, StreamSettings()).blocks(16)

    assert found.stream.arrivals.time.tolist() == [0, 40_000, 40_000]
    # One token at least follows the last whole block.
    assert found.stream.arrivals.prompt.tolist() == [65, 129, 49]
    assert found.stream.arrivals.output.tolist() == [32, 1, 1]
    chains = np.split(found.blocks.chain, found.blocks.start[1:-1])
    assert [chain.tolist() for chain in chains] == [
        [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 8],
    ]  # fmt: skip


def test_events_as_lists_are_those_as_objects(tmp_path: Path) -> None:
    objects = log_of(tmp_path, (1.0, [stored(["a", "b"])]), (9.0, [stored(["c"], "b")]))
    lists = tmp_path / "lists.jsonl"
    lists.write_text(
        '[1.0, [["BlockStored", ["a", "b"], null, [], 16, null]]]\n'
        '[9.0, [["BlockStored", ["c"], "b", [], 16, null], ["AllBlocksCleared"]], null]\n'
    )

    first, second = read_trace(objects), read_trace(lists)

    for name in ("time", "prompt", "output", "ids", "start", "known", "piece"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_events_that_contradict_earlier_ones_are_counted_with_their_lines(tmp_path: Path) -> None:
    removed = {"type": "BlockRemoved", "block_hashes": ["b"], "medium": "GPU"}
    path = log_of(
        tmp_path,
        (1.0, [stored(["a", "b"], token_ids=list(range(32)))]),
        # Two requests computed the same block, of which both copies go.
        (2.0, [stored(["b"], "a"), removed, removed]),
        (3.0, [removed]),
        (4.0, [stored(["c"], "b")]),
        (5.0, [stored(["d"], token_ids=[1, 2])]),
        (6.0, [{"type": "AllBlocksCleared"}, stored(["e"], "a")]),
    )

    with collected_reductions() as notes:
        read_trace(path)
    with collected_reductions() as others:
        read_trace(
            log_of(tmp_path, (5.0, [{**removed, "block_hashes": ["x"]}, stored(["y"], "x")]))
        )

    (note,) = notes
    assert "events that contradict earlier ones: 4 (first at lines 3, 4, 5, 6)" in note
    # The second one stored a block before the log began; it is removed, and then continued.
    assert "earlier ones: 1 (first at lines 1)" in others[0]


def test_chains_that_are_cut_are_counted_with_their_lines(tmp_path: Path) -> None:
    # Before, nothing was said of them.
    log = log_of(tmp_path, (5.0, [stored(["c", "d"], "b")]), (9.0, [stored(["e"], "d")]))

    with collected_reductions() as notes:
        trace = read_trace(log)

    # They count from what is known.
    assert trace.prompt.tolist() == [49, 65]  # type: ignore[union-attr]
    (note,) = notes
    assert "events.jsonl: chains whose beginning is not in the log: 1 (first at lines 1)" in note


def test_log_of_events_is_a_workload(tmp_path: Path) -> None:
    # Before, a script had to turn it into a trace.
    names = [f"b{n}" for n in range(8)]
    log = log_of(tmp_path, (1.0, [stored(names)]), (9.0, [stored(["c"], "b7")]))
    simulator = KvSimulator("vllm", block_tokens=16, gpu_blocks=40)

    found = simulator.evaluate({"policy": "lru"}, simulator.workload(log))

    assert found["requests"] == 2.0
    assert found["hit_blocks"] == found["optimum_blocks"] == 8.0


def test_blocks_of_one_token_are_read(tmp_path: Path) -> None:
    # Before, the token after the last whole block was looked for beyond the known ones.
    log = log_of(tmp_path, (1.0, [stored(["a", "b"], block_size=1)]))

    blocks = stream_of(read_trace(log), StreamSettings()).blocks(1).blocks

    assert blocks.chain.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([(1.0, [])], "a trace must have a request"),
        ([(1.0, [stored(["a"])]), (0.5, [])], "must be in the order of `ts`"),
        ([(0.0, [stored(["a"])]), (1e12, [])], "must be in the order of `ts`, within"),
        ([(float("nan"), [])], "a batch must have `ts`"),
        ([(1.0, [stored([["a"]])])], "a hash of a block must be"),
        ([(1.0, [stored([True])])], "a hash of a block must be"),
        ([(1.0, [stored(["a"], {})])], "a hash of a block must be"),
        ([(1.0, [{"type": ["BlockStored"]}])], "an event must be one of BlockStored,"),
        ([(1.0, [17])], "an event must be one of BlockStored,"),
        ([(1.0, [stored({"a": 1})])], "`block_hashes` must be a list"),  # type: ignore[arg-type]
        ([(1.0, [stored(["a"], block_size=0)])], "`block_size` must be a whole number"),
        ([(1.0, [stored(["a"]), stored(["b"], block_size=32)])], "`block_size` must be 16"),
        ([(1.0, [stored(["a", "b"]), stored(["c", "b"])])], "must follow the block that it did"),
        ([(1.0, [stored(["a", "b", "a"])])], ""),
    ],
)
def test_bad_logs_of_events_are_refused_in_one_line(
    tmp_path: Path, batches: list[tuple[float, list[Any]]], said: str
) -> None:
    path = log_of(tmp_path, *batches)
    if not said:
        # A chain that comes back to its first block has no end; it is read as that block alone.
        assert read_trace(path).prompt.tolist() == [17]  # type: ignore[union-attr]
        return

    with pytest.raises(FileFormatError) as error:
        read_trace(path)

    assert said in str(error.value)
    assert "\n" not in str(error.value)
