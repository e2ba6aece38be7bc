"""Pictures of a system: its tasks over time, its blocks, and the task graph, as SVG."""

from html import escape
from typing import Final

import numpy as np

from archgym.simulators.soc.graph import TaskGraph
from archgym.simulators.soc.metrics import COLUMNS
from archgym.simulators.soc.state import DRAM, OWN, BoundBy, Designs, Log

__all__ = ["diagram_svg", "gantt_svg", "graph_svg"]

# Okabe and Ito, *Color Universal Design*, 2008: told apart by every kind of eye.
_COLOURS: Final = {
    BoundBy.PE: ("#0072B2", "processing element"),
    BoundBy.MEMORY: ("#D55E00", "memory"),
    BoundBy.BUS: ("#009E73", "bus"),
    BoundBy.WAITING: ("#BBBBBB", "waiting for its processor"),
}
_STYLE: Final = (
    "<style>text{font:11px sans-serif;fill:#222}.s{font-size:10px;fill:#555}"
    ".t{font-size:13px;font-weight:bold}"
    # A white edge, so that lines behind a label leave it readable.
    ".h{paint-order:stroke;stroke:#fff;stroke-width:3px}</style>"
)
_WIDTH: Final = 900
_ROW: Final = 18
_BAR: Final = 12
_LABEL: Final = 190
_MARGIN: Final = 16
_BOX: Final = 128
_LINES: Final = 4
_ACROSS: Final = 7
_KB: Final = 1000.0


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


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0) -> str:
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{colour}" '
        f'stroke-width="{width:g}"/>'
    )


