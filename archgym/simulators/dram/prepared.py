"""Traces made ready for a device's kernel, and the latest of them kept."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.simulators.dram.bursts import Bursts, split
from archgym.simulators.dram.devices import Device, device
from archgym.simulators.dram.mapping import LAYOUTS, decode, layout
from archgym.simulators.dram.trace import Trace

if TYPE_CHECKING:
    from archgym.simulators.dram.kernel import Tables

__all__ = ["Prepared", "prepared"]

# chosen: some five million bursts, or every shipped workload on every device.
_MAX_BYTES = 256 * 2**20


@final
@dataclass(frozen=True, eq=False)
class Prepared:
    """A trace as the kernel takes it.

    Attributes:
      bursts: Its bursts on the device.
      decoded: (n_mappings, n_bursts) of `mapping.DECODED`, by the order of `LAYOUTS`.
      device_name: The device.
    """

    bursts: Bursts
    decoded: np.ndarray
    device_name: str

    def tables(self, without: str | None = None) -> "Tables":
        """Return the device as the kernel takes it, or without one of `costs.COSTS`."""
        return _tables(self.device_name, without)

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        b = self.bursts
        arrays = (self.decoded, b.ticks, b.is_write, b.addresses, b.first_burst)
        return sum(array.nbytes for array in arrays)


def prepared(trace: Trace, memory: Device) -> Prepared:
    """Return the trace made ready for a device, made only once while it is in use.

    Raises:
      FileFormatError, InvalidArgumentError: The device does not hold it.
    """
    key = (trace.digest, memory.name)
    found = _LATEST.get(key)
    if found is None:
        bursts = split(trace, memory)
        mappings = [layout(name, memory) for name in LAYOUTS]
        found = Prepared(bursts, decode(bursts.addresses, mappings, memory), memory.name)
        _LATEST.put(key, found)
    return found


@final
class _Latest:
    """The results used last, at most `max_bytes` of them, but always the last one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[str, str], Prepared] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[str, str]) -> Prepared | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: tuple[str, str], value: Prepared) -> None:
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > 1 and self._total() > self._max_bytes:
                self._held.popitem(last=False)

    def _total(self) -> int:
        return sum(value.n_bytes for value in self._held.values())


_LATEST = _Latest(_MAX_BYTES)


@cache
def _tables(device_name: str, without: str | None) -> "Tables":
    # Numba takes a while to import, which reading and describing should not wait for.
    from archgym.simulators.dram.kernel import tables

    return tables(device(device_name), without)
