"""Readers of traces: streams written out by hand, and one clear line for each bad file."""

import gzip
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.evaluation.options import make_simulator
from archgym.runtime.reductions import collected_reductions
from archgym.simulators.kv import KvSimulator
from archgym.simulators.kv.workloads.stream import StreamSettings, stream_of
from archgym.simulators.kv.workloads.traces import load, read_trace
from archgym.simulators.moe.workloads.requests import read_requests
from archgym.tasks.task import Task


def request(prompt: int, keep: int, start: int, **times: int) -> dict[str, Any]:
    new = [[start, prompt // 64 - keep]] if prompt // 64 > keep else []
    return {"in": prompt, "out": 2, "api": 100, "think": 0, "keep": keep, "new": new, **times}


def session_file(folder: Path, *sessions: list[dict[str, Any]]) -> Path:
    path = folder / "sessions.jsonl"
    lines = [{"id": n, "tool": 64, "system": 64, "requests": r} for n, r in enumerate(sessions)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_parent_waits_for_sub_agents_while_it_thinks(tmp_path: Path) -> None:
    sub = {"sub": [request(128, 0, 50, api=700), request(128, 2, 60)], "tool": 0, "system": 0}
    path = session_file(tmp_path, [request(128, 0, 1), sub, request(192, 2, 9, think=300)])

    stream = stream_of(read_trace(path), StreamSettings())

    # The sub-agent runs from 100 to 900; the next turn would have come at 400.
    assert stream.arrivals.time.tolist() == [0, 100, 800, 900]
    assert stream.agent.tolist() == [0, 1, 1, 0]
    needs = stream.dependencies
    assert needs is not None
    assert needs.n_before.tolist() == [0, 1, 1, 2]


def test_next_session_starts_when_the_earliest_ends(tmp_path: Path) -> None:
    long, short = [request(128, 0, 1, api=5000)], [request(128, 0, 1, api=1000)]
    path = session_file(tmp_path, long, short, short)

    stream = stream_of(read_trace(path), StreamSettings(live=2, stagger_ms=10))

    assert stream.arrivals.time.tolist() == [0, 10, 1010]


def test_agents_with_the_same_tools_share_their_first_pieces(tmp_path: Path) -> None:
    path = session_file(tmp_path, [request(256, 0, 1)], [request(256, 0, 40)])

    shared = stream_of(read_trace(path), StreamSettings()).blocks(64)
    own = stream_of(read_trace(path), StreamSettings(shared_prefix=False)).blocks(64)

    # Two of four pieces are those of tools and system prompt.
    assert shared.n_identities == 6
    assert own.n_identities == 8


def test_output_is_known_if_the_next_prompt_continues_it(tmp_path: Path) -> None:
    path = session_file(tmp_path, [{**request(128, 0, 1), "out": 65}, request(256, 2, 9)])

    linked = stream_of(read_trace(path), StreamSettings(link=True))
    own = stream_of(read_trace(path), StreamSettings(link=False))

    assert linked.known.tolist() == [256, 256]
    assert own.known.tolist() == [128, 256]


def test_recorded_sessions_equal_their_compact_form() -> None:
    reference = os.environ.get("ARCHGYM_REFERENCE")
    if not reference:
        pytest.skip("ARCHGYM_REFERENCE does not name the folder of recorded results")
    folder = Path(reference) / "kv" / "traces"
    raw = stream_of(load(folder / "claude_code_raw" / "trace_0034.json.gz").trace, StreamSettings())
    with gzip.open(folder / "claude_code_shared.jsonl.gz", "rt") as handle:
        lines = handle.read().splitlines()
    place = next(n for n, line in enumerate(lines) if json.loads(line)["id"] == "trace_0034")
    settings = StreamSettings(skip_sessions=place, sessions=1)
    compact = stream_of(load(folder / "claude_code_shared.jsonl.gz").trace, settings)

    for ours, theirs in zip(raw.arrivals, compact.arrivals, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(raw.nodes, compact.nodes)


GOOD = {"timestamp": 0, "input_length": 512, "output_length": 1, "hash_ids": [1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("hello\n", "a trace of requests must be one of"),
        (json.dumps({**GOOD, "timestamp": -1}), "`timestamp` must be a time of 0 or more"),
        (json.dumps({**GOOD, "input_length": 10**9}), "`input_length` must be a whole number"),
        (json.dumps({**GOOD, "hash_ids": [1, 2]}), "512 tokens must have 1 ids"),
        (json.dumps({**GOOD, "hash_ids": ["a"]}), "`hash_ids` must be a list of whole numbers"),
        (json.dumps({**GOOD, "timestamp": 5}) + "\n" + json.dumps(GOOD), "order of arrival"),
        (json.dumps(GOOD) + "\n{", "must be JSON"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "must be a date such as"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,-1,1\n", "whole number"),
        ("a,b\n1,2\n", "a trace must have the columns"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)

    with pytest.raises(FileFormatError) as error:
        read_trace(path)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keep": 3}, "`keep` must be at most 0"),
        ({"new": [[1, -5]]}, "`new` must be a list of [start, count]"),
        ({"new": [[1, 10**7]]}, "must have 2 ids; got 10000000"),
        ({"think": -4}, "`think` must be a time of 0 or more"),
        ({"in": 10**12}, "`in` must be a whole number"),
    ],
)
def test_hostile_sessions_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = session_file(tmp_path, [{**request(128, 0, 1), **change}])

    with pytest.raises(FileFormatError) as error:
        read_trace(path)

    assert said in str(error.value)


def test_deep_nests_of_sub_agents_are_refused(tmp_path: Path) -> None:
    item: dict[str, Any] = request(128, 0, 1)
    for _ in range(40):
        item = {"sub": [item], "tool": 0, "system": 0}

    with pytest.raises(FileFormatError, match="nest at most 32 deep"):
        read_trace(session_file(tmp_path, [request(128, 0, 1), item]))


def test_torn_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(GOOD) + "\n").encode() * 1000)[:-20])

    with pytest.raises(FileFormatError, match="whole text"):
        read_trace(path)


def test_block_that_does_not_divide_a_piece_cannot_be_built() -> None:
    simulator = KvSimulator("vllm", block_tokens=48)
    found = simulator.evaluate({"cache_tokens": 2**18, "policy": "lru"}, simulator.workload("chat"))

    assert found.infeasible is not None
    assert "neither divides" in found.infeasible


def test_cut_without_a_request_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`first` must be below 1,200"):
        KvSimulator(first=5000).workload("chat")


def test_cuts_that_a_trace_cannot_have_are_told() -> None:
    # Before, they had no effect, and no one was told.
    with collected_reductions() as notes:
        stream_of(load("chat").trace, StreamSettings(sessions=3))
        stream_of(load("coding").trace, StreamSettings(skip_sessions=15, sessions=10))

    assert any("no effect on a trace of requests alone" in note for note in notes)
    assert any("must be 0 to 19 of the trace; got 15 to 24, of which 5 run" in n for n in notes)
    with pytest.raises(InvalidArgumentError, match="must be 0 to 19 of the trace; got 20 to 29"):
        stream_of(load("coding").trace, StreamSettings(skip_sessions=20, sessions=10))


def test_requests_of_aiperf_are_sorted_by_their_start(tmp_path: Path) -> None:
    path = tmp_path / "profile_export.jsonl"
    path.write_text(
        "\n".join(
            json.dumps(
                {
                    "metadata": {"request_start_ns": 1_760_000_000_000_000_000 + 10**6 * ms},
                    "metrics": {
                        "input_sequence_length": {"value": 100 + ms, "unit": "tokens"},
                        "output_sequence_length": {"value": 7, "unit": "tokens"},
                    },
                }
            )
            for ms in (40, 5, 90)
        )
    )

    trace = read_trace(path)

    assert trace.time.tolist() == [0, 35, 85]  # type: ignore[union-attr]
    assert trace.prompt.tolist() == [105, 140, 190]  # type: ignore[union-attr]
    # Whole ns count, from the first start: 1.3 ms are 1, and not 2.
    start = 1_760_000_000_000_400_000
    lengths = {"input_sequence_length": 9, "output_sequence_length": 7}
    rows = [
        {"metadata": {"request_start_ns": start + ns}, "metrics": lengths} for ns in (0, 1_300_000)
    ]
    near = tmp_path / "near.jsonl"
    near.write_text("\n".join(map(json.dumps, rows)))
    assert read_trace(near).time.tolist() == [0, 1]  # type: ignore[union-attr]
    # One reader serves both simulators.
    requests = read_requests(path)
    assert requests.prompt_tokens.tolist() == [105, 140, 190]
    assert requests.arrival_ns.tolist() == pytest.approx([0, 35e6, 85e6], abs=600)


def test_ids_beyond_a_prompt_are_its_output_where_the_file_says_so(tmp_path: Path) -> None:
    row = {"timestamp": 0, "input_length": 17, "output_length": 32, "hash_ids": [1, 2, 3]}
    again = {"timestamp": 9, "input_length": 49, "output_length": 1, "hash_ids": [1, 2, 3, 4]}
    lines = "\n".join(map(json.dumps, (row, again)))
    path, plain = tmp_path / "outputs.jsonl", tmp_path / "plain.jsonl"
    path.write_text('{"piece_tokens": 16, "has_outputs": true}\n' + lines)
    plain.write_text('{"piece_tokens": 16}\n' + lines)

    blocks = stream_of(read_trace(path), StreamSettings()).blocks(16).blocks

    assert blocks.chain.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(FileFormatError, match="17 tokens must have 2 ids"):
        read_trace(plain)


@pytest.mark.slow
def test_traces_of_random_bytes_never_break_a_reader(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = "\n".join(json.dumps({**GOOD, "timestamp": n}) for n in range(5)).encode()
    for n in range(300):
        data = bytearray(good)
        for _ in range(1 + n % 5):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path = tmp_path / f"{n}.jsonl"
        path.write_bytes(bytes(data))
        # Bytes that still make a trace are read; all others are refused by our own errors.
        with suppress(ArchGymError):
            stream_of(read_trace(path), StreamSettings())


def test_mark_at_the_beginning_of_a_file_is_no_part_of_it(tmp_path: Path) -> None:
    line = '{"timestamp": 0, "input_length": 5, "output_length": 2, "hash_ids": [7]}'
    table = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4,10\n"
    for name, text in {"requests.jsonl": line, "azure.csv": table}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / f"marked-{name}").write_text(text, encoding="utf-8-sig")

        plain, marked = read_trace(tmp_path / name), read_trace(tmp_path / f"marked-{name}")

        assert marked.prompt.tolist() == plain.prompt.tolist()  # type: ignore[union-attr]


@pytest.mark.parametrize("space", ["vllm", "sglang", "offload"])
def test_cache_below_every_request_has_counts_and_none_of_the_gap(space: str) -> None:
    # Before, it had 100 % of the way to the optimum, or was no design at all.
    simulator = KvSimulator(space, gpu_blocks=2, block_tokens=64, last=9)
    with collected_reductions() as notes:
        found = Task.make(simulator, "coding").evaluate(simulator.space.default_indices[None, :])

    names = [spec.name for spec in simulator.metrics]
    values = dict(zip(names, found.values[0, 0].tolist(), strict=True))
    assert np.isfinite(found.reward).all()
    assert values["requests"] == values["rejected"] == 9.0
    assert values["hit_blocks"] == values["optimum_blocks"] == values["gap_closed_percent"] == 0.0
    assert any("smaller than every request of the trace" in note for note in notes)


def test_memory_without_a_block_is_refused() -> None:
    for space in ("vllm", "sglang"):
        with pytest.raises(InvalidArgumentError, match="`gpu_blocks` must be 1 or more") as error:
            KvSimulator(space, gpu_blocks=0)
        assert "\n" not in str(error.value)
    # The host holds what the accelerator does not.
    KvSimulator("offload", gpu_blocks=0).workload("coding")


@pytest.mark.parametrize(
    ("space", "option"),
    [("serving", "gpu_blocks"), ("serving", "host_blocks"), ("vllm", "host_blocks")],
)
def test_sizes_that_a_space_does_not_have_are_refused(space: str, option: str) -> None:
    # Before: they were part of the task's name, and had no effect.
    with pytest.raises(InvalidArgumentError, match=f"`{option}` replaces a parameter that"):
        make_simulator(KvSimulator, space, None, {option: "100"})


def test_more_live_sessions_than_the_trace_has_are_told(caplog: pytest.LogCaptureFixture) -> None:
    KvSimulator("vllm").workload("chat")
    assert not caplog.text
    KvSimulator("serving", live=21).workload("coding")

    assert "`live` is 21, but coding has 20 sessions" in caplog.text
