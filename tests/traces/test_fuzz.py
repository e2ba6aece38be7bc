"""Mutated traces: every reader reads them or refuses them in one line, soon, in little memory.

`ARCHGYM_FUZZ=20000` runs so many inputs instead of a thousand.
"""

import gzip
import io
import os
import re
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import ArchGymError
from archgym.simulators.dram.workloads.trace import read_trace, write_trace
from archgym.traces import MemoryTrace, read_memory_trace, read_trace_info, write_memory_trace

N_INPUTS = int(os.environ.get("ARCHGYM_FUZZ", "1000"))
MAX_S = 2.0
MAX_BYTES = 600 * 2**20
NUMBERS = (b"0", b"-1", b"1", b"255", b"99999999999", b"18446744073709551616", b"1e999", b"null")


def small_trace() -> MemoryTrace:
    rng = np.random.default_rng(5)
    n = 300
    return MemoryTrace(
        rng.integers(0, 300, n).astype(np.uint32),
        rng.integers(0, 4, n).astype(np.uint8),
        rng.choice(np.array([1, 8, 300], np.uint16), n),
        (np.cumsum(rng.integers(-9000, 9000, n)) + 2**40).astype(np.uint64),
        "small",
    )


def read_both(path: Path) -> None:
    read_trace_info(path)
    read_memory_trace(path)


READERS: dict[str, Callable[[Path], object]] = {
    "a.npz": read_both,
    "planes.npz": read_both,
    "a.stl": read_trace,
    "a.stl.gz": read_trace,
}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A good file of each form."""
    folder = tmp_path_factory.mktemp("seeds")
    trace = small_trace()
    write_memory_trace(trace, folder / "a.npz")
    np.savez_compressed(
        folder / "planes.npz",
        p0=np.zeros(50, np.uint8),
        p1=np.zeros(50, np.uint8),
        p2=np.zeros(50, np.uint8),
        p3=np.zeros(50, np.uint8),
        off=np.arange(50, dtype=np.uint16),
        dinst=np.ones(50, np.uint16),
        kind=np.zeros(50, np.uint8),
        size=np.full(50, 8, np.uint8),
        pages=np.array([5], np.uint64),
        meta=np.frombuffer(b'{"name": "planes"}', np.uint8),
    )
    text = b"".join(b"%d:\tread\t0x%X\t64\n" % (i, 64 * i) for i in range(40))
    (folder / "a.stl").write_bytes(text)
    write_trace(read_trace(folder / "a.stl"), folder / "a.stl.gz")
    return {name: (folder / name).read_bytes() for name in READERS}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes: bits, bytes, numbers, cuts, copies, insertions."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        place = int(rng.integers(len(data)))
        end = min(len(data), place + int(rng.integers(1, 40)))
        how = int(rng.integers(7))
        if how == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif how == 1:
            data[place:end] = rng.integers(0, 256, end - place).astype(np.uint8).tobytes()
        elif how == 2:
            found = list(re.finditer(rb"\d+", bytes(data)))
            if found:
                chosen = found[int(rng.integers(len(found)))]
                data[chosen.start() : chosen.end()] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        elif how == 3:
            del data[place:]
        elif how == 4:
            data[place:place] = data[place:end] * int(rng.integers(1, 60))
        elif how == 5:
            data[place:end] = b"\xff" * (end - place)
        else:
            del data[place:end]
    return bytes(data)


def mutated_inside(name: str, content: bytes, rng: np.random.Generator) -> bytes:
    """The same to what is packed, so that checksums hold."""
    if name.endswith(".npz"):
        stream = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(content)) as good,
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bad,
        ):
            names = good.namelist()
            chosen = names[int(rng.integers(len(names)))]
            for entry in names:
                inner = good.read(entry)
                bad.writestr(entry, mutated(inner, rng) if entry == chosen else inner)
        return stream.getvalue()
    if name.endswith(".gz"):
        return gzip.compress(mutated(gzip.decompress(content), rng), 1)
    return mutated(content, rng)


def refusal_of(read: Callable[[Path], object], path: Path) -> str | None:
    try:
        read(path)
    except ArchGymError as error:
        return str(error)
    return None


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_mutated_traces_are_read_or_refused_in_one_line(
    tmp_path: Path, seeds: dict[str, bytes]
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n_refused = 0
    for number in range(N_INPUTS):
        rng = np.random.default_rng([7, number])
        name = list(READERS)[number % len(READERS)]
        change = mutated_inside(name, seeds[name], rng) if number % 3 else None
        path = tmp_path / name
        path.write_bytes(mutated(seeds[name], rng) if change is None else change)
        started = time.process_time()
        refusal = refusal_of(READERS[name], path)
        assert time.process_time() - started < MAX_S, number
        if refusal is not None:
            assert "\n" not in refusal, number
            assert str(path) in refusal, number
            n_refused += 1

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MAX_BYTES
    # Some changes leave a file that holds, such as those of an address.
    assert 0.4 * N_INPUTS < n_refused < N_INPUTS


def bomb_of_chunks() -> bytes:
    """A small file whose chunks unpack to 94 MB, of which it claims a thousand records."""
    stream = io.BytesIO()
    head = io.BytesIO()
    np.save(head, np.zeros(18 * 2**18, np.uint8))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"chunk-{number:06d}.npy", head.getvalue())
        archive.writestr(
            "trace.json",
            '{"format": "archgym-memory-trace", "version": 1, "chunks": 20, "name": "", '
            '"command": "", "date": "", "tool": "", "skipped": 0, "exit_code": null, '
            '"records": 1000, "instructions": 0, "loads": 0, "stores": 0, "modifies": 0, '
            '"fetches": 0, "data_pages": 0}',
        )
    return stream.getvalue()


def many_entries() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number:040d}", b"")
    return stream.getvalue()


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "chunks": ("a.npz", bomb_of_chunks),
    "entries": ("a.npz", many_entries),
    "stl": ("a.stl.gz", lambda: gzip.compress(b"0" * 2**28, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOMBS)
def test_file_that_unpacks_to_much_is_refused_soon(tmp_path: Path, kind: str) -> None:
    name, make = BOMBS[kind]
    path = tmp_path / name
    path.write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()

    with pytest.raises(ArchGymError) as refused:
        READERS[name](path)

    assert "\n" not in str(refused.value)
    assert time.process_time() - started < MAX_S
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * 1024 < MAX_BYTES
