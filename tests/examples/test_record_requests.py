"""The recorder of requests keeps lengths and shared prefixes, and no text."""

import json
import subprocess
import sys
from pathlib import Path

from archgym.simulators.kv.formats.stream import StreamSettings, stream_of
from archgym.simulators.kv.workloads import read_trace

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
