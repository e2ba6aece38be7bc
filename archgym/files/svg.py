"""Pictures as SVG text: bars over time, boxes on lines, and graphs in layers.

They hold no date and no random names, so the same content gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

_STYLE: Final = (
    "<style>text{font:11px sans-serif;fill:#222}.s{font-size:10px;fill:#555}"
    ".t{font-size:13px;font-weight:bold}"
    # A white edge, so that lines behind a label leave it readable.
    ".h{paint-order:stroke;stroke:#fff;stroke-width:3px}</style>"
)
# chosen: pixels at which ten letters of 11 px fit a box and a chart fits a page.
_WIDTH: Final = 900
_LEAST_WIDTH: Final = 480
_ROW: Final = 18
_BAR: Final = 12
_LABEL: Final = 190
_MARGIN: Final = 16
_BOX: Final = 128
_LINES: Final = 4
_ACROSS: Final = 7
_LETTERS: Final = 21
_LAYER: Final = 70
# Mean width of a character of 10 px, in sans-serif.
_LETTER: Final = 5.6


def duration(seconds: float) -> str:
    """Return a time in the largest unit in which it is at least 1."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f'<title>{escape(title)}</title>{_STYLE}<rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    end = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}{end}>{escape(text)}</text>'


def _rect(x: float, y: float, w: float, h: float, fill: str, tip: str = "", edge: str = "") -> str:
    stroke = f' stroke="{edge}"' if edge else ""
    inside = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(w, 0.3):.2f}" height="{h:.2f}" '
        f'fill="{fill}"{stroke}>{inside}</rect>'
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, tip: str = ""
) -> str:
    inside = f"><title>{escape(tip)}</title></line>" if tip else "/>"
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{inside}'
    )


# ---- bars over time


class Bar(NamedTuple):
    """Stretch of time of one row.

    Attributes:
      start_s, length_s: Begin and length [s].
      colour: Colour as SVG has it.
      tip: Text that a pointer shows.
      is_thin: True for a bar of a third of the height.
    """

    start_s: float
    length_s: float
    colour: str
    tip: str
    is_thin: bool = False


class TimeRow(NamedTuple):
    """Row of a chart: its label, a note in small letters, and its bars."""

    label: str
    note: str
    bars: Sequence[Bar]


def timeline_svg(
    title: str,
    heading: str,
    rows: Sequence[TimeRow],
    marks_s: Sequence[float],
    legend: tuple[str, Sequence[tuple[str, str]]],
) -> str:
    """Return a chart of rows over time.

    Args:
      title: Title of the document.
      heading: Line above the chart.
      rows: Rows from the top.
      marks_s: Times with a vertical line, the last one being the end [s].
      legend: A text, and colours with their meaning.
    """
    total = marks_s[-1] or 1.0
    top = 58
    bottom = top + _ROW * len(rows)
    width = _WIDTH - _LABEL - _MARGIN
    parts = [_text(_MARGIN, 20, heading, "t"), _text(_MARGIN, 38, legend[0], "s")]
    x = _MARGIN + 56.0
    for colour, label in legend[1]:
        parts += [_rect(x, 29, 10, 10, colour), _text(x + 14, 38, label, "s")]
        x += 30 + 6 * len(label)
    for end in (0.0, *marks_s):
        x = _LABEL + width * end / total
        parts.append(_line(x, top - 4, x, bottom, "#DDDDDD"))
    for number, row in enumerate(rows):
        y = top + _ROW * number
        parts.append(_text(_MARGIN, y + 10, row.label))
        parts.append(_text(_LABEL - 6, y + 10, row.note, "s", "end"))
        for bar in row.bars:
            height = _BAR / 3 if bar.is_thin else _BAR
            x, length = _LABEL + bar.start_s * (width / total), bar.length_s * (width / total)
            parts.append(_rect(x, y + (_BAR - height) / 2, length, height, bar.colour, bar.tip))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "start" if share == 0.0 else "end" if share == 1.0 else "middle"
        at, label = _LABEL + share * width, duration(share * total) if share else "0"
        parts.append(_text(at, bottom + 14, label, "s", anchor))
    return _svg(_WIDTH, bottom + 24, title, parts)


# ---- boxes on lines


class BoxLine(NamedTuple):
    """Horizontal line, such as a bus, with boxes of text above and below it."""

    label: str
    above: Sequence[Sequence[str]]
    below: Sequence[Sequence[str]]


