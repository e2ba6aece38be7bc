"""Requests split into the bursts of a device."""

from dataclasses import dataclass
from typing import final

import numpy as np

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.simulators.dram.devices import Device
from archgym.simulators.dram.trace import Trace

__all__ = ["Bursts", "split"]

# chosen: some 33 million bursts take a gigabyte.
_MAX_BURSTS = 2**25


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
      relative: Whether `ticks` are delays.
    """

    ticks: np.ndarray
    is_write: np.ndarray
    addresses: np.ndarray
    first_burst: np.ndarray
    period_ps: int
    relative: bool

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

    @property
    def last_burst(self) -> np.ndarray:
        """(n_requests,) int64, where each request ends."""
        return np.append(self.first_burst[1:], len(self)) - 1


def split(trace: Trace, device: Device) -> Bursts:
    """Return the bursts of a trace's requests, each request's in order of address.

    Args:
      trace: A request without a length is one burst.
      device: What must hold every request.

    Raises:
      FileFormatError: A request of a file reaches beyond the device's capacity.
      InvalidArgumentError: The same of any other trace; or the bursts are more than 2^25.
    """
    size = device.burst_bytes
    ends = trace.addresses + np.maximum(trace.lengths, 1)
    _check_capacity(trace, device, ends)
    first = trace.addresses // size
    counts = (ends - 1) // size - first + 1
    n_bursts = int(counts.sum())
    if n_bursts > _MAX_BURSTS:
        raise InvalidArgumentError(
            f"A trace must come to at most {_MAX_BURSTS} bursts of {size} bytes; "
            f"{trace.name!r} comes to {n_bursts}. Cut it, or shorten its requests."
        )
    first_burst = np.cumsum(counts) - counts
    request = np.repeat(np.arange(len(trace)), counts)
    place = np.arange(n_bursts) - first_burst[request]
    # Without a length the address stays as it was written, which schedulers compare whole.
    addresses = np.where(
        trace.lengths[request] == 0, trace.addresses[request], (first[request] + place) * size
    )
    ticks = trace.ticks[request]
    if trace.relative:
        ticks = np.where(place == 0, ticks, 0)
    return Bursts(
        ticks=ticks,
        is_write=trace.is_write[request],
        addresses=addresses,
        first_burst=first_burst,
        period_ps=trace.period_ps,
        relative=trace.relative,
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
    remedy = "Choose a larger device, or move the addresses"
    if trace.path is not None and len(trace.lines):
        raise FileFormatError(trace.path, int(trace.lines[number]), problem, remedy)
    raise InvalidArgumentError(f"Request {number} of trace {trace.name!r}: {problem}. {remedy}.")
