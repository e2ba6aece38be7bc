"""Footers and page headers of unknown origin cost bounded memory and time."""

import io
import re
import tracemalloc

import pytest

from archgym.files.parquet.footer import Column, parse_footer, read_pages
from archgym.files.parquet.thrift import ThriftError

SMALL = 64 * 2**20


def varint(number: int) -> bytes:
    """A whole number in Thrift's compact form."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def member(step: int, kind: int, content: bytes) -> bytes:
    """A member of a struct, `step` numbers after the one before it."""
    return bytes([step << 4 | kind]) + content


def element(name: bytes, children: int) -> bytes:
    """An element of a schema."""
    text = member(4, 8, varint(len(name)) + name)
    return text + member(1, 5, varint(2 * children)) + b"\0"


def footer(*elements: bytes) -> bytes:
    """A footer of a file without rows, with this schema."""
    schema = member(2, 9, b"\xfc" + varint(len(elements)) + b"".join(elements))
    return schema + member(1, 6, b"\0") + member(1, 9, b"\x0c") + b"\0"


def peak_of(content: bytes) -> tuple[int, str]:
    """Most bytes that parsing takes, and what is wrong."""
    tracemalloc.start()
    try:
        parse_footer(content)
        problem = ""
    except ThriftError as error:
        problem = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, problem


def test_footer_that_is_sound_is_read() -> None:
    assert parse_footer(footer(element(b"root", 2), element(b"x", 0), element(b"y", 0))).n_rows == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (footer(*[element(b"x", 1)] * 4000, element(b"x", 0)), "nested more than 32 deep"),
        (
            footer(element(b"r", 1), element(b"n" * 5000, 2000), *[element(b"x", 0)] * 2000),
            "more than 1000 characters",
        ),
        (footer(*[b"\0"] * 60_000), "is not a number|is not a text|not a tree|no end"),
        (member(2, 9, b"\xfc" + varint(2**40) + b"\0" * 60_000), "it has no end"),
        (member(2, 9, b"\xf1" + varint(2**40) + b"\1" * 60_000), "it has no end"),
        (member(2, 9, b"\xf8" + varint(2**40) + b"\0" * 60_000), "it has no end"),
        (member(2, 8, varint(2**40)), "it has no end"),
        (b"\x19\x19" * 30_000, "nested too deep|it holds what it cannot"),
        (b"\x1c" * 60_000, "nested too deep"),
    ],
    ids=[
        "deep",
        "long name",
        "empty elements",
        "structs",
        "flags",
        "texts",
        "text",
        "lists",
        "nest",
    ],
)
def test_small_hostile_footer_takes_little_memory(content: bytes, problem: str) -> None:
    peak, came = peak_of(content)

    assert re.search(problem, came), came
    assert peak < SMALL
    assert "\n" not in came


def test_members_are_counted_however_small_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archgym.files.parquet.thrift._MAX_MEMBERS", 1000)

    _, came = peak_of(member(2, 9, b"\xfc" + varint(2000) + b"\0" * 2000))

    assert "more than 1000 members" in came


def test_column_of_endless_tiny_pages_is_refused() -> None:
    # A data page of no bytes: type, sizes, and a header with no value in PLAIN.
    details = member(1, 5, b"\0") + member(1, 5, b"\0") + b"\0"
    sizes = member(1, 5, b"\0") * 3
    page = sizes + member(2, 12, details) + b"\0"
    content = page * 20_000
    column = Column("x", False, True, False, 0, 0, len(content))

    assert (
        len(read_pages(io.BytesIO(page * 5), Column("x", False, True, False, 0, 0, len(page) * 5)))
        == 5
    )
    with pytest.raises(ThriftError, match="more than 16384 pages"):
        read_pages(io.BytesIO(content), column)
