"""Closed-loop clients: requests in flight, and what they wait for, without routing.

`serve` is the fast clock behind validation and the `closed-loop` space: milliseconds for a
benchmark of thousands of requests. The serving kernel adds caches and routing to the same costs.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.client import SHAPE, STATISTICS, serve_closed

_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9


@final
@dataclass(frozen=True, eq=False)
class Load:
    """Requests of a closed loop.

    Attributes:
      clients: Requests in flight.
      lengths: (2, n_requests) int64, tokens of prompts and outputs.
      counted_from: First request that counts: those before it only spread clients over time.
    """

    clients: int
    lengths: npt.NDArray[np.int64]
    counted_from: int = 0


def load(
    clients: int,
    prompt: int,
    output: int,
    *,
    shortest: float = 1.0,
    waves: int = 10,
    staggered: bool = False,
    seed: int = 7,
) -> Load:
    """Return requests of a benchmark client.

    Args:
      clients: Requests in flight, 1 or more.
      prompt: Longest prompt [tokens].
      output: Longest output [tokens].
      shortest: Share of the longest that the shortest has; lengths between are uniform.
      waves: Requests of each client.
      staggered: True if clients start spread over the time of one request, else all at once.
      seed: Random seed of the lengths.

    Raises:
      InvalidArgumentError: A number is out of range.
    """
    for name, value in (("clients", clients), ("prompt", prompt), ("output", output)):
        if value < 1:
            raise InvalidArgumentError(f"`{name}` must be 1 or more; got {value}.")
    rng = np.random.default_rng(seed)
    n = clients * waves
    lows = [max(1, int(shortest * longest)) for longest in (prompt, output)]
    lengths = np.stack(
        [rng.integers(low, top + 1, n) for low, top in zip(lows, (prompt, output), strict=True)]
    ).astype(np.int64)
    if staggered:
        share = (np.arange(clients) + 1.0) / clients
        lengths[1, :clients] = np.maximum(2, np.round(output * share))
    return Load(clients, lengths, clients if staggered else 0)


@final
@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """Result of a closed loop.

    Attributes:
      ttft_ms: (n,) time to the first token of each request that counts [ms].
      tpot_ms: (n,) time per further token of those with two tokens or more; NaN for others [ms].
      output_per_s: Output tokens over the whole time, all GPUs [tokens/s].
      steady_per_s: Clients times tokens of a request over its time [tokens/s].
      statistics: (2, len(STATISTICS)): decode-only steps, and steps with prompts.
      steps: (2,) mean steps of both kinds per further token.
    """

    ttft_ms: npt.NDArray[np.float64]
    tpot_ms: npt.NDArray[np.float64]
    output_per_s: float
    steady_per_s: float
    statistics: npt.NDArray[np.float64]
    steps: npt.NDArray[np.float64]

    @property
    def mean_ttft_ms(self) -> float:
        """Mean time to the first token [ms]."""
        return float(self.ttft_ms.mean())

    @property
    def mean_tpot_ms(self) -> float:
        """Mean time per further token; NaN where no request has two tokens [ms]."""
        known = self.tpot_ms[~np.isnan(self.tpot_ms)]
        return float(known.mean()) if len(known) else float("nan")


def serve(
    costs: npt.NDArray[np.float64], shape: npt.NDArray[np.int64], requests: Load
) -> ClosedLoop:
    """Serve a closed loop.

    Args:
      costs: (len(COSTS),) from `engine_costs`.
      shape: (len(SHAPE),) int64.
      requests: Requests.

    Raises:
      InvalidArgumentError: A request alone needs more room than there is.
    """
    lengths = requests.lengths
    longest = int(lengths.sum(axis=0).max())
    room = int(shape[SHAPE.index("max_context")])
    if longest > room:
        raise InvalidArgumentError(
            f"The longest request has {longest:,} tokens and must fit into the memory left for "
            f"keys and values, {room:,} tokens."
        )
    n = lengths.shape[1]
    times = np.zeros((5, n))
    statistics = np.zeros((2, len(STATISTICS)))
    end_ns = serve_closed(
        costs, shape, lengths, requests.clients, times, np.zeros((3, n), dtype=np.int64),
        np.zeros((n + 2, 2), dtype=np.int64), statistics,
    )  # fmt: skip
    at = slice(requests.counted_from, None)
    outputs = lengths[1, at]
    further = np.where(outputs > 1, outputs - 1.0, np.nan)
    ttft = (times[1] - times[0])[at] / _NS_PER_MS
    tpot = (times[2] - times[1])[at] / further / _NS_PER_MS
    several = outputs > 1
    steps = np.zeros(2)
    if several.any():
        steps = (times[3:5, at][:, several] / further[several]).mean(axis=1)
    e2e_s = float((times[2] - times[0])[at].mean()) / _NS_PER_S
    return ClosedLoop(
        ttft, tpot,
        float(lengths[1].sum()) / (end_ns / _NS_PER_S),
        requests.clients * float(outputs.mean()) / e2e_s,
        statistics, steps,
    )  # fmt: skip
