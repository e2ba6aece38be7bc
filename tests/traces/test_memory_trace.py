import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.traces import AccessKind, MemoryTrace


def trace(kind: int = AccessKind.LOAD, address: int = 64) -> MemoryTrace:
    return MemoryTrace(
        instructions=np.array([3, 4], dtype=np.uint32),
        kind=np.array([kind, AccessKind.STORE], dtype=np.uint8),
        size_bytes=np.array([8, 8], dtype=np.uint16),
        address=np.array([address, 128], dtype=np.uint64),
    )


def test_instructions_are_summed_over_records() -> None:
    assert trace().n_instructions == 7
    assert len(trace()) == 2


def test_address_of_more_than_57_bits_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at most 57 bits; got 0x200000000000000"):
        trace(address=1 << 57)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at most 5; got 6"):
        trace(kind=6)


def test_column_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`address` must have shape"):
        MemoryTrace(
            instructions=np.zeros(2, dtype=np.uint32),
            kind=np.zeros(2, dtype=np.uint8),
            size_bytes=np.zeros(2, dtype=np.uint16),
            address=np.zeros(2, dtype=np.int64),
        )