def box_lines_svg(
    title: str, heading: str, lines: Mapping[int, BoxLine], links: Sequence[tuple[int, int]]
) -> str:
    """Return a diagram of lines with boxes, a line with many boxes in several rows.

    Args:
      title: Title of the document.
      heading: Line above the diagram.
      lines: Lines from the top, by number.
      links: Pairs of numbers of lines that are joined at the left.
    """
    widest = max(len(boxes) for line in lines.values() for boxes in (line.above, line.below))
    indent = _MARGIN + 14 * (len(lines) + 1)
    width = max(indent + min(widest, _ACROSS) * (_BOX + 10) + _MARGIN, _LEAST_WIDTH)
    parts = [_text(_MARGIN, 20, heading, "t")]
    y = 36.0
    line_at: dict[int, float] = {}
    height = 20 + 12 * _LINES
    for number, line in lines.items():
        for first in range(0, max(len(line.above), len(line.below), 1), _ACROSS):
            shown = line.above[first : first + _ACROSS]
            held = line.below[first : first + _ACROSS]
            y += height + 14 if shown else 0
            parts += _boxes(shown, indent, y - height - 14, "#E3EEF6", y - 14, y)
            parts.append(_line(indent - 6, y, width - _MARGIN, y, "#222222", 4))
            if first:
                parts.append(_line(indent - 6, line_at[number], indent - 6, y, "#222222", 4))
            else:
                line_at[number] = y
                parts.append(_text(width - _MARGIN, y + 13, line.label, "s", "end"))
            parts += _boxes(held, indent, y + 14, "#FBEBDD", y + 14, y)
            y += (height + 14 if held else 0) + 26
    for one, other in links:
        x = _MARGIN + 14 * list(lines).index(one)
        parts += [
            _line(x, line_at[one], indent - 6, line_at[one], "#222222", 2),
            _line(x, line_at[one], x, line_at[other], "#222222", 2),
            _line(x, line_at[other], indent - 6, line_at[other], "#222222", 2),
        ]
    return _svg(width, y + 4, title, parts)


def _boxes(
    boxes: Sequence[Sequence[str]], x: float, y: float, fill: str, from_y: float, to_y: float
) -> list[str]:
    parts = []
    for place, lines in enumerate(boxes):
        left = x + place * (_BOX + 10)
        parts.append(_rect(left, y, _BOX, 20 + 12 * _LINES, fill, ", ".join(lines), "#888888"))
        for row, line in enumerate(lines):
            parts.append(_text(left + 6, y + 15 + 13 * row, _fitting(line), "s" if row else ""))
        parts.append(_line(left + _BOX / 2, from_y, left + _BOX / 2, to_y, "#222222", 2))
    return parts


def _fitting(text: str) -> str:
    """Return the part of a text that fits a box; the tip of the box has all of it."""
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


# ---- graphs in layers


class GraphBox(NamedTuple):
    """Node of a graph: its name, colour, and the text that a pointer shows."""

    name: str
    colour: str
    tip: str


def layered_graph_svg(
    title: str,
    heading: str,
    nodes: Sequence[GraphBox],
    depth: Sequence[int],
    edges: Sequence[tuple[int, int, str]],
) -> str:
    """Return a graph without cycles, each node below its parents.

    Args:
      title: Title of the document.
      heading: Line above the graph.
      nodes: Nodes by number.
      depth: Layer of each node; a child's is larger than its parents'.
      edges: Parent, child and label.
    """
    layers: dict[int, list[int]] = {}
    for node, layer in enumerate(depth):
        layers.setdefault(layer, []).append(node)
    width = max(max(map(len, layers.values())) * (_BOX + 14) + 2 * _MARGIN, _LEAST_WIDTH)
    centre: dict[int, tuple[float, float]] = {}
    for layer in sorted(layers):
        # Nodes stand below their parents, so that few edges cross.
        above: dict[int, list[float]] = {}
        for parent, child, _ in edges:
            if parent in centre:
                above.setdefault(child, []).append(centre[parent][0])
        mean = {
            node: sum(above[node]) / len(above[node]) for node in layers[layer] if node in above
        }
        members = sorted(layers[layer], key=lambda node: mean.get(node, 0.0))
        for place, node in enumerate(members):
            centre[node] = (width * (place + 0.5) / len(members), 50.0 + _LAYER * layer)
    parts = []
    labels = []
    taken = [(x - _BOX / 2, y - 14, x + _BOX / 2, y + 14) for x, y in centre.values()]
    for parent, child, label in edges:
        (x1, y1), (x2, y2) = centre[parent], centre[child]
        tip = f"{nodes[parent].name} to {nodes[child].name}: {label}"
        parts.append(_line(x1, y1 + 14, x2, y2 - 14, "#999999", tip=tip))
        at = _free_place((x1, y1 + 14), (x2, y2 - 14), len(label), taken)
        if at is not None:
            labels.append(_text(at[0], at[1] + 3, label, "s h", "middle"))
    hidden = len(edges) - len(labels)
    if hidden:
        heading += f"; point at an edge for its label ({hidden} of {len(edges)} have no room)"
    parts.insert(0, _text(_MARGIN, 20, heading, "t"))
    for node, (x, y) in centre.items():
        box = nodes[node]
        parts.append(_rect(x - _BOX / 2, y - 14, _BOX, 28, box.colour, box.tip, "#888888"))
        parts.append(_text(x, y + 4, _fitting(box.name), "", "middle"))
    return _svg(width, 50 + _LAYER * len(layers), title, parts + labels)


def _free_place(
    start: tuple[float, float],
    end: tuple[float, float],
    n_letters: int,
    taken: list[tuple[float, float, float, float]],
) -> tuple[float, float] | None:
    """Reserve and return the first position along an edge where a label overlaps nothing."""
    half, tall = n_letters * _LETTER / 2, 6.0
    span = end[1] - start[1]
    down = 12.0
    while down <= span - 6.0:
        x, y = start[0] + (end[0] - start[0]) * down / span, start[1] + down
        left, top, right, bottom = x - half, y - tall, x + half, y + tall
        if not any(
            left < x1 and right > x0 and top < y1 and bottom > y0 for x0, y0, x1, y1 in taken
        ):
            taken.append((left, top, right, bottom))
            return x, y
        down += 6.0
    return None
