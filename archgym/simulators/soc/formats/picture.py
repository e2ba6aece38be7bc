"""Pictures of a system: its tasks over time, its blocks, and the task graph, as SVG."""

from typing import Final

import numpy as np

from archgym.files import svg
from archgym.simulators.soc.kernel.graph import TaskGraph
from archgym.simulators.soc.kernel.state import DRAM, OWN, BoundBy, Designs, Log
from archgym.simulators.soc.metrics import COLUMNS

# Okabe and Ito, *Color Universal Design*, 2008: told apart by every kind of eye.
_COLOURS: Final = {
    BoundBy.PE: ("#0072B2", "processing element"),
    BoundBy.MEMORY: ("#D55E00", "memory"),
    BoundBy.BUS: ("#009E73", "bus"),
    BoundBy.WAITING: ("#BBBBBB", "waiting for its processor"),
}
_KB: Final = 1000.0


def gantt_svg(graph: TaskGraph, designs: Designs, log: Log) -> str:
    """Return a chart of tasks over phases; colours say what bounds each task."""
    n_phases = int(np.flatnonzero(log.length_s).max(initial=0)) + 1
    ends = np.cumsum(log.length_s[:n_phases]).tolist()
    order = sorted(range(len(graph.tasks)), key=lambda t: (log.task[t, 0], log.task[t, 1], t))
    rows = [
        svg.TimeRow(graph.names[t], _unit(designs, t), _bars(graph, log, ends, t))
        for t in order
        if not graph.tasks[t].is_dummy
    ]
    heading = f"{graph.name}: {svg.duration(ends[-1] or 1.0)}, {n_phases} phases"
    legend = ("bound by:", list(_COLOURS.values()))
    return svg.timeline_svg(f"Tasks of {graph.name} over time", heading, rows, ends, legend)


def _unit(designs: Designs, t: int) -> str:
    on = int(designs.on[0, t])
    if on != OWN:
        return f"processor {on}"
    return f"own x{designs.unroll[0, t]:g} at {100 * designs.clock[0, t]:g} MHz"


def _bars(graph: TaskGraph, log: Log, ends: list[float], t: int) -> list[svg.Bar]:
    bars = []
    for phase, end in enumerate(ends):
        length = float(log.length_s[phase])
        kind, block = divmod(int(log.bound[phase, t]), BoundBy.STRIDE)
        # A code is left from the phase's start, also where the task has ended before.
        is_within = log.task[t, 0] <= end - length / 2 <= log.task[t, 1]
        if kind == BoundBy.IDLE or length == 0.0 or not is_within:
            continue
        colour, label = _COLOURS[kind]
        of = f" {block}" if kind in (BoundBy.MEMORY, BoundBy.BUS) else ""
        tip = f"{graph.names[t]}, phase {phase}: {svg.duration(length)}, {label}{of}"
        bars.append(svg.Bar(end - length, length, colour, tip, kind == BoundBy.WAITING))
    return bars


def diagram_svg(graph: TaskGraph, designs: Designs, log: Log, values: np.ndarray) -> str:
    """Return a block diagram: processing elements above their bus, memories below.

    Args:
      graph: The task graph.
      designs, log: One design as blocks, and its phases.
      values: (n_metrics,), the design's metrics.
    """
    above, below = _blocks(graph, designs, log)
    used = sorted({*above, *below} | _passed(designs, {*above, *below}))
    lines = {
        b: svg.BoxLine(
            f"bus {b}: {designs.bus_peak[0, b] / 1e9:.4g} GB/s each way",
            above.get(b, []),
            below.get(b, []),
        )
        for b in used
    }
    links = [(b, c) for b in used for c in used if c > b and designs.links[0, b] >> c & 1]
    value = dict(zip(COLUMNS, values.tolist(), strict=False))
    heading = (
        f"{graph.name}: {svg.duration(value['latency_s'])}, {1e3 * value['power_w']:.3g} mW, "
        f"{value['area_mm2']:.3g} mm2"
    )
    return svg.box_lines_svg(f"Blocks of {graph.name}", heading, lines, links)


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
            speed = [f"unroll {designs.unroll[0, t]:g}", f"{100 * designs.clock[0, t]:g} MHz"]
            lines = [graph.names[t], "accelerator", *speed]
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


def graph_svg(graph: TaskGraph) -> str:
    """Return the task graph in layers, each task below its parents."""
    nodes = [
        svg.GraphBox(
            task.name,
            "#EEEEEE" if task.is_dummy else "#E3EEF6" if task.accelerator else "#FFFFFF",
            f"{task.name}: {task.work:.4g} instructions",
        )
        for task in graph.tasks
    ]
    edges = [(e.parent, e.child, f"{e.bytes / _KB:.3g} kB") for e in graph.edges]
    heading = f"{graph.name}: {len(graph.tasks)} tasks"
    return svg.layered_graph_svg(f"Task graph {graph.name}", heading, nodes, graph.layers, edges)
