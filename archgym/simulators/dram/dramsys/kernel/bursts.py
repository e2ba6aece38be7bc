"""Traces as bursts of a device, decoded and made ready for its kernel; the latest are kept."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, final

import numpy as np

from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.mapping import LAYOUTS, AddressMapping, decode, layout
from archgym.simulators.dram.workloads.pieces import pieces_of
from archgym.simulators.dram.workloads.trace import Trace
from archgym.simulators.kit import FileFormatError, InvalidArgumentError

if TYPE_CHECKING:
    from archgym.simulators.dram.dramsys.kernel.batch import Tables


@final
@dataclass(frozen=True, eq=False)
class Bursts:
    """A trace as a device sees it.

    Attributes:
      ticks: (n_bursts,) int64, times or delays as in the trace; a request's further bursts are due
        with its first [player clocks].
      is_write: (n_bursts,) bool.
      addresses: (n_bursts,) int64 [bytes].
      first_burst: (n_requests,) int64, where each request begins.
      period_ps: Period of the player's clock [ps].
      relative: True if `ticks` are delays.
      waits: (n_bursts, 2) int64, first burst of the request that each waits for and one after its
        last, equal for none; or empty if none waits.
    """

    ticks: np.ndarray
    is_write: np.ndarray
    addresses: np.ndarray
    first_burst: np.ndarray
    period_ps: int
    relative: bool
    waits: np.ndarray

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def are_split(self) -> bool:
        """True if some request is more than one burst."""
        return len(self.first_burst) < len(self)

    @property
    def due_ps(self) -> np.ndarray:
        """(n_bursts,) int64, when each is due if none is held up [ps]."""
        ticks = np.cumsum(self.ticks) if self.relative else np.maximum.accumulate(self.ticks)
        return ticks * self.period_ps


def split(trace: Trace, device: Device, wraps: bool = False) -> Bursts:
    """Return the bursts of a trace's requests, each request's in order of address.

    Args:
      trace: A request without a length is one burst.
      device: Device that must hold every request.
      wraps: True to take addresses beyond its capacity, whose upper bits mappings ignore.

    Raises:
      FileFormatError: A request of a file reaches beyond the device's capacity.
      InvalidArgumentError: The same of any other trace; or the bursts are more than 2^25.
    """
    if not wraps:
        _check_capacity(trace, device, trace.addresses + np.maximum(trace.lengths, 1))
    addresses, request, place, waits = pieces_of(trace, device.burst_bytes)
    # Without a length the address stays as it was written, which schedulers compare whole.
    addresses = np.where(trace.lengths[request] == 0, trace.addresses[request], addresses)
    ticks = trace.ticks[request]
    if trace.relative:
        ticks = np.where(place == 0, ticks, 0)
    return Bursts(
        ticks=ticks,
        is_write=trace.is_write[request],
        addresses=addresses,
        first_burst=np.flatnonzero(place == 0),
        period_ps=trace.period_ps,
        relative=trace.relative,
        waits=waits,
    )


def _check_capacity(trace: Trace, device: Device, ends: np.ndarray) -> None:
    beyond = np.flatnonzero(ends > device.capacity_bytes)
    if not len(beyond):
        return
    number = int(beyond[0])
    share = f", and {len(beyond)} of {len(trace)} requests do" if len(beyond) > 1 else ""
    problem = (
        f"a request must lie below {device.capacity_bytes:#x}, the capacity of device "
        f"{device.name!r}; address {int(trace.addresses[number]):#x} reaches beyond it{share}"
    )
    remedy = (
        "Choose a larger device, move the addresses, or evaluate with `--option addresses=wrap`"
    )
    if trace.path is not None and len(trace.lines):
        raise FileFormatError(trace.path, int(trace.lines[number]), problem, remedy)
    raise InvalidArgumentError(f"Request {number} of trace {trace.name!r}: {problem}. {remedy}.")


_Key = tuple[str, str, AddressMapping | None, bool]
# chosen: some five million bursts, or every shipped workload on every device.
_MAX_BYTES = 256 * 2**20


@final
@dataclass(frozen=True, eq=False)
class Prepared:
    """A trace as the kernel takes it.

    Attributes:
      bursts: Its bursts on the device.
      decoded: (n_mappings, n_bursts) of `mapping.DECODED`: an own mapping, or those of `LAYOUTS`.
      device: The device.
    """

    bursts: Bursts
    decoded: np.ndarray
    device: Device

    def tables(self, without: str | None = None) -> "Tables":
        """Return the device as the kernel takes it, or without one of `costs.COSTS`."""
        return _tables(self.device, without)

    @property
    def n_bytes(self) -> int:
        """Memory that it takes."""
        b = self.bursts
        arrays = (self.decoded, b.ticks, b.is_write, b.addresses, b.first_burst, b.waits)
        return sum(array.nbytes for array in arrays)


def prepared(
    trace: Trace, memory: Device, mapping: AddressMapping | None = None, wraps: bool = False
) -> Prepared:
    """Return the trace made ready for a device, made only once while it is in use.

    Args:
      trace: The trace.
      memory: The device.
      mapping: An own address mapping; None for all of `LAYOUTS`.
      wraps: True to ignore address bits beyond the device's capacity.

    Raises:
      FileFormatError, InvalidArgumentError: The device does not hold it.
    """
    key = (trace.digest, memory.name, mapping, wraps)
    found = _LATEST.get(key)
    if found is None:
        bursts = split(trace, memory, wraps)
        mappings = [layout(name, memory) for name in LAYOUTS] if mapping is None else [mapping]
        found = Prepared(bursts, decode(bursts.addresses, mappings, memory), memory)
        _LATEST.put(key, found)
    return found


@final
class _Latest:
    """The results used last, at most `max_bytes` of them, but always the last one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[_Key, Prepared] = OrderedDict()
        self._lock = Lock()

    def get(self, key: _Key) -> Prepared | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: _Key, value: Prepared) -> None:
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            while len(self._held) > 1 and self._total() > self._max_bytes:
                self._held.popitem(last=False)

    def _total(self) -> int:
        return sum(value.n_bytes for value in self._held.values())


_LATEST = _Latest(_MAX_BYTES)


@cache
def _tables(memory: Device, without: str | None) -> "Tables":
    # Numba takes a while to import, which reading and describing should not wait for.
    from archgym.simulators.dram.dramsys.kernel.batch import tables

    return tables(memory, without)
