"""OfflineGreedy, which is Themis: dimensions of chunks in the order of their loads; compiled.

Rashidi et al., *Themis: A Network Bandwidth-Aware Collective Scheduling Policy for Distributed
Training of DL Models*, ISCA 2022, as ASTRA-sim 2 does it.
"""

import math
from typing import Any

from archgym.runtime.kernels import helper, inlined, kept_apart
from archgym.simulators.cluster.kernel import state as st

_MIB = 1048576.0
# A smaller gap of loads keeps the ascending order: a sixteenth of a chunk.
_GAP = 16


@helper
def begin_greedy(m: Any, f: Any) -> None:
    """Forget loads when the first NPU begins a collective at another time than its last."""
    if m[st.GREEDY_TIME] != m[st.NOW]:
        m[st.GREEDY_TIME] = m[st.NOW]
        for dim in range(m[st.N_DIMS]):
            f[st.LOAD + dim] = 0.0
            m[st.GREEDY_LIST + dim] = dim


@inlined
def _n(m: Any, dim: Any) -> Any:
    return m[st.DIMS + dim * st.DIM_WORDS + st.DIM_N]


@inlined
def _takes_part(mask: Any, dim: Any) -> bool:
    return bool((mask >> dim) & 1)


@inlined
def _relative(f: Any, dim: Any) -> Any:
    """Return a dimension's bandwidth over that of the first."""
    return f[st.BANDWIDTH + dim] / f[st.BANDWIDTH]


@helper
def _sort(m: Any, f: Any, reverse: Any) -> None:
    """Sort the list by load, keeping the order of equal ones; then reverse it if asked to."""
    kept_apart()
    n = m[st.N_DIMS]
    for i in range(1, n):
        dim = m[st.GREEDY_LIST + i]
        j = i
        while j > 0 and f[st.LOAD + m[st.GREEDY_LIST + j - 1]] > f[st.LOAD + dim]:
            m[st.GREEDY_LIST + j] = m[st.GREEDY_LIST + j - 1]
            j -= 1
        m[st.GREEDY_LIST + j] = dim
    if reverse:
        _reverse(m)


@inlined
def _reverse(m: Any) -> None:
    n = m[st.N_DIMS]
    for i in range(n // 2):
        other = st.GREEDY_LIST + n - 1 - i
        m[st.GREEDY_LIST + i], m[other] = m[other], m[st.GREEDY_LIST + i]


@inlined
def _growth(m: Any, f: Any, dim: Any, x: Any, gathers: Any) -> Any:
    """Return by how much a phase of x bytes loads a dimension."""
    n = _n(m, dim)
    if gathers:
        return ((x / _MIB) * (n - 1)) / _relative(f, dim)
    return ((x / _MIB) * ((n - 1) / n)) / _relative(f, dim)


@helper
def _difference(m: Any, f: Any, mask: Any, place: Any, gathers: Any) -> Any:
    """Return the bytes that would close the gap between the first dimension and the last."""
    kept_apart()
    n_dims = m[st.N_DIMS]
    dim = m[st.GREEDY_LIST + place]
    if not gathers:
        n = _n(m, dim)
        gap = abs(f[st.LOAD + m[st.GREEDY_LIST + n_dims - 1]] - f[st.LOAD + dim])
        return math.floor(gap * _relative(f, dim) / ((n - 1) / n) * _MIB)
    last = n_dims - 1
    while not _takes_part(mask, m[st.GREEDY_LIST + last]):
        last -= 1
    far = m[st.GREEDY_LIST + last]
    gap = abs(f[st.LOAD + far] - f[st.LOAD + dim])
    difference = math.floor(gap * _relative(f, far) / (_n(m, far) - 1) * _MIB)
    for i in range(last - 1, place - 1, -1):
        other = m[st.GREEDY_LIST + i]
        if _takes_part(mask, other):
            difference = difference // _n(m, other)
    return difference


@helper
def decide(
    m: Any, f: Any, number: Any, left: Any, c: Any, mask: Any, collective: Any
) -> tuple[Any, Any]:
    """Return the bytes of a chunk and the order of its dimensions, three bits each.

    Args:
      m: Arena.
      f: Parameters.
      number: Number of the chunk, the same on all NPUs.
      left: Bytes of the collective that no chunk has yet.
      c: Bytes of a whole chunk.
      mask: Bits of the dimensions that take part.
      collective: Type; all but all-gather count as reduce-scatter.
    """
    kept_apart()
    if number >= m[st.N_DECISIONS]:
        m[st.IS_FULL] = 1
        return left, number * 0
    decision = m[st.DECISIONS] + number * st.DECISION_WORDS
    if m[decision] >= 0:
        return m[decision], m[decision + 1]
    n_dims = m[st.N_DIMS]
    gathers = collective == st.ALL_GATHER
    _sort(m, f, gathers)
    x = c
    order = 0
    is_first = True
    for i in range(n_dims):
        dim = m[st.GREEDY_LIST + i]
        if _takes_part(mask, dim):
            if is_first and _difference(m, f, mask, i, gathers) < c // _GAP:
                order = _keep_ascending(m, f, mask, c, gathers)
                break
            is_first = False
            f[st.LOAD + dim] += _growth(m, f, dim, x, gathers)
            x = x * _n(m, dim) if gathers else x // _n(m, dim)
        order |= dim << (st.DIM_BITS * i)
    m[decision] = min(left, c)
    m[decision + 1] = order
    return m[decision], order


@helper
def _keep_ascending(m: Any, f: Any, mask: Any, x: Any, gathers: Any) -> Any:
    """Load the dimensions in ascending order; of all-gathers the wrong ones (quirk)."""
    kept_apart()
    n_dims = m[st.N_DIMS]
    order = 0
    for dim in range(n_dims):
        m[st.GREEDY_LIST + dim] = dim
        order |= dim << (st.DIM_BITS * dim)
    if gathers:
        _reverse(m)
    for dim in range(n_dims):
        if _takes_part(mask, dim):
            f[st.LOAD + m[st.GREEDY_LIST + dim]] += _growth(m, f, dim, x, gathers)
            x = x * _n(m, dim) if gathers else x // _n(m, dim)
    return order
