"""Instructions whose names resemble others are decoded as what they are."""

import numpy as np
import pytest

pytest.importorskip("capstone")

from archgym.traces.instructions.decoding import Decoder
from archgym.traces.instructions.stepping import REGISTERS


@pytest.mark.parametrize(
    ("code", "n_reads", "n_writes"),
    [
        pytest.param("0f05", 0, 0, id="syscall"),
        pytest.param("e800000000", 0, 1, id="call"),
        pytest.param("f3480fb8c1", 0, 0, id="popcnt rax, rcx"),
        pytest.param("58", 1, 0, id="pop rax"),
        pytest.param("c9", 1, 0, id="leave"),
        pytest.param("488d0411", 0, 0, id="lea rax, [rcx + rdx]"),
        pytest.param("c3", 1, 0, id="ret"),
        pytest.param("f3c3", 1, 0, id="repz ret"),
    ],
)
def test_number_of_memory_accesses(code: str, n_reads: int, n_writes: int) -> None:
    decoder = Decoder(lambda address, size: bytes.fromhex(code))
    rows = np.full((1, len(REGISTERS)), 4096, dtype=np.int64)

    record = decoder.records(rows, np.array([0]))[0]

    assert np.count_nonzero(record["reads"]) == n_reads
    assert np.count_nonzero(record["writes"]) == n_writes
