"""Memory traces of programs with several gigabytes of data, generated part by part.

Each program follows the accesses of a known benchmark in its own data structures; the data are
seeded and are never built, so a part of 262,144 records is made in some 50 ms whatever the
footprint. Instructions between accesses are as many as in recorded runs of such programs.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from archgym.errors import InvalidArgumentError, unknown_name
from archgym.traces.file import CHUNK_RECORDS
from archgym.traces.generators import scattered
from archgym.traces.memory_trace import COLUMNS, AccessKind, MemoryTrace

_GIB: Final = 2**30
# Where Linux puts large mappings of x86-64; each array starts 64 GiB after the last.
_ARRAY: Final = 0x7000_0000_0000
_APART: Final = 64 * _GIB
_LOAD, _STORE, _MODIFY = int(AccessKind.LOAD), int(AccessKind.STORE), int(AccessKind.MODIFY)

# Of (n_groups, n_columns) accesses: array, byte in it, kind and size; -1 bytes is not an access.
_Accesses = tuple[npt.NDArray[np.int64], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _gups(rng: np.random.Generator, n: int, start: int) -> _Accesses:
    """Return updates anywhere in a table: HPCC RandomAccess."""
    del start
    words = rng.integers(8 * _GIB // 8, size=n)
    return (8 * words)[:, None], (0,), (_MODIFY,), (8,)


def _kmer(rng: np.random.Generator, n: int, start: int) -> _Accesses:
    """Return accesses of a count of words in a genome, 80 a read; `start` numbers blocks of `n`."""
    base = rng.integers(_GENOME, size=-(-n // 80))[:, None] + np.arange(80)
    word = base.ravel()[:n]
    slot = 16 * scattered(word.astype(np.uint64), _SLOTS).astype(np.int64)
    # A third of the words meet another one first, and look at the next slot.
    second = np.where(scattered(word.astype(np.uint64), _SLOTS) % np.uint64(3) == 0, slot + 16, -1)
    return (
        np.stack([start * n + np.arange(n), slot, second, slot + 8], axis=1),
        (0, 1, 1, 1), (_LOAD, _LOAD, _LOAD, _MODIFY), (1, 8, 8, 4),
    )  # fmt: skip


_GENOME: Final = 2**27
_SLOTS: Final = 2**29  # of 16 bytes


def _xsbench(rng: np.random.Generator, n: int, start: int) -> _Accesses:
    """Return look-ups of cross sections: XSBench, large problem, unionised grid."""
    del start
    columns = _XS_STEPS + 3 * _XS_NUCLIDES
    point = rng.integers(_XS_POINTS, size=n)
    table = np.full((n, columns), -1, dtype=np.int64)
    low, high = np.zeros(n, dtype=np.int64), np.full(n, _XS_POINTS, dtype=np.int64)
    for step in range(_XS_STEPS):
        middle = (low + high) >> 1
        table[:, step] = 8 * middle
        above = point >= middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    counts = np.minimum(rng.choice(_XS_MATERIALS, n, p=_XS_SHARES), _XS_NUCLIDES)
    for k in range(_XS_NUCLIDES):
        has = k < counts
        nuclide = (7 * k + counts) % _XS_ALL
        near = point * _XS_GRID // _XS_POINTS
        at = 48 * (nuclide * _XS_GRID + near)
        table[:, _XS_STEPS + 3 * k] = np.where(has, 4 * (point * _XS_ALL + nuclide), -1)
        table[:, _XS_STEPS + 3 * k + 1] = np.where(has, at, -1)
        table[:, _XS_STEPS + 3 * k + 2] = np.where(has, at + 48, -1)
    return (
        table,
        (*[0] * _XS_STEPS, *[1, 2, 2] * _XS_NUCLIDES),
        (_LOAD,) * columns,
        (*[8] * _XS_STEPS, *[4, 8, 8] * _XS_NUCLIDES),
    )


# XSBench, `large`: 355 nuclides of 11,303 points; sizes and shares of its twelve materials.
_XS_ALL: Final = 355
_XS_GRID: Final = 11303
_XS_POINTS: Final = _XS_ALL * _XS_GRID
_XS_STEPS: Final = 22
_XS_MATERIALS: Final = (321, 5, 4, 4, 27, 21, 21, 21, 21, 21, 9, 9)
_XS_SHARES: Final = np.array(
    [0.140, 0.052, 0.275, 0.134, 0.154, 0.064, 0.066, 0.055, 0.008, 0.015, 0.025, 0.012]
)
# chosen: fuel has 321 nuclides; the others are left out, to bound the table of a part.
_XS_NUCLIDES: Final = 27


def _dlrm(rng: np.random.Generator, n: int, start: int) -> _Accesses:
    """Return sums of embedding rows of 64 bytes: DLRM; indices by the law of Zipf."""
    rank = np.exp(rng.random(n) * np.log(_ROWS)).astype(np.uint64) - np.uint64(1)  # exponent 1
    row = scattered(np.minimum(rank, np.uint64(_ROWS - 1)), _ROWS).astype(np.int64)
    place = 64 * ((np.arange(n) % _TABLES) * _ROWS + row)
    number = start * n + np.arange(n)
    output = 64 * ((number // _BAG) % 1024)
    return (
        np.stack([4 * number, *(place + 16 * k for k in range(4)), output, output + 32], axis=1),
        (0, 1, 1, 1, 1, 2, 2),
        (*[_LOAD] * 5, _STORE, _STORE),
        (4, *[16] * 4, 32, 32),
    )


_TABLES: Final = 8
_ROWS: Final = 2**24
_BAG: Final = 32


def _bfs(rng: np.random.Generator, n: int, start: int) -> _Accesses:
    """Return a breadth-first search of an R-MAT graph with vertices of 64 bytes."""
    del start
    vertex = scattered(_rmat(rng, n), _VERTICES).astype(np.int64)
    edge = 4 * _DEGREE * vertex
    seen = scattered(_rmat(rng, n * _DEGREE), _VERTICES).astype(np.int64).reshape(n, _DEGREE)
    table = np.empty((n, 1 + 2 * _DEGREE), dtype=np.int64)
    table[:, 0] = 64 * vertex
    table[:, 1::2] = edge[:, None] + 4 * np.arange(_DEGREE)
    table[:, 2::2] = 64 * seen
    return (
        table,
        (0, *[1, 0] * _DEGREE),
        (_LOAD,) * (1 + 2 * _DEGREE),
        (8, *[4, 8] * _DEGREE),
    )


_VERTICES: Final = 2**26
_DEGREE: Final = 16


def _rmat(rng: np.random.Generator, n: int) -> npt.NDArray[np.uint64]:
    """Return ends of edges by the marginal of R-MAT with Graph500's a + b = 0.76."""
    bits = rng.random((26, n)) >= 0.76
    weights = np.uint64(1) << np.arange(26, dtype=np.uint64)
    return np.asarray((bits * weights[:, None]).sum(axis=0), dtype=np.uint64)


