"""Traces as the second controller takes them: bursts with their due times."""

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.formats.trace import Trace
from archgym.simulators.dram.ramulator.kernel.run import Requests

# chosen: some 33 million bursts take a few gigabytes.
_MAX_BURSTS = 2**25


@final
@dataclass(frozen=True, eq=False)
class Bursts:
    """A trace in bursts of a family.

    Attributes:
      requests: The bursts.
      first: (n_requests,) int64, first burst of each request.
      is_write: (n_requests,) bool.
      end_address: One above the highest byte [byte].
    """

    requests: Requests
    first: npt.NDArray[np.int64]
    is_write: npt.NDArray[np.bool_]
    end_address: int


# chosen: the workloads of one session; Trace compares by identity, as this cache does.
@lru_cache(maxsize=8)
def bursts_of(trace: Trace, burst_bytes: int) -> Bursts:
    """Return a trace's bursts, each request's in order of address.

    Delays of a relative trace add up from time 0: this front end does not wait for acceptance.

    Raises:
      InvalidArgumentError: The trace has too many bursts.
    """
    ends = trace.addresses + np.maximum(trace.lengths, 1)
    first_line = trace.addresses // burst_bytes
    counts = (ends - 1) // burst_bytes - first_line + 1
    total = int(counts.sum())
    if total > _MAX_BURSTS:
        raise InvalidArgumentError(
            f"A trace must have at most {_MAX_BURSTS} bursts of {burst_bytes} bytes; "
            f"{trace.name!r} has {total}. Shorten the trace or its requests."
        )
    first = np.cumsum(counts) - counts
    request = np.repeat(np.arange(len(trace)), counts)
    place = np.arange(total) - first[request]
    ticks = np.cumsum(trace.ticks) if trace.relative else np.maximum.accumulate(trace.ticks)
    requests = Requests.of(
        (ticks * trace.period_ps)[request],
        trace.is_write[request],
        (first_line[request] + place) * burst_bytes,
    )
    return Bursts(requests, first, trace.is_write, int(ends.max()))