def _time(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def _unit(names: tuple[str, ...], designs: Designs, t: int) -> str:
    on = int(designs.on[0, t])
    if on != OWN:
        return f"processor {on}"
    return f"own x{designs.unroll[0, t]:g} at {100 * designs.clock[0, t]:g} MHz"


# ---- tasks over time


def gantt_svg(graph: TaskGraph, designs: Designs, log: Log) -> str:
    """Return a chart of tasks over phases; colours say what bounds each task."""
    n_phases = int(np.flatnonzero(log.length_s).max(initial=0)) + 1
    ends = np.cumsum(log.length_s[:n_phases])
    total = float(ends[-1]) or 1.0
    order = sorted(range(len(graph.tasks)), key=lambda t: (log.task[t, 0], log.task[t, 1], t))
    shown = [t for t in order if not graph.tasks[t].is_dummy]
    top = 58
    bottom = top + _ROW * len(shown)
    width = _WIDTH - _LABEL - _MARGIN
    parts = [_text(_MARGIN, 20, f"{graph.name}: {_time(total)}, {n_phases} phases", "t")]
    parts += _legend(_MARGIN, 38)
    for end in (0.0, *ends.tolist()):
        x = _LABEL + width * end / total
        parts.append(_line(x, top - 4, x, bottom, "#DDDDDD"))
    for row, t in enumerate(shown):
        y = top + _ROW * row
        unit = _unit(graph.names, designs, t)
        parts.append(_text(_MARGIN, y + 10, graph.names[t]))
        parts.append(_text(_LABEL - 6, y + 10, unit, "s", "end"))
        parts += _bars(graph, log, ends, t, y, width / total)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "start" if share == 0.0 else "end" if share == 1.0 else "middle"
        at = _LABEL + share * width
        parts.append(_text(at, bottom + 14, _time(share * total) if share else "0", "s", anchor))
    return _svg(_WIDTH, bottom + 24, f"Tasks of {graph.name} over time", parts)


def _legend(x: float, y: float) -> list[str]:
    parts = [_text(x, y, "bound by:", "s")]
    x += 56
    for colour, label in _COLOURS.values():
        parts += [_rect(x, y - 9, 10, 10, colour), _text(x + 14, y, label, "s")]
        x += 30 + 6 * len(label)
    return parts


def _bars(
    graph: TaskGraph, log: Log, ends: np.ndarray, t: int, y: float, scale: float
) -> list[str]:
    parts = []
    for phase, end in enumerate(ends.tolist()):
        length = float(log.length_s[phase])
        code = int(log.bound[phase, t])
        # A code is left from the phase's start, also where the task has ended before.
        is_within = log.task[t, 0] <= end - length / 2 <= log.task[t, 1]
        if code == BoundBy.IDLE or length == 0.0 or not is_within:
            continue
        kind, block = divmod(code, BoundBy.STRIDE)
        colour, label = _COLOURS[kind]
        of = f" {block}" if kind in (BoundBy.MEMORY, BoundBy.BUS) else ""
        tip = f"{graph.names[t]}, phase {phase}: {_time(length)}, {label}{of}"
        height = _BAR if kind != BoundBy.WAITING else _BAR / 3
        x = _LABEL + (end - length) * scale
        parts.append(_rect(x, y + (_BAR - height) / 2, length * scale, height, colour, tip))
    return parts


# ---- blocks


def diagram_svg(graph: TaskGraph, designs: Designs, log: Log, values: np.ndarray) -> str:
    """Return a block diagram: processing elements above their bus, memories below.

    Args:
      graph: The task graph.
      designs, log: One design as blocks, and its phases.
      values: (n_metrics,), the design's metrics.
    """
    above, below = _blocks(graph, designs, log)
    used = sorted({*above, *below} | _passed(designs, {*above, *below}))
    widest = max(len(boxes) for boxes in [*above.values(), *below.values()])
    indent = _MARGIN + 14 * (len(used) + 1)
    width = max(indent + min(widest, _ACROSS) * (_BOX + 10) + _MARGIN, 480)
    value = dict(zip(COLUMNS, values.tolist(), strict=False))
    title = (
        f"{graph.name}: {_time(value['latency_s'])}, {1e3 * value['power_w']:.3g} mW, "
        f"{value['area_mm2']:.3g} mm2"
    )
    parts = [_text(_MARGIN, 20, title, "t")]
    y = 36.0
    line_at: dict[int, float] = {}
    height = 20 + 12 * _LINES
    for b in used:
        units, stores = above.get(b, []), below.get(b, [])
        # A bus with many blocks continues in further rows.
        for first in range(0, max(len(units), len(stores), 1), _ACROSS):
            shown, held = units[first : first + _ACROSS], stores[first : first + _ACROSS]
            y += height + 14 if shown else 0
            parts += _boxes(shown, indent, y - height - 14, "#E3EEF6", y - 14, y)
            parts.append(_line(indent - 6, y, width - _MARGIN, y, "#222222", 4))
            if first:
                parts.append(_line(indent - 6, line_at[b], indent - 6, y, "#222222", 4))
            else:
                line_at[b] = y
                label = f"bus {b}: {designs.bus_peak[0, b] / 1e9:.4g} GB/s each way"
                parts.append(_text(width - _MARGIN, y + 13, label, "s", "end"))
            parts += _boxes(held, indent, y + 14, "#FBEBDD", y + 14, y)
            y += (height + 14 if held else 0) + 26
    for place, b in enumerate(used):
        for c in used:
            if c > b and designs.links[0, b] >> c & 1:
                x = _MARGIN + 14 * place
                parts += [
                    _line(x, line_at[b], indent - 6, line_at[b], "#222222", 2),
                    _line(x, line_at[b], x, line_at[c], "#222222", 2),
                    _line(x, line_at[c], indent - 6, line_at[c], "#222222", 2),
                ]
    return _svg(width, y + 4, f"Blocks of {graph.name}", parts)


def _blocks(
    graph: TaskGraph, designs: Designs, log: Log
) -> tuple[dict[int, list[list[str]]], dict[int, list[list[str]]]]:
    """Return lines of text of processing elements and memories, by bus."""
    above: dict[int, list[list[str]]] = {}
    below: dict[int, list[list[str]]] = {}
    for p, bus in enumerate(designs.processor_bus[0].tolist()):
        names = [graph.names[t] for t in np.flatnonzero(designs.on[0] == p)]
        if names:
            above.setdefault(bus, []).append([f"processor {p}", *_shortened(names, 3)])
    for t in graph.accelerated:
        if designs.on[0, t] == OWN:
            lines = [
                graph.names[t],
                "accelerator",
                f"unroll {designs.unroll[0, t]:g}",
                f"{100 * designs.clock[0, t]:g} MHz",
            ]
            above.setdefault(int(designs.task_bus[0, t]), []).append(lines)
    for m, bus in enumerate(designs.memory_bus[0].tolist()):
        writers = [
            graph.names[t] for t in np.flatnonzero(designs.task_memory[0] == m) if t != graph.sink
        ]
        if writers:
            kind = "DRAM" if designs.memory_kind[0, m] == DRAM else "SRAM"
            peak = designs.memory_peak[0, m] / 1e9
            lines = [f"{kind} {m}: {log.memory_bytes[m] / _KB:,.0f} kB", f"{peak:.4g} GB/s"]
            below.setdefault(bus, []).append(lines + _shortened(writers, 2))
    return above, below


def _shortened(names: list[str], most: int) -> list[str]:
    """Return names in at most so many lines."""
    if len(names) <= most:
        return names
    return [*names[: most - 1], f"and {len(names) - most + 1} more tasks"]


def _passed(designs: Designs, ends: set[int]) -> set[int]:
    """Return buses that lie between others: all that are linked on a way between two of them."""
    left = set(range(designs.links.shape[1]))
    while True:
        links = designs.links[0]
        loose = {b for b in left - ends if sum(int(links[b]) >> c & 1 for c in left if c != b) < 2}
        if not loose:
            return left
        left -= loose


def _boxes(
    boxes: list[list[str]], x: float, y: float, fill: str, from_y: float, to_y: float
) -> list[str]:
    parts = []
    for place, lines in enumerate(boxes):
        left = x + place * (_BOX + 10)
        tip = ", ".join(lines)
        parts.append(_rect(left, y, _BOX, 20 + 12 * _LINES, fill, tip, "#888888"))
        for row, line in enumerate(lines):
            kind = "s" if row else ""
            parts.append(_text(left + 6, y + 15 + 13 * row, _fitting(line), kind))
        parts.append(_line(left + _BOX / 2, from_y, left + _BOX / 2, to_y, "#222222", 2))
    return parts


def _fitting(text: str) -> str:
    """Return the part of a text that fits a box; the tip of the box has all of it."""
    return text if len(text) <= 21 else f"{text[:20]}…"


# ---- the task graph


def graph_svg(graph: TaskGraph) -> str:
    """Return the task graph in layers, each task below its parents."""
    depth = [0] * len(graph.tasks)
    for t in graph.topological:
        for edge in graph.edges:
            if edge.parent == t:
                depth[edge.child] = max(depth[edge.child], depth[t] + 1)
    layers: dict[int, list[int]] = {}
    for t, layer in enumerate(depth):
        layers.setdefault(layer, []).append(t)
    widest = max(map(len, layers.values()))
    width = max(widest * (_BOX + 14) + 2 * _MARGIN, 480)
    centre: dict[int, tuple[float, float]] = {}
    for layer, tasks in layers.items():
        for place, t in enumerate(tasks):
            centre[t] = (width * (place + 0.5) / len(tasks), 50.0 + 70 * layer)
    parts = [_text(_MARGIN, 20, f"{graph.name}: {len(graph.tasks)} tasks", "t")]
    labels = []
    for edge in graph.edges:
        (x1, y1), (x2, y2) = centre[edge.parent], centre[edge.child]
        parts.append(_line(x1, y1 + 14, x2, y2 - 14, "#999999"))
        # Near the parent, where edges lie apart.
        at = y1 + 14 + 12
        kb = f"{edge.bytes / _KB:.3g} kB"
        labels.append(_text(x1 + (x2 - x1) * (at - y1) / (y2 - y1), at + 3, kb, "s h", "middle"))
    for t, (x, y) in centre.items():
        task = graph.tasks[t]
        fill = "#EEEEEE" if task.is_dummy else "#E3EEF6" if task.accelerator else "#FFFFFF"
        tip = f"{task.name}: {task.work:.4g} instructions"
        parts.append(_rect(x - _BOX / 2, y - 14, _BOX, 28, fill, tip, "#888888"))
        parts.append(_text(x, y + 4, _fitting(task.name), "", "middle"))
    return _svg(width, 50 + 70 * len(layers), f"Task graph {graph.name}", parts + labels)