_Program = tuple[str, int, int, Callable[[np.random.Generator, int, int], _Accesses]]
# Description, seed, instructions of a group of accesses, and its function. Instructions of an
# access as in recorded runs: 13, 6, 8, 1.5 and 4.
_PROGRAMS: Final[Mapping[str, _Program]] = {
    "gups-8gb": ("updates anywhere in a table of 8 GiB", 21, 13, _gups),
    "kmer-8gb": ("words of a genome counted in a hash table of 8 GiB", 22, 20, _kmer),
    "xsbench-6gb": ("cross sections of XSBench's large problem, 5.9 GiB", 23, 820, _xsbench),
    "dlrm-8gb": ("sums of embedding rows, 8 GiB in eight tables", 24, 11, _dlrm),
    "bfs-8gb": ("breadth-first search of an R-MAT graph of 8 GiB", 25, 132, _bfs),
}

LARGE: Final[Mapping[str, str]] = MappingProxyType(
    {name: program[0] for name, program in _PROGRAMS.items()}
)
"""Description of each program, by name."""


def large_parts(name: str, n_parts: int) -> Iterator[MemoryTrace]:
    """Yield a program's trace in parts of 262,144 records, the same each time.

    Raises:
      UnknownNameError: The name is unknown.
      InvalidArgumentError: `n_parts` is below 1.
    """
    if name not in _PROGRAMS:
        raise unknown_name("trace", name, LARGE)
    if n_parts < 1:
        raise InvalidArgumentError(f"`n_parts` must be at least 1; got {n_parts!r}.")
    for number in range(n_parts):
        yield _part(name, number)


def _part(name: str, number: int) -> MemoryTrace:
    _, seed, instructions, function = _PROGRAMS[name]
    groups = _groups(name)
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    place, arrays, kinds, sizes = function(rng, groups, number)
    present = place >= 0
    owner, column = np.nonzero(present)
    owner, column = owner[:CHUNK_RECORDS], column[:CHUNK_RECORDS]
    assert len(owner) == CHUNK_RECORDS
    # The instructions of a group are spread evenly over its accesses.
    within = np.cumsum(present, axis=1)[owner, column]
    total = present.sum(axis=1)[owner]
    share = instructions * total // place.shape[1]
    retired = share * within // total - share * (within - 1) // total
    starts = _ARRAY + _APART * np.array(arrays)
    columns: dict[str, Any] = {
        "instructions": retired,
        "kind": np.array(kinds)[column],
        "size_bytes": np.array(sizes)[column],
        "address": starts[column] + place[owner, column],
    }
    return MemoryTrace(**{c: columns[c].astype(t) for c, t in COLUMNS.items()}, name=name)


def _groups(name: str) -> int:
    """Return groups of accesses that surely fill a part."""
    least = {"gups-8gb": 1, "kmer-8gb": 3, "xsbench-6gb": 22 + 3 * 4, "dlrm-8gb": 7, "bfs-8gb": 33}
    return -(-CHUNK_RECORDS // least[name])
