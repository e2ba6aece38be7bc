"""Turn a log of OpenAI-style requests into a trace without text, for `archgym kv`.

    python examples/record_requests.py LOG.jsonl trace.jsonl --salt "my secret"

Each line of the log is a JSON object with `messages` (or `prompt`), a time as `created` or
`timestamp` [s], and `usage` if it is known. Of a prompt, its length is kept, and for each piece a
salted hash of it with all that comes before. Without the salt, no text can be tested against it.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

PIECE_TOKENS = 16
CHARACTERS = 4 * PIECE_TOKENS
"""chosen: four characters a token, a usual mean of English text and code."""


def text_of(row: dict[str, Any]) -> str:
    """Return the prompt of a request as one text."""
    if "messages" not in row:
        return str(row.get("prompt", ""))
    return "".join(f"<{m.get('role')}>{json.dumps(m.get('content'))}" for m in row["messages"])


def identities(text: str, salt: bytes) -> list[int]:
    """Return a number for each piece of a text, equal where all up to its end is equal."""
    found, state = [], hashlib.blake2b(key=salt, digest_size=7)
    for start in range(0, len(text), CHARACTERS):
        state.update(text[start : start + CHARACTERS].encode())
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
    rows = []
    for line in given.log.read_text().splitlines():
        row = json.loads(line)
        ids = identities(text_of(row), salt)
        output = row.get("usage", {}).get("completion_tokens", 1)
        time = float(row.get("created", row.get("timestamp", 0.0)))
        rows.append((time, max(1, len(text_of(row)) // 4), max(1, int(output)), ids))
    rows.sort(key=lambda row: row[0])
    lines = [json.dumps({"piece_tokens": PIECE_TOKENS})]
    for time, prompt, output, ids in rows:
        n = -(-prompt // PIECE_TOKENS)
        record = {"timestamp": round(1000 * (time - rows[0][0])), "input_length": prompt}
        lines.append(json.dumps({**record, "output_length": output, "hash_ids": ids[:n]}))
    given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
