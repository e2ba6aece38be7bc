"""Short texts and HTML tables with which notebooks show objects."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Any

# chosen: a screen of a terminal; what is longer hides the cell that printed it.
_MAX_TEXT = 1000
# chosen: two screens of a notebook.
_MAX_ROWS = 60
_MAX_CELL = 200


def cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file that no spreadsheet takes for a formula.

    >>> cell("=1+1"), cell((4, 2)), cell(-1.5)
    ("'=1+1", '4 2', -1.5)
    """
    if isinstance(value, tuple):
        return " ".join(str(part) for part in value)
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


def shortened(parts: Iterable[str], opening: str, closing: str = ")") -> str:
    """Return parts joined by commas between brackets, at most 1,000 characters.

    >>> shortened(["ways=4", "size_kib=32"], "Design(")
    'Design(ways=4, size_kib=32)'

    Args:
      parts: Such as ``name=value``.
      opening: Text before the parts.
      closing: Text after them.
    """
    texts = list(parts)
    shown = f"{opening}{', '.join(texts)}{closing}"
    if len(shown) <= _MAX_TEXT:
        return shown
    kept: list[str] = []
    room = _MAX_TEXT - len(opening) - len(closing) - len(f", … {len(texts)} more")
    for text in texts:
        if room < len(text) + 2:
            break
        room -= len(text) + 2
        kept.append(text)
    kept.append(f"… {len(texts) - len(kept)} more")
    return f"{opening}{', '.join(kept)}{closing}"


def html_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table with a caption; numbers have six digits, long tables are cut.

    Args:
      caption: Text above the table.
      columns: Headings of the columns; none for a table without a heading.
      rows: Cells by row.
    """
    lines = iter(rows)
    body = [_row("td", row) for row in islice(lines, _MAX_ROWS)]
    left = sum(1 for _ in lines)
    if left:
        body.append(f"<tr><td>… {left} more</td></tr>")
    head = f"<thead>{_row('th', columns)}</thead>" if columns else ""
    return (
        f"<table><caption>{escape(caption)}</caption>{head}<tbody>{''.join(body)}</tbody></table>"
    )


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_cell(cell)}</{tag}>" for cell in cells) + "</tr>"


def _cell(cell: object) -> str:
    text = f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return escape(text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…")
