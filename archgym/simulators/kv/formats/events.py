"""Requests in a log of vLLM's KV events: one batch of events a line, as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archgym.simulators.kit import FileFormatError, report_loss
from archgym.simulators.kv.formats.trace import MAX_REQUESTS, MAX_TIME_MS
from archgym.traces.requests import Row, lines_of, parsed, whole

# Source: vllm/distributed/kv_events.py, commit 0181ea3. Releases before it wrote batches and events
# as lists in this order, events behind their names; fields that are not needed follow.
_BATCH: Final = ("ts", "events", "data_parallel_rank")
_STORED: Final = (
    "type", "block_hashes", "parent_block_hash", "token_ids", "block_size", "lora_id", "medium",
)  # fmt: skip
EVENTS: Final = ("BlockStored", "BlockRemoved", "AllBlocksCleared")
"""Names of events."""
_NO_HASH: Final = "a hash of a block must be a whole number or a text"
# chosen: an engine that decodes fills a block of 16 tokens within a second; tools take longer.
_PAUSE_MS: Final = 2000


@dataclass(slots=True)
class _Request:
    """A request that the log shows, by its first line, times, last block and blocks of prompt."""

    line: int
    start_ms: int
    last_ms: int
    tip: int
    n_prompt: int


def read_events(path: Path) -> Iterator[Row]:
    """Yield the requests that a log of vLLM's KV events shows.

    A request is a chain of blocks that were stored within two seconds of each other. What it found
    in the cache is the chain above its first block. Requests that store no block leave no event,
    and tokens after the last whole block are not known.

    Raises:
      FileFormatError: A line is not as it must be.
    """
    numbers: dict[int | str, int] = {}
    parents, depths, block = list[int](), list[int](), 0
    requests, by_tip = list[_Request](), dict[tuple[int, int], _Request]()
    doubtful, cut = list[int](), list[int]()
    for line, now_ms, engine, event in _stored_blocks(path, doubtful):
        size = whole(path, line, event, "block_size", 2**20, 1)
        block = block or size
        if size != block:
            what = f"`block_size` must be {block}, as before; got {size}"
            raise FileFormatError(path, line, what)
        above = event.get("parent_block_hash")
        tip = parent = -1
        for name in event["block_hashes"] if above is None else [above, *event["block_hashes"]]:
            if type(name) not in (int, str):
                raise FileFormatError(path, line, _NO_HASH)
            number = numbers.setdefault(name, len(parents))
            if number == len(parents):
                cut += [line] if name is above else []
                parents.append(tip)
                depths.append(1 + (depths[tip] if tip >= 0 else 0))
            # The first one of a log that begins late has a parent that is not known.
            if tip >= 0 and parents[number] not in (-1, tip):
                what = f"block {name!r:.40} must follow the block that it did before"
                raise FileFormatError(path, line, what)
            tip = number
            parent = number if name is above else parent
        if len(parents) > MAX_REQUESTS:
            what = f"a log must name at most {MAX_REQUESTS:,} blocks"
            raise FileFormatError(path, line, what, "Cut it into several files")
        request = by_tip.pop((engine, parent), None)
        if request is None or now_ms - request.last_ms > _PAUSE_MS:
            request = _Request(line, now_ms, now_ms, tip, depths[tip])
            requests.append(request)
        elif len(event["block_hashes"]) > 1:
            # A later chunk of the prompt; outputs fill one block at a time.
            request.n_prompt = depths[tip]
        request.tip, request.last_ms = tip, now_ms
        by_tip[engine, tip] = request
    _report(
        path, doubtful, "events that contradict earlier ones",
        "A block that is gone is removed or continued, or `token_ids` do not fill the blocks. "
        "Requests are read as if the blocks were there; check the log",
    )  # fmt: skip
    _report(
        path, cut, "chains whose beginning is not in the log",
        "Their prompts count from the first block that is known, so that they and their hits are "
        "too short",
    )  # fmt: skip
    for fresh, request in enumerate(requests, start=len(parents)):
        chain = [request.tip]
        while parents[chain[-1]] >= 0:
            chain.append(parents[chain[-1]])
        n_prompt = min(request.n_prompt, len(chain))
        output = (len(chain) - n_prompt) * block
        # One token at least follows the last whole block of a prompt; it begins a piece of its own.
        ids = chain[::-1] + ([] if output else [fresh])
        tokens = (n_prompt * block + 1, max(1, output))
        yield Row(request.line, 1e6 * request.start_ms, *tokens, ids, True, block, True, False)


def _report(path: Path, lines: list[int], what: str, effect: str) -> None:
    """Report how many events there are of a kind, and the lines of the first ones; nothing if 0."""
    if lines:
        shown = ", ".join(map(str, dict.fromkeys(lines[:8])))
        report_loss(f"{path.name}: {what}: {len(lines):,} (first at lines {shown}). {effect}.")


def _stored_blocks(
    path: Path, doubtful: list[int]
) -> Iterator[tuple[int, int, int, Mapping[str, Any]]]:
    """Yield line, time, engine and event of blocks that an engine's own memory got.

    Args:
      path: The log.
      doubtful: Filled with the line of each event that contradicts earlier ones.
    """
    origin, now_ms = -1, 0
    held = dict[int, dict[Any, int]]()
    for line, text in lines_of(path):
        row = _named(_BATCH, parsed(path, line, text))
        stamp, events, rank = (row.get(name) for name in _BATCH)
        is_time = isinstance(stamp, int | float) and 0 <= stamp <= MAX_TIME_MS
        if not is_time or not isinstance(events, list):
            what = "a batch must have `ts`, a time in seconds, and `events`, a list"
            raise FileFormatError(path, line, what)
        before, stamp_ms = now_ms, round(1000 * stamp)  # type: ignore[operator]  # checked before
        origin = stamp_ms if origin < 0 else origin
        now_ms = stamp_ms - origin
        if not before <= now_ms <= MAX_TIME_MS:
            what = f"batches must be in the order of `ts`, within {MAX_TIME_MS:,} ms"
            raise FileFormatError(path, line, what, "Sort the log by time")
        engine = whole(path, line, {_BATCH[2]: rank or 0}, _BATCH[2], 2**20)
        for each in events:
            event = _named(_STORED, each)
            if event.get("type") not in EVENTS:
                what = f"an event must be one of {', '.join(EVENTS)}; got {each!r:.40}"
                raise FileFormatError(path, line, what)
            names = event.get("block_hashes", [])
            if not isinstance(names, list):
                raise FileFormatError(path, line, "`block_hashes` must be a list")
            if any(type(name) not in (int, str) for name in names):
                raise FileFormatError(path, line, _NO_HASH)
            # Copies in other memory, and caches of other layers, hold the same blocks.
            is_own = event.get("medium") in (None, "GPU") and event.get("group_idx") in (None, 0)
            if is_own and _contradicts(event, names, held.setdefault(engine, {})):
                doubtful.append(line)
            if event["type"] == "BlockStored" and is_own and names:
                yield line, now_ms, engine, event


def _contradicts(event: Mapping[str, Any], names: list[Any], held: dict[Any, int]) -> bool:
    """Return True if an event cannot follow those before it.

    Args:
      event: The event.
      names: Its blocks.
      held: Copies of each block that the events before have left; updated.
    """
    if event["type"] == "AllBlocksCleared":
        held.update(dict.fromkeys(held, 0))
        return False
    # A log that begins late knows nothing of blocks that were stored before.
    if event["type"] == "BlockRemoved":
        is_gone = any(held.get(name) == 0 for name in names)
        held.update({name: max(0, held.get(name, 1) - 1) for name in names})
        return is_gone
    above, tokens = event.get("parent_block_hash"), event.get("token_ids")
    is_gone = type(above) in (int, str) and held.get(above) == 0
    held.update({name: held.get(name, 0) + 1 for name in names})
    n_tokens = len(tokens) if isinstance(tokens, list) else 0
    return is_gone or n_tokens not in (0, len(names) * event.get("block_size", 0))


def _named(names: tuple[str, ...], value: Any) -> Mapping[str, Any]:
    """Return an object as it is, and the entries of a list by name; empty for all else."""
    if isinstance(value, list):
        return dict(zip(names, value, strict=False))
    return value if isinstance(value, dict) else {}
