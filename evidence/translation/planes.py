"""Memory traces in the older layout of planes, in which the reference traces are stored.

One `.npz` of `numpy.savez_compressed`: `p0` to `p3`, bytes of each record's page as a number in
the order of first touch; `pages`, the virtual page numbers; `off`, the offset in the page of
4 KiB; `dinst`, `kind`, `size`; and `meta`, JSON as bytes.
"""

from pathlib import Path

import numpy as np

from archgym.traces.file import MAX_RECORDS, json_object, open_archive, printable, read_memory_trace
from archgym.traces.memory_trace import ADDRESS_BITS, AccessKind, MemoryTrace

PAGE_BITS = 12
PLANES_REMEDY = "Copy the file again, or record a trace of your own with `archgym trace record`"
_MAX_META_BYTES = 2**20


def read_planes(path: str | Path, *, max_records: int = MAX_RECORDS) -> MemoryTrace:
    """Return the trace in a file of planes.

    Args:
      max_records: Most records to take in.

    Raises:
      FileFormatError: The file is damaged or something else, or holds more records.
      StorageError: It cannot be read.
    """
    with open_archive(path, "a memory trace in planes", PLANES_REMEDY) as archive:
        limit = (max_records,)
        offset = archive.array("off", np.uint16, limit)
        page = np.zeros(len(offset), np.uint32)
        for place in range(4):
            plane = archive.array(f"p{place}", np.uint8, limit)
            if len(plane) != len(offset):
                raise ValueError("its columns differ in length")
            page |= plane.astype(np.uint32) << np.uint32(8 * place)
        pages = archive.array("pages", np.uint64, limit)
        if len(page) and int(page.max()) >= len(pages):
            raise ValueError(f"a record is on page {int(page.max())} of {len(pages)}")
        if len(pages) and int(pages.max()) >> (ADDRESS_BITS - PAGE_BITS):
            raise ValueError(
                f"page {int(pages.max()):#x} lies beyond addresses of {ADDRESS_BITS} bits"
            )
        if len(offset) and int(offset.max()) >> PAGE_BITS:
            raise ValueError(f"an offset is {int(offset.max())}, beyond its page of 4096 bytes")
        kind = archive.array("kind", np.uint8, limit)
        if len(kind) and int(kind.max()) > max(AccessKind):
            raise ValueError(f"a record is of kind {int(kind.max())}, which there is not")
        size = archive.array("size", np.uint8, limit)
        instructions = archive.array("dinst", np.uint16, limit)
        if not len(offset) == len(kind) == len(size) == len(instructions):
            raise ValueError("its columns differ in length")
        meta = json_object(archive.array("meta", np.uint8, (_MAX_META_BYTES,)).tobytes(), "meta")
        address = (pages[page] << np.uint64(PAGE_BITS)) | offset.astype(np.uint64)
    return MemoryTrace(
        instructions=instructions.astype(np.uint32),
        kind=kind,
        size_bytes=size.astype(np.uint16),
        address=address,
        name=printable(str(meta.get("name", ""))) or Path(path).stem,
        command=printable(str(meta.get("command", meta.get("cmd", "")))),
    )


def read_trace(path: Path) -> MemoryTrace:
    """Return the trace in a file of planes, or in one that `archgym trace record` made.

    Raises:
      FileFormatError: The file is damaged or something else.
      StorageError: It cannot be read.
    """
    with open_archive(path, "a memory trace", PLANES_REMEDY) as archive:
        has_planes = "p0.npy" in archive.names
    return read_planes(path) if has_planes else read_memory_trace(path)
