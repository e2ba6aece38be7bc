"""What a Parquet file says of its sizes: footer and page headers, read before anything else.

A reader allocates what page headers say, whatever the footer says; and pyarrow ends the process on
some damaged footers where it is asked for a column's metadata. So both are read here.

Source: the Apache Parquet format, `parquet.thrift`, by whose numbers members are named.
"""

from dataclasses import dataclass
from typing import BinaryIO, final

from archgym.datasets.thrift import Cursor, Struct, ThriftError

__all__ = ["Column", "Group", "Page", "read_groups", "read_pages"]

# FileMetaData
_SCHEMA, _ROWS, _GROUPS, _ENCRYPTION = 2, 3, 4, 8
# SchemaElement
_REPETITION, _NAME, _CHILDREN, _REPEATED = 3, 4, 5, 2
# RowGroup, ColumnChunk
_COLUMNS, _GROUP_ROWS = 1, 3
_FILE_PATH, _METADATA, _CRYPTO, _ENCRYPTED = 1, 3, 8, 9
# ColumnMetaData
_TYPE, _ENCODINGS, _VALUES, _LENGTH, _DATA_OFFSET, _DICTIONARY_OFFSET = 1, 2, 5, 7, 9, 11
_BYTE_ARRAY = 6
# PageHeader; in each kind's own header member 1 is the number of values.
_PAGE_TYPE, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADERS = {_DATA_PAGE: (5, 2), _DICTIONARY_PAGE: (7, 2), _DATA_PAGE_V2: (8, 4)}
"""Number of the kind's own header, and of the encoding in it, by type of page."""
# PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, RLE_DICTIONARY. Delta encodings are left out: a few
# bytes of theirs stand for texts of any length.
_KNOWN_ENCODINGS = {0, 2, 3, 4, 8}

# chosen: ours take some 30 bytes, others' with statistics of long texts a few thousand.
_MAX_HEADER = 2**16


@final
@dataclass(frozen=True)
class Page:
    """What a page's header says."""

    is_dictionary: bool
    n_values: int
    uncompressed_bytes: int
    """What a reader allocates for it."""


@final
@dataclass(frozen=True)
class Column:
    """A column in a row group."""

    path: str
    """Names from the top, with dots."""
    is_text: bool
    is_repeated: bool
    """Whether a row may have several values or none."""
    n_values: int
    start: int
    """Where its first page begins [bytes]."""
    length: int
    """Of all its pages [bytes]."""


@final
@dataclass(frozen=True)
class Group:
    """A row group."""

    n_rows: int
    columns: tuple[Column, ...]


def read_groups(footer: bytes) -> tuple[int, list[Group]]:
    """Number of rows and the row groups that a footer tells of.

    Raises:
      ThriftError: It is no footer, or of a file that is encrypted or lies in several.
    """
    metadata = Cursor(footer).struct()
    if _ENCRYPTION in metadata:
        raise ThriftError("it is encrypted")
    leaves = _leaves(metadata.structs(_SCHEMA))
    groups = []
    for group in metadata.structs(_GROUPS):
        chunks = group.structs(_COLUMNS)
        if len(chunks) != len(leaves):
            raise ThriftError("a row group does not have the columns of the schema")
        columns = (_column(chunk, *leaf) for chunk, leaf in zip(chunks, leaves, strict=True))
        groups.append(Group(group.whole(_GROUP_ROWS), tuple(columns)))
    return metadata.whole(_ROWS), groups


def _leaves(schema: list[Struct]) -> list[tuple[str, bool]]:
    """Path of each column, and whether it is repeated, of a tree that stands in pre-order."""
    leaves = []
    # Names, whether repeated, and how many children are still to come, from the root down.
    open_nodes: list[tuple[tuple[str, ...], bool, int]] = []
    for place, element in enumerate(schema):
        names: tuple[str, ...] = ()
        is_repeated = False
        if place:
            while open_nodes and not open_nodes[-1][2]:
                open_nodes.pop()
            if not open_nodes:
                raise ThriftError("its schema is no tree")
            above, is_repeated, left = open_nodes[-1]
            open_nodes[-1] = above, is_repeated, left - 1
            names = (*above, element.content(_NAME).decode("utf-8", "replace"))
            is_repeated |= element.whole(_REPETITION, 0) == _REPEATED
        n_children = element.whole(_CHILDREN, 0)
        if n_children > 0 or not place:
            open_nodes.append((names, is_repeated, n_children))
        else:
            leaves.append((".".join(names), is_repeated))
    if any(left for _, _, left in open_nodes):
        raise ThriftError("its schema has no end")
    return leaves


def _column(chunk: Struct, path: str, is_repeated: bool) -> Column:
    if _FILE_PATH in chunk:
        raise ThriftError(f"column {path!r} is in another file")
    if _CRYPTO in chunk or _ENCRYPTED in chunk:
        raise ThriftError(f"column {path!r} is encrypted")
    metadata = chunk.struct(_METADATA)
    _check_encodings(path, metadata.wholes(_ENCODINGS))
    start = metadata.whole(_DATA_OFFSET)
    dictionary = metadata.whole(_DICTIONARY_OFFSET, 0)
    return Column(
        path,
        metadata.whole(_TYPE) == _BYTE_ARRAY,
        is_repeated,
        metadata.whole(_VALUES),
        # 0 is what some writers say where there is no dictionary.
        min(start, dictionary) if dictionary > 0 else start,
        metadata.whole(_LENGTH),
    )


def _check_encodings(path: str, encodings: list[int]) -> None:
    if not set(encodings) <= _KNOWN_ENCODINGS:
        raise ThriftError(f"column {path!r} has an encoding that is not taken")


def read_pages(handle: BinaryIO, column: Column) -> list[Page]:
    """Headers of a column's pages.

    Args:
      handle: The file.
      column: One of its columns, which lies in it.

    Raises:
      ThriftError: What stands there are no pages, or they do not fill the column.
    """
    pages = []
    place, end = column.start, column.start + column.length
    while place < end:
        handle.seek(place)
        cursor = Cursor(handle.read(min(_MAX_HEADER, end - place)))
        header = cursor.struct()
        kind = header.whole(_PAGE_TYPE)
        uncompressed, compressed = header.whole(_UNCOMPRESSED), header.whole(_COMPRESSED)
        if kind not in _HEADERS or uncompressed < 0 or compressed < 0:
            raise ThriftError(f"column {column.path!r} has a page of no known kind or size")
        number, encoding = _HEADERS[kind]
        details = header.struct(number)
        _check_encodings(column.path, [details.whole(encoding)])
        n_values = details.whole(1)
        if n_values < 0:
            raise ThriftError(f"column {column.path!r} has a page without values")
        pages.append(Page(kind == _DICTIONARY_PAGE, n_values, uncompressed))
        place += cursor.place + compressed
    if place != end:
        raise ThriftError(f"column {column.path!r} is longer than its pages, or shorter")
    return pages
