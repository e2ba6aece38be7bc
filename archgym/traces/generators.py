"""Memory traces that no program made: footprints beyond what is quickly recorded.

Each is a function of its arguments alone. Loads and stores are of 8 bytes, and some instructions
lie between them, as in a loop that does little else.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from archgym.checks import require
from archgym.errors import unknown_name
from archgym.traces.memory_trace import ADDRESS_BITS, AccessKind, MemoryTrace

_GIB = 2**30
_PAGE_BYTES = 4096
_LINE_BYTES = 64
# chosen: where Linux puts large mappings of x86-64, with room above.
_START_ADDRESS = 0x7F00_0000_0000
# chosen: between those of the recorded programs, 3 (gather) to 13 (random access).
_INSTRUCTIONS = 6
_MAX_FOOTPRINT = 2**46
# A Zipf table of this many pages takes a second and 134 MB.
_MAX_ZIPF_PAGES = 2**24


def uniform(
    n_accesses: int,
    *,
    seed: int,
    footprint_bytes: int = 4 * _GIB,
    store_share: float = 0.0,
    instructions: int = _INSTRUCTIONS,
) -> MemoryTrace:
    """Return accesses anywhere, all words alike.

    Args:
      n_accesses: 1 or more.
      seed: Random seed of addresses and kinds.
      footprint_bytes: Size of the region, a page or more.
      store_share: Share of accesses that are stores, 0 to 1.
      instructions: Instructions an access, with its own.
    """
    lines = _lines(n_accesses, footprint_bytes)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    places = rng.integers(lines * 8, size=n_accesses, dtype=np.uint64) * np.uint64(8)
    return _trace("uniform", places, rng.random(n_accesses) < store_share, instructions)


def zipf(
    n_accesses: int,
    *,
    seed: int,
    exponent: float = 0.8,
    footprint_bytes: int = 4 * _GIB,
    store_share: float = 0.0,
    instructions: int = _INSTRUCTIONS,
) -> MemoryTrace:
    """Return accesses to pages of which the k-th most popular has popularity k to the -`exponent`.

    Popular pages lie anywhere in the region, and words of a page are alike.

    Args:
      n_accesses: 1 or more.
      seed: Random seed of addresses and kinds.
      exponent: 0 for pages that are alike, 1 for Zipf's law; at most 4.
      footprint_bytes: Size of the region, a page to 64 GiB.
      store_share: Share of accesses that are stores, 0 to 1.
      instructions: Instructions an access, with its own.
    """
    lines = _lines(n_accesses, footprint_bytes)
    pages = lines * _LINE_BYTES // _PAGE_BYTES
    require("exponent", 0.0 <= exponent <= 4.0, "lie in 0 to 4", exponent)
    require("footprint_bytes", pages <= _MAX_ZIPF_PAGES, "be at most 64 GiB", footprint_bytes)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    shares = np.cumsum(np.arange(1, pages + 1, dtype=np.float64) ** -exponent)
    ranks = np.searchsorted(shares, rng.random(n_accesses) * shares[-1], side="right")
    page = scattered(np.minimum(ranks, pages - 1).astype(np.uint64), pages)
    words = rng.integers(_PAGE_BYTES // 8, size=n_accesses, dtype=np.uint64)
    places = page * np.uint64(_PAGE_BYTES) + words * np.uint64(8)
    return _trace("zipf", places, rng.random(n_accesses) < store_share, instructions)


def pointer_chase(
    n_accesses: int,
    *,
    seed: int,
    n_nodes: int | None = None,
    footprint_bytes: int = 4 * _GIB,
    instructions: int = _INSTRUCTIONS,
) -> MemoryTrace:
    """Load along a chain of nodes that lie anywhere, all of which come before one comes again.

    Args:
      n_accesses: 1 or more.
      seed: Random seed of the chain.
      n_nodes: Nodes of a line of 64 bytes; by default as many as there are lines.
      footprint_bytes: Size of the region, a page or more.
      instructions: Instructions an access, with its own.
    """
    lines = _lines(n_accesses, footprint_bytes)
    nodes = lines if n_nodes is None else n_nodes
    require("n_nodes", 1 <= nodes <= lines, f"lie in 1 to {lines}, the lines there are", nodes)
    start = np.random.default_rng(np.random.SeedSequence(seed)).integers(lines, dtype=np.uint64)
    turn = np.arange(n_accesses, dtype=np.uint64) % np.uint64(nodes)
    node = scattered((turn + start) % np.uint64(lines), lines)
    return _trace(
        "pointer-chase", node * np.uint64(_LINE_BYTES), np.zeros(n_accesses, np.bool_), instructions
    )


GENERATED: Mapping[str, tuple[str, Callable[[int], MemoryTrace]]] = MappingProxyType(
    {
        "random-4gb": (
            "read-modify-write-like traffic anywhere in 4 GiB",
            lambda n: uniform(n, seed=7, store_share=0.5),
        ),
        "zipf-4gb": (
            "loads of pages by Zipf's law, exponent 0.8, in 4 GiB",
            lambda n: zipf(n, seed=8),
        ),
        "pointer-chase-4gb": (
            "loads along a chain of all lines of 4 GiB",
            lambda n: pointer_chase(n, seed=9),
        ),
    }
)
"""Description of each generator, and its function of a number of accesses."""


def generated_trace(name: str, n_accesses: int = 1_000_000) -> MemoryTrace:
    """Return the generated trace of a name of `GENERATED`.

    Raises:
      UnknownNameError: The name is unknown.
    """
    if name not in GENERATED:
        raise unknown_name("trace", name, GENERATED)
    return replace(GENERATED[name][1](n_accesses), name=name)


def scattered(numbers: np.ndarray, n: int) -> np.ndarray:
    """Return a permutation of 0 to n - 1 that looks random, n a power of two.

    Steps of the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), each of which is one to
    one on numbers of that many bits.
    """
    bits = n.bit_length() - 1
    mask, half = np.uint64(n - 1), np.uint64(max(1, (bits + 1) // 2))
    mixed = numbers
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        mixed = ((mixed + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(factor)) & mask
        mixed ^= mixed >> half
    return mixed


def _lines(n_accesses: int, footprint_bytes: int) -> int:
    require("n_accesses", n_accesses >= 1, "be at least 1", n_accesses)
    require(
        "footprint_bytes",
        _PAGE_BYTES <= footprint_bytes <= _MAX_FOOTPRINT
        and not footprint_bytes & (footprint_bytes - 1),
        "be a power of two from 4096 to 2**46",
        footprint_bytes,
    )
    return footprint_bytes // _LINE_BYTES


def _trace(name: str, places: np.ndarray, is_store: np.ndarray, instructions: int) -> MemoryTrace:
    require("instructions", 1 <= instructions < 2**32, "be at least 1", instructions)
    address = places + np.uint64(_START_ADDRESS)
    assert int(address.max()) >> ADDRESS_BITS == 0
    return MemoryTrace(
        instructions=np.full(len(places), instructions, np.uint32),
        kind=np.where(is_store, AccessKind.STORE, AccessKind.LOAD).astype(np.uint8),
        size_bytes=np.full(len(places), 8, np.uint16),
        address=address,
        name=name,
    )
