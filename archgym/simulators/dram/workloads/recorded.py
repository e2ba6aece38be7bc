"""Requests of recorded programs, as a trace of this simulator."""

from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from archgym.checks import check_number
from archgym.simulators.dram.formats.trace import Trace, read_trace

if TYPE_CHECKING:
    from archgym.traces.filtering import Requests

RECORDED = {
    "recorded-graph-search": "a breadth-first search over random vertices, recorded",
    "recorded-hash-join": "orders joined with customers by hashing, recorded",
    "recorded-kmer-count": "words of a genome counted in a hash table, recorded",
    "recorded-moe-gather": "experts' weights and key-value blocks gathered, recorded",
    "recorded-random-access": "read-modify-writes anywhere in 128 MB, recorded",
    "recorded-sort": "a pass of a radix sort into 2,048 streams, recorded",
}
"""One line about each shipped recording; `examples/recorded` says how they were made."""


# chosen: a thousandth of what an access at a time allows; so that no time overflows.
IPC_LIMITS = (1e-4, 64.0)
"""Instructions a cycle that `request_trace` takes."""


def request_trace(
    requests: "Requests", name: str, *, ipc: float, clock_mhz: int, placed_bytes: int = 0
) -> Trace:
    """Return requests as a trace whose player has the processor's clock.

    Args:
      requests: Requests of `archgym.traces.filtering`.
      name: Name of the trace.
      ipc: Instructions a cycle, as if no access ever waited; within `IPC_LIMITS`.
      clock_mhz: The processor's clock [MHz].
      placed_bytes: Size of the memory that the requests' pages were placed in; 0 if unknown.

    Raises:
      InvalidArgumentError: `ipc` is not valid, or the trace takes longer than a minute.
    """
    ipc = check_number("ipc", ipc, *IPC_LIMITS)
    start = int(requests.instruction[0])
    return Trace(
        name=name,
        ticks=((requests.instruction - start) / ipc).astype(np.int64),
        is_write=requests.is_write,
        addresses=requests.address,
        lengths=np.full(len(requests), 64, np.int64),
        clock_mhz=clock_mhz,
        placed_bytes=placed_bytes,
        waits_for=requests.waits_for,
    )


@cache
def recorded_trace(name: str) -> Trace:
    """Return the shipped recording of a name in `RECORDED`."""
    folder = resources.files("archgym.simulators.dram").joinpath("data/recorded")
    with resources.as_file(folder.joinpath(f"{name}.stl.gz")) as path:
        return replace(read_trace(Path(path)), name=name, path=None)
