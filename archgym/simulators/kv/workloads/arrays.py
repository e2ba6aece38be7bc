"""Arrays of requests and blocks that workloads and kernels share, without compiled code."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Shorts = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
NEVER: Final = 2**31 - 1
"""Request at which a block is next of use if it never is."""


class Arrivals(NamedTuple):
    """Times and lengths of requests.

    Attributes:
      time: (n,), arrival [ms].
      service: (n,), time from admission to end [ms].
      prompt: (n,), tokens of the prompt.
      output: (n,), tokens of the output, at least 1.
    """

    time: Ints
    service: Ints
    prompt: Ints
    output: Ints


class Dependencies(NamedTuple):
    """Order of requests within sessions, for times that depend on the system.

    Attributes:
      start: (n + 1,), first successor of each request.
      to: Successors: requests that may be issued only after it has ended.
      delay_ms: Pause after its end [ms].
      n_before: (n,), requests that must have ended before.
    """

    start: Ints
    to: Ints
    delay_ms: Ints
    n_before: Ints


class Blocks(NamedTuple):
    """Requests of a stream as blocks of one size.

    Attributes:
      chain: (n_presences,), identity of each full block, request after request.
      start: (n + 1,), first entry of a request in `chain`.
      prompt: (n,), full blocks of the prompt.
      eligible: (n,), blocks of the prompt that can be hits.
      need: (n,), blocks that the request occupies.
      next_use: (n_presences,), next request with the block where it is eligible, or `NEVER`.
    """

    chain: Shorts
    start: Ints
    prompt: Ints
    eligible: Ints
    need: Ints
    next_use: Shorts
