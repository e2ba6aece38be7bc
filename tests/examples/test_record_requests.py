"""The recorder of requests keeps lengths and shared prefixes, and no text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from archgym.simulators.kv.workloads.stream import StreamSettings, stream_of
from archgym.simulators.kv.workloads.traces import read_trace

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "record_requests.py"


def record(folder: Path, rows: list[dict[str, object]], salt: str) -> Path:
    log, out = folder / "log.jsonl", folder / f"{salt}.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    subprocess.run([sys.executable, SCRIPT, log, out, "--salt", salt], check=True)
    return out


def test_recorded_requests_share_what_their_prompts_share(tmp_path: Path) -> None:
    system = {"role": "system", "content": "You are careful. " * 40}
    first = {"role": "user", "content": "Sort these numbers: 3 1 2."}
    rows: list[dict[str, object]] = [
        {"created": 5.0, "messages": [system, first], "usage": {"completion_tokens": 9}},
        {"created": 7.5, "messages": [system, first, {"role": "assistant", "content": "1 2 3"}]},
        {"created": 8.0, "prompt": "Another text. " * 30},
    ]
    path = record(tmp_path, rows, "pepper")

    stream = stream_of(read_trace(path), StreamSettings())
    blocks = stream.blocks(16).blocks

    assert stream.arrivals.time.tolist() == [0, 2500, 3000]
    assert stream.arrivals.output.tolist() == [9, 1, 1]
    starts = [set(blocks.chain[blocks.start[i] : blocks.start[i + 1]].tolist()) for i in range(3)]
    # All full pieces of the first prompt but its last begin the second one too.
    assert len(starts[0] & starts[1]) >= int(blocks.prompt[0]) - 1 > 8
    assert not starts[0] & starts[2]
    assert "careful" not in path.read_text()


def test_another_salt_gives_other_identities(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"timestamp": 1, "prompt": "x" * 500}]

    assert record(tmp_path, rows, "a").read_text() != record(tmp_path, rows, "b").read_text()


def test_counted_tokens_are_those_of_the_trace(tmp_path: Path) -> None:
    # Two characters a token, as in some languages: 500 tokens are 32 pieces of 32 characters.
    text = "".join(chr(97 + i % 23) for i in range(1000))
    rows: list[dict[str, object]] = [
        {"created": 1, "prompt": text, "usage": {"prompt_tokens": 500, "completion_tokens": 3}},
        {"created": 2, "prompt": text + text[:200], "usage": {"prompt_tokens": 600}},
        {"created": 3, "prompt": text, "usage": None},
    ]

    path = record(tmp_path, rows, "pepper")

    found = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    assert [row["input_length"] for row in found] == [500, 600, 500]
    assert [len(row["hash_ids"]) for row in found] == [32, 38, 32]
    assert found[0]["hash_ids"] == found[2]["hash_ids"]
    assert found[0]["hash_ids"][:31] == found[1]["hash_ids"][:31]
    assert stream_of(read_trace(path), StreamSettings()).arrivals.prompt.tolist() == [500, 600, 500]


def test_text_shorter_than_its_tokens_has_distinct_pieces(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"created": 1, "prompt": "x" * 6400, "usage": {"prompt_tokens": 1600}},
        {"created": 2, "prompt": "y", "usage": {"prompt_tokens": 100}},
    ]

    found = [json.loads(line) for line in record(tmp_path, rows, "a").read_text().splitlines()[1:]]

    assert len(set(found[1]["hash_ids"])) == 7


def test_times_are_seconds_or_iso(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"timestamp": "2026-01-01T00:00:01.5Z", "prompt": "b" * 99},
        {"timestamp": "2026-01-01T00:00:00", "prompt": "a" * 99},
    ]

    found = [json.loads(line) for line in record(tmp_path, rows, "a").read_text().splitlines()[1:]]

    assert [row["timestamp"] for row in found] == [0, 1500]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("", "has no request"),
        ('{"prompt": "a"}\n{"prompt": "b', "line 2"),
        ('{"prompt": "a", "created": "yesterday"}', "line 1"),
        ('{"prompt": "a", "created": NaN}', "line 1"),
        ('{"messages": 5}', "line 1"),
        ("[1]", "line 1"),
    ],
)
def test_bad_log_is_refused_in_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    log = tmp_path / "log.jsonl"
    if content is not None:
        log.write_text(content)

    ended = subprocess.run(
        [sys.executable, SCRIPT, log, tmp_path / "out.jsonl", "--salt", "a"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert ended.returncode == 1
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
