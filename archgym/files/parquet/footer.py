"""Sizes declared by a Parquet file: footer and page headers, read before anything else.

A reader allocates the sizes in page headers, which may differ from the footer. pyarrow ends the
process on some damaged footers when a column's metadata are read. So both are read here first.

Source: the Apache Parquet format, `parquet.thrift`, whose numbers name the members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, final

from archgym.files.parquet.thrift import Cursor, Struct, ThriftError

# FileMetaData
_SCHEMA, _ROWS, _GROUPS, _KEY_VALUES, _ENCRYPTION = 2, 3, 4, 5, 8
# KeyValue
_KEY, _VALUE = 1, 2
# SchemaElement
_REPETITION, _NAME, _CHILDREN, _REPEATED = 3, 4, 5, 2
# RowGroup, ColumnChunk
_COLUMNS, _GROUP_ROWS = 1, 3
_FILE_PATH, _METADATA, _CRYPTO, _ENCRYPTED = 1, 3, 8, 9
# ColumnMetaData
_TYPE, _ENCODINGS, _VALUES, _LENGTH, _DATA_OFFSET, _DICTIONARY_OFFSET = 1, 2, 5, 7, 9, 11
_INT32, _INT64, _BYTE_ARRAY = 1, 2, 6
# PageHeader; in each kind's own header member 1 is the number of values.
_PAGE_TYPE, _UNCOMPRESSED, _COMPRESSED = 1, 2, 3
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADERS = {_DATA_PAGE: (5, 2), _DICTIONARY_PAGE: (7, 2), _DATA_PAGE_V2: (8, 4)}
"""Number of the kind's own header, and of the encoding in it, by type of page."""
# PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED, RLE_DICTIONARY. Delta encodings of texts are refused: a
# few bytes can encode texts of any length.
_KNOWN_ENCODINGS = {0, 2, 3, 4, 8}
_DELTA_BINARY_PACKED = 5

# chosen: ours take about 30 bytes; with statistics of long texts, others take some thousand.
_MAX_HEADER = 2**16
# Most are shorter, so that the rest need not be read for each page.
_USUAL_HEADER = 2**9
# chosen: other writers' pages hold twenty thousand rows of the million of a row group.
_MAX_PAGES = 2**14
# chosen: columns are nested a few levels deep. A path repeats the names above, which takes memory
# for each column.
_MAX_NESTING = 32
_MAX_PATH = 1000


@final
@dataclass(frozen=True)
class Page:
    """Header of a page."""

    is_dictionary: bool
    n_values: int
    uncompressed_bytes: int
    """Bytes that a reader allocates for the page."""


@final
@dataclass(frozen=True)
class Column:
    """A column in a row group."""

    path: str
    """Names from the top, with dots."""
    is_text: bool
    is_whole: bool
    """True for whole numbers, which take 8 bytes each whatever their encoding."""
    is_repeated: bool
    """True if a row may have several values or no value."""
    n_values: int
    start: int
    """Offset of the first page [bytes]."""
    length: int
    """Size of all pages [bytes]."""


@final
@dataclass(frozen=True)
class Group:
    """A row group."""

    n_rows: int
    columns: tuple[Column, ...]


@final
@dataclass(frozen=True)
class Footer:
    """Content of a footer."""

    n_rows: int
    groups: tuple[Group, ...]
    metadata: Mapping[bytes, bytes]
    """Metadata added by writers, by key."""


def parse_footer(content: bytes) -> Footer:
    """Return the footer in these bytes.

    Raises:
      ThriftError: It is not a footer, or the file is encrypted or split.
    """
    footer = Cursor(content).struct()
    if _ENCRYPTION in footer:
        raise ThriftError("it is encrypted")
    leaves = _leaves(footer.structs(_SCHEMA))
    groups = []
    for group in footer.structs(_GROUPS):
        chunks = group.structs(_COLUMNS)
        if len(chunks) != len(leaves):
            raise ThriftError("a row group does not have the columns of the schema")
        columns = (_column(chunk, *leaf) for chunk, leaf in zip(chunks, leaves, strict=True))
        groups.append(Group(group.whole(_GROUP_ROWS), tuple(columns)))
    pairs = footer.structs(_KEY_VALUES) if _KEY_VALUES in footer else []
    metadata = {pair.content(_KEY): pair.content(_VALUE) for pair in pairs if _VALUE in pair}
    return Footer(footer.whole(_ROWS), tuple(groups), metadata)


