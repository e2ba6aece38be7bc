"""Pipelining a layer's experts: chunks of tokens over three streams, by list scheduling; compiled.

Each chunk is gathered inside its server, sent to the other servers, computed, sent back and
scattered. The first and last step use the links inside a server, the second and fourth those
between servers, the third the accelerators; a stream does one thing at a time, and of what is
ready it takes what can start first.

Source:
  Pan et al., *FSMoE*, ASPLOS 2025: a step of r chunks takes alpha + beta * n / r. It solves for r;
  here r is scanned, which costs less than a solver's first step.
"""

from typing import Any

import numpy.typing as npt

from archgym.runtime.kernels import helper
from archgym.simulators.moe.kernel.state import (
    MAX_DEGREE,
    whole,
)

Array = npt.NDArray[Any]

_N_STAGES = 5
_INTRA, _INTER, _COMPUTE = 0, 1, 2


@helper
def makespan(
    ready: Array,
    degree: int,
    gather: float,
    send: float,
    compute: float,
    receive: float,
    scatter: float,
) -> float:
    """When the last of `degree` chunks is through, each stage taking so long a chunk [ns].

    Args:
      ready: (5, MAX_DEGREE) float64, scratch.
      degree: Chunks, 1 to `MAX_DEGREE`.
      gather: Inside a server, before [ns].
      send: Between servers, there [ns].
      compute: The experts [ns].
      receive: Between servers, back [ns].
      scatter: Inside a server, after [ns].
    """
    intra = inter = computing = 0.0
    at_0 = at_1 = at_2 = at_3 = at_4 = 0
    for chunk in range(degree):
        ready[0, chunk] = 0.0
    end = 0.0
    for _ in range(_N_STAGES * degree):
        chosen = -1
        start = 0.0
        # Of equals the later stage goes first, which frees what waits behind it.
        for stage in range(_N_STAGES - 1, -1, -1):
            if stage == 0:
                at, limit, free = at_0, degree, intra
            elif stage == 1:
                at, limit, free = at_1, at_0, inter
            elif stage == 2:
                at, limit, free = at_2, at_1, computing
            elif stage == 3:
                at, limit, free = at_3, at_2, inter
            else:
                at, limit, free = at_4, at_3, intra
            if at >= limit:
                continue
            begin = max(ready[stage, at], free)
            if chosen < 0 or begin < start:
                chosen = stage
                start = begin
        if chosen == 0:
            end = start + gather
            intra = end
            ready[1, at_0] = end
            at_0 += 1
        elif chosen == 1:
            end = start + send
            inter = end
            ready[2, at_1] = end
            at_1 += 1
        elif chosen == 2:
            end = start + compute
            computing = end
            ready[3, at_2] = end
            at_2 += 1
        elif chosen == 3:
            end = start + receive
            inter = end
            ready[4, at_3] = end
            at_3 += 1
        else:
            end = start + scatter
            intra = end
            at_4 += 1
    return max(intra, inter, computing)


@helper
def pipelined(ready: Array, degree: int, times: tuple[float, ...]) -> float:
    """Return `makespan` of what takes a fixed time a chunk and a part of the whole.

    Args:
      ready: As for `makespan`.
      degree: The same.
      times: Six pairs, fixed and divided: gather, send, compute, receive, scatter, and for the
        computation a floor below which a chunk does not get: the weights that it reads.
    """
    compute = times[4] + max(times[10], times[5] / degree)
    return makespan(
        ready,
        degree,
        times[0] + times[1] / degree,
        times[2] + times[3] / degree,
        compute,
        times[6] + times[7] / degree,
        times[8] + times[9] / degree,
    )


@helper
def best_degree(ready: Array, times: tuple[float, ...]) -> int:
    """Return the number of chunks that is through first; the smallest of equals."""
    best = whole(1)
    least = pipelined(ready, best, times)
    for degree in range(2, MAX_DEGREE + 1):
        end = pipelined(ready, degree, times)
        if end < least:
            best, least = degree, end
    return best
