"""Turn a log of OpenAI-style requests into a trace without text, for `archgym kv`.

    python examples/record_requests.py LOG.jsonl trace.jsonl --salt "my secret"

Each line of the log is a JSON object with `messages` (or `prompt`), a time as `created` or
`timestamp` ([s] or ISO 8601), and `usage` if it is known: tokens of the prompt and of the answer.
Of a prompt, its length is kept, and for each piece a salted hash of it with all that comes before.
Without the salt, no text can be tested against it.
"""

import argparse
import hashlib
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

PIECE_TOKENS = 16
CHARACTERS = 4
"""chosen: characters a token, a usual mean of English text and code, for logs without `usage`."""


class Request(NamedTuple):
    """A request of the log: its time [s], text, and tokens; 0 prompt tokens if they are unknown."""

    time: float
    text: str
    prompt: int
    output: int


def text_of(row: dict[str, Any]) -> str:
    """Return the prompt of a request as one text."""
    if row.get("messages") is None:
        return str(row.get("prompt") or "")
    return "".join(f"<{m.get('role')}>{json.dumps(m.get('content'))}" for m in row["messages"])


def seconds(value: object) -> float:
    """Return a time, which is a number of seconds or a text as of ISO 8601; UTC without a zone."""
    try:
        found = float(str(value))
    except ValueError:
        moment = datetime.fromisoformat(str(value))
        found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(found):
        raise ValueError("a time must be finite")
    return found


def request_of(line: str) -> Request:
    """Return the request of a line of the log."""
    row = json.loads(line)
    usage = row.get("usage") or {}
    times = (row.get(name) for name in ("created", "timestamp"))
    time = next((seconds(each) for each in times if each is not None), 0.0)
    prompt, output = (int(usage.get(f"{of}_tokens") or 0) for of in ("prompt", "completion"))
    return Request(time, text_of(row), max(0, prompt), max(1, output))


def read_log(path: Path) -> list[Request]:
    """Return the requests of a log by time, or leave with a line that says what is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{path} cannot be read: {error}")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found += [request_of(line)] if line.strip() else []
        except (ValueError, TypeError, AttributeError) as error:
            sys.exit(f"{path}, line {number}: not a request of OpenAI's form: {error}")
    if not found:
        sys.exit(f"{path} has no request")
    return sorted(found, key=lambda each: each.time)


def identities(text: str, salt: bytes, pieces: int, characters: int) -> list[int]:
    """Return a number for each piece of a text, equal where all up to its end is equal.

    All texts of a log are cut every so many characters. One with fewer characters a token than
    others has pieces behind its end, which count as parts of it.
    """
    found, state = [], hashlib.blake2b(key=salt, digest_size=7)
    for piece in range(pieces):
        part = text[piece * characters : (piece + 1) * characters]
        state.update(part.encode("utf-8", "surrogatepass") or b"\0")
        found.append(int.from_bytes(state.copy().digest()))
    return found


def main() -> None:
    """Write the trace."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--salt", required=True)
    given = parser.parse_args()
    salt = hashlib.sha256(given.salt.encode()).digest()
    requests = read_log(given.log)
    known = [each for each in requests if each.prompt and each.text]
    tokens = sum(each.prompt for each in known)
    per_token = sum(len(each.text) for each in known) / tokens if known else CHARACTERS
    lines = [json.dumps({"piece_tokens": PIECE_TOKENS})]
    for time, text, counted, output in requests:
        prompt = counted or max(1, int(len(text) / per_token))
        pieces = -(-prompt // PIECE_TOKENS)
        ids = identities(text, salt, pieces, max(1, round(PIECE_TOKENS * per_token)))
        record = {"timestamp": round(1000 * (time - requests[0].time)), "input_length": prompt}
        lines.append(json.dumps({**record, "output_length": output, "hash_ids": ids}))
    try:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        sys.exit(f"{given.out} cannot be written: {error}")


if __name__ == "__main__":
    main()