def _leaves(schema: list[Struct]) -> list[tuple[str, bool]]:
    """Return the path of each column, and whether it is repeated, of a tree in pre-order."""
    leaves = []
    # Names, repetition, and the number of children to come, from the root down.
    open_nodes: list[tuple[tuple[str, ...], bool, int]] = []
    for place, element in enumerate(schema):
        names: tuple[str, ...] = ()
        is_repeated = False
        if place:
            while open_nodes and not open_nodes[-1][2]:
                open_nodes.pop()
            if not open_nodes:
                raise ThriftError("its schema is not a tree")
            if len(open_nodes) > _MAX_NESTING:
                raise ThriftError(f"its columns are nested more than {_MAX_NESTING} deep")
            above, is_repeated, left = open_nodes[-1]
            open_nodes[-1] = above, is_repeated, left - 1
            name = element.content(_NAME)
            if sum(map(len, above)) + len(name) > _MAX_PATH:
                raise ThriftError(f"a column's name has more than {_MAX_PATH} characters")
            names = (*above, name.decode("utf-8", "replace"))
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
    kind = metadata.whole(_TYPE)
    start = metadata.whole(_DATA_OFFSET)
    dictionary = metadata.whole(_DICTIONARY_OFFSET, 0)
    column = Column(
        path,
        kind == _BYTE_ARRAY,
        kind in (_INT32, _INT64),
        is_repeated,
        metadata.whole(_VALUES),
        # Some writers have 0 for a column without a dictionary.
        min(start, dictionary) if dictionary > 0 else start,
        metadata.whole(_LENGTH),
    )
    _check_encodings(column, metadata.wholes(_ENCODINGS))
    return column


def _check_encodings(column: Column, encodings: list[int]) -> None:
    known = _KNOWN_ENCODINGS | ({_DELTA_BINARY_PACKED} if column.is_whole else set())
    if not set(encodings) <= known:
        raise ThriftError(f"column {column.path!r} has an encoding that is not taken")


def read_pages(handle: BinaryIO, column: Column) -> list[Page]:
    """Return headers of a column's pages.

    Args:
      handle: The file.
      column: One of its columns.

    Raises:
      ThriftError: The bytes are not pages, or the pages do not fill the column.
    """
    pages: list[Page] = []
    place, end = column.start, column.start + column.length
    while place < end:
        if len(pages) >= _MAX_PAGES:
            raise ThriftError(f"column {column.path!r} has more than {_MAX_PAGES} pages")
        header, n_bytes = _page_header(handle, place, end)
        kind = header.whole(_PAGE_TYPE)
        uncompressed, compressed = header.whole(_UNCOMPRESSED), header.whole(_COMPRESSED)
        if kind not in _HEADERS or uncompressed < 0 or compressed < 0:
            raise ThriftError(f"column {column.path!r} has a page of no known kind or size")
        number, encoding = _HEADERS[kind]
        details = header.struct(number)
        _check_encodings(column, [details.whole(encoding)])
        n_values = details.whole(1)
        if n_values < 0:
            raise ThriftError(f"column {column.path!r} has a page without values")
        pages.append(Page(kind == _DICTIONARY_PAGE, n_values, uncompressed))
        place += n_bytes + compressed
    if place != end:
        raise ThriftError(f"column {column.path!r} is longer than its pages, or shorter")
    return pages


def _page_header(handle: BinaryIO, place: int, end: int) -> tuple[Struct, int]:
    """Return the header of the page at `place`, and its length [bytes]."""
    for most in (_USUAL_HEADER, _MAX_HEADER):
        handle.seek(place)
        cursor = Cursor(handle.read(min(most, end - place)))
        try:
            return cursor.struct(), cursor.place
        except ThriftError:
            if most == _MAX_HEADER or end - place <= most:
                raise
    raise AssertionError("the last length returns or raises")
