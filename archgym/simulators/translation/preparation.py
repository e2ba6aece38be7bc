"""Traces laid out in memory, and the latest of them kept."""

from collections import OrderedDict
from threading import Lock
from typing import Final, final

from archgym.errors import InvalidArgumentError
from archgym.simulators.translation.memory import Memory
from archgym.simulators.translation.prepared import Prepared
from archgym.traces import MemoryTrace

__all__ = ["latest_prepared"]

# chosen: every layout of the spaces for a trace of three million accesses fits.
_MAX_BYTES: Final = 768 * 2**20

_Key = tuple[str, int, Memory]


@final
class _Latest:
    """The layouts used last, at most `max_bytes` of them, but always the last one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[_Key, Prepared] = OrderedDict()
        self._lock = Lock()
        self._making: dict[_Key, Lock] = {}

    def get(self, key: _Key) -> Prepared | None:
        """The layout, if it is held."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: _Key, value: Prepared) -> None:
        """Holds a layout; the oldest ones go."""
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > 1 and self._total() > self._max_bytes:
                self._held.popitem(last=False)

    def making(self, key: _Key) -> Lock:
        """Held by the thread that makes a layout, so that others wait for it."""
        with self._lock:
            return self._making.setdefault(key, Lock())

    def _total(self) -> int:
        return sum(value.n_bytes for value in self._held.values())


_LATEST = _Latest(_MAX_BYTES)


def latest_prepared(trace: MemoryTrace, digest: str, max_records: int, memory: Memory) -> Prepared:
    """A trace laid out in memory, made only once while it is in use.

    Args:
      trace: The whole trace.
      digest: What it is known by.
      max_records: Only so many of its first records; 0 for all.
      memory: The layout.

    Raises:
      InvalidArgumentError: The trace is empty, or does not fit into the memory, or
        nothing of it is left to count after warm-up.
    """
    # Numba takes a while to import, which listing and describing should not wait for.
    from archgym.simulators.translation.prepared import prepare

    key = (digest, max_records, memory)
    found = _LATEST.get(key)
    if found is not None:
        return found
    with _LATEST.making(key):
        found = _LATEST.get(key)
        if found is None:
            found = prepare(trace[:max_records] if max_records else trace, memory)
            _require_instructions(found, trace.name)
            _LATEST.put(key, found)
    return found


def _require_instructions(ready: Prepared, name: str) -> None:
    from archgym.simulators.translation.prepared import WARMUP_SHARE

    if not ready.counted(ready.start(WARMUP_SHARE))[0]:
        raise InvalidArgumentError(
            f"`workload` must run instructions and change its line of memory after the first "
            f"{WARMUP_SHARE:.0%} of the records that are run; got {name!r}, of which nothing is "
            "left to count. Record more of the program with `archgym trace record`."
        )
