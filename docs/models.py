"""Pictures of the simulators' models, as SVG: what a request passes, and where parameters act.

`docs/generate.py` writes docs/pictures/model-NAME.svg. A box names the parameters that belong to
it, by patterns such as `l1d_*`. Each parameter of a simulator's default space belongs to one box,
so a picture that a change of the space makes wrong is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from html import escape
from textwrap import wrap
from typing import Final

__all__ = ["MODELS", "Box", "Model", "model_picture", "model_problems"]

WIDTH: Final = 860
_LINE, _PAD, _GAP = 16, 9, 26


@dataclass(frozen=True)
class Box:
    """Part of a model.

    Attributes:
      name: Title.
      text: One line on what it does.
      parameters: Patterns of the parameters that belong to it.
    """

    name: str
    text: str = ""
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """Boxes in rows; an arrow goes from each row to the next, and to the right within a row.

    Attributes:
      title: Sentence for those who do not see the picture.
      rows: Boxes by row.
      arrows: Pairs of titles, with a label.
    """

    title: str
    rows: tuple[tuple[Box, ...], ...]
    arrows: tuple[tuple[str, str, str], ...]


MODELS: Final[Mapping[str, Model]] = {
    "dram": Model(
        "A trace of requests passes an arbiter and a memory controller into a DRAM channel",
        (
            (
                Box("Trace", "requests with times: the workload"),
                Box("Arbiter", "admits requests", ("arbiter", "max_active_transactions")),
                Box("Address mapping", "bits to bank, row, column", ("address_mapping",)),
            ),
            (
                Box("Response queue", "returns data", ("response_queue",)),
                Box(
                    "Request buffer and scheduler",
                    "one per bank",
                    ("scheduler*", "request_buffer_size"),
                ),
                Box("Bank machines", "open and close rows", ("page_policy",)),
            ),
            (
                Box("Refresh and power-down", "per rank", ("refresh_*", "power_down_policy")),
                Box("Command multiplexer", "one command per clock", ("command_mux",)),
                Box("Device", "timing, currents: option device"),
            ),
        ),
        (
            ("Trace", "Arbiter", ""),
            ("Arbiter", "Address mapping", ""),
            ("Address mapping", "Request buffer and scheduler", ""),
            ("Request buffer and scheduler", "Bank machines", ""),
            ("Bank machines", "Command multiplexer", "commands"),
            ("Refresh and power-down", "Command multiplexer", ""),
            ("Command multiplexer", "Device", ""),
            ("Request buffer and scheduler", "Response queue", "done"),
        ),
    ),
    "cpu": Model(
        "Instructions pass the front end, the out-of-order back end and the caches",
        (
            (
                Box("Branch prediction", "directions, targets", ("branch_predictor",)),
                Box(
                    "Front end",
                    "fetch, decode, dispatch",
                    (
                        "fetch_width",
                        "decode_width",
                        "dispatch_width",
                        "ifetch_buffer",
                        "dispatch_buffer",
                        "dib_sets",
                    ),
                ),
                Box(
                    "Back end",
                    "rename, schedule, execute, retire",
                    ("execute_width", "retire_width", "scheduler", "rob", "registers"),
                ),
            ),
            (
                Box("L1I", "instructions", ("l1i_*",)),
                Box("L1D", "data", ("l1d_*",)),
                Box(
                    "Load and store queues",
                    "forwarding",
                    ("load_width", "store_width", "load_queue", "store_queue"),
                ),
            ),
            (
                Box("TLBs and walks", "ITLB, DTLB, STLB", ("itlb_*", "dtlb_*", "stlb_*")),
                Box("L2 and last level", "shared by both", ("l2_*", "llc_*")),
                Box("DRAM", "channels, banks, open rows", ("dram_*",)),
            ),
        ),
        (
            ("Branch prediction", "Front end", ""),
            ("Front end", "Back end", ""),
            ("L1I", "Front end", ""),
            ("Back end", "Load and store queues", ""),
            ("Load and store queues", "L1D", ""),
            ("L1I", "L2 and last level", ""),
            ("L1D", "L2 and last level", "misses"),
            ("TLBs and walks", "L1D", "walks"),
            ("L2 and last level", "DRAM", "misses"),
        ),
    ),
    "soc": Model(
        "Tasks of a graph run on processors and accelerators, which reach memories over buses",
        (
            (
                Box("Task graph", "work and bytes: option graph"),
                Box("Assignment", "unit and memory of each task", ("*_on", "*_memory")),
            ),
            (
                Box("Processors", "run any task", ("processor*_bus",)),
                Box("Accelerators", "one per task", ("*_unroll", "*_clock", "*_bus")),
            ),
            (
                Box("Buses", "a tree; tasks share channels", ("bus*_*",)),
                Box("Memories", "SRAM or DRAM", ("memory*_*",)),
            ),
        ),
        (
            ("Task graph", "Assignment", ""),
            ("Assignment", "Processors", ""),
            ("Assignment", "Accelerators", ""),
            ("Processors", "Buses", ""),
            ("Accelerators", "Buses", ""),
            ("Buses", "Memories", "reads, writes"),
        ),
    ),
    "noc": Model(
        "Nodes send packets, which routers move flit by flit where buffers have room",
        (
            (
                Box("Nodes", "a load, or a list of packets: the workload"),
                Box(
                    "Topology",
                    "routers, channels and routing",
                    ("topology", "mesh_routing", "cmesh_routing", "channel_width"),
                ),
            ),
            (
                Box(
                    "Input buffers",
                    "virtual channels",
                    ("num_vcs", "vc_buf_size", "wait_for_tail_credit"),
                ),
                Box(
                    "Allocators",
                    "channels and crossbar",
                    ("vc_allocator", "sw_allocator", "routing_delay", "speculative"),
                ),
                Box("Crossbar", "flits to outputs", ("*_speedup",)),
            ),
        ),
        (
            ("Nodes", "Topology", "packets"),
            ("Topology", "Input buffers", ""),
            ("Input buffers", "Allocators", "requests"),
            ("Allocators", "Crossbar", "grants"),
        ),
    ),
    "cluster": Model(
        "A training iteration becomes graphs of computing and collectives on a network of NPUs",
        (
            (
                Box("Model and batch", "layers and bytes: the workload"),
                Box(
                    "Parallelisation",
                    "tensor, data, pipeline, experts",
                    ("zero", "sp", "recompute", "microbatch", "schedule", "inflight", "interleave"),
                ),
                Box("Experts", "exchange of tokens", ("exchanges", "placement")),
            ),
            (
                Box("NPUs", "roofline, memory", ("npu", "npus")),
                Box(
                    "Collectives",
                    "chunks, phases, queues",
                    (
                        "algorithm_*",
                        "splits",
                        "policy",
                        "active_chunks",
                        "optimization",
                        "intra",
                    ),
                ),
                Box("Network", "dimensions of links", ("topology_*", "bandwidth_*", "role_*")),
            ),
        ),
        (
            ("Model and batch", "Parallelisation", ""),
            ("Parallelisation", "Experts", ""),
            ("Parallelisation", "NPUs", "computing"),
            ("Parallelisation", "Collectives", "exchanges"),
            ("Experts", "Collectives", ""),
            ("Collectives", "Network", "messages"),
            ("Collectives", "NPUs", "done"),
        ),
    ),
    "accelerator": Model(
        "Loops of a layer are mapped onto an array of multipliers below a buffer and DRAM",
        (
            (
                Box("Network", "layers as loop nests: the workload"),
                Box("Mapper", "splits, orders and spreads loops", ("dataflow",)),
            ),
            (
                Box("DRAM", "all tensors", ("dram_bandwidth",)),
                Box("Global buffer", "tiles of tensors", ("buffer_*",)),
            ),
            (
                Box("Scratchpads", "words per multiplier", ("*_words",)),
                Box("Array", "multiply-accumulate units", ("array_*", "precision_bits")),
            ),
        ),
        (
            ("Network", "Mapper", ""),
            ("Mapper", "Global buffer", "mapping"),
            ("DRAM", "Global buffer", "fills, updates"),
            ("Global buffer", "Scratchpads", "reads"),
            ("Scratchpads", "Array", ""),
        ),
    ),
    "kv": Model(
        "Requests look for their prefix in the engine's memory, and blocks are evicted by a policy",
        (
            (
                Box("Trace", "requests of sessions: the workload"),
                Box("Blocks", "pieces of a prompt", ("block_tokens",)),
            ),
            (
                Box("Memory", "blocks of keys and values", ("cache_tokens",)),
                Box("Eviction", "order of free blocks", ("policy",)),
            ),
            (Box("Optimum", "most hits of any eviction"),),
        ),
        (
            ("Trace", "Blocks", ""),
            ("Blocks", "Memory", "look-up"),
            ("Eviction", "Memory", "victims"),
            ("Memory", "Optimum", "compared"),
        ),
    ),
    "translation": Model(
        "An access passes two TLBs, a page walk through the data caches, and a mechanism",
        (
            (
                Box("Trace", "accesses: the workload"),
                Box("L1 TLBs", "4 KiB and 2 MiB pages", ("l1_*",)),
                Box("L2 TLB", "unified", ("l2_tlb_*", "tlb_replacement")),
            ),
            (
                Box(
                    "Operating system",
                    "frames, virtual machines",
                    ("huge_page_percent", "fragmentation_percent", "execution"),
                ),
                Box("Page walk", "four levels", ("walk_cache_entries", "nested_tlb_entries")),
                Box(
                    "Mechanism",
                    "makes misses cheaper",
                    ("mechanism", "victima_*", "pom_*", "far_*", "l3_tlb_*", "cluster_pages"),
                ),
            ),
            (
                Box("Core", "clock, window of 224"),
                Box("Data caches", "data, table, TLB blocks", ("l2_cache_*",)),
                Box("DRAM", "channels, banks, rows"),
            ),
        ),
        (
            ("Trace", "L1 TLBs", ""),
            ("L1 TLBs", "L2 TLB", "misses"),
            ("L2 TLB", "Mechanism", "misses"),
            ("Mechanism", "Page walk", "misses"),
            ("Operating system", "Page walk", ""),
            ("Page walk", "Data caches", "entries"),
            ("Data caches", "DRAM", "misses"),
            ("Core", "Data caches", "data"),
        ),
    ),
    "moe": Model(
        "Requests form batches; each layer's experts are hit, loaded or run on the host",
        (
            (
                Box("Requests", "arrivals, routing: the workload"),
                Box("Batching", "steps of tokens", ("scheduler", "max_*", "chunk_tokens")),
                Box("Router", "experts of each token", ("skip_in_64", "rounds")),
            ),
            (
                Box("Prefetch", "loads ahead", ("prefetch", "depth", "width", "target")),
                Box(
                    "Expert cache",
                    "in the accelerator's memory",
                    ("cache_percent", "scope", "admission", "replacement", "staging_experts"),
                ),
                Box("Accelerator", "attention, experts", ("expert_bits", "low_bits")),
            ),
            (
                Box("Host memory, drive", "the other experts", ("host_gb",)),
                Box("Host link", "one load after the other", ("link_order", "chunk_kib")),
                Box("Host processor", "runs what is missing", ("cpu_rule",)),
            ),
        ),
        (
            ("Requests", "Batching", ""),
            ("Batching", "Router", ""),
            ("Router", "Expert cache", "which experts"),
            ("Prefetch", "Expert cache", ""),
            ("Expert cache", "Accelerator", "hits"),
            ("Host memory, drive", "Host link", ""),
            ("Host link", "Expert cache", "loads"),
            ("Expert cache", "Host processor", "misses"),
        ),
    ),
}


def model_picture(name: str) -> str:
    """Return the SVG text of a simulator's model. It has a background, so any theme suits."""
    model = MODELS[name]
    widths = [(WIDTH - _GAP * (len(row) + 1)) / len(row) for row in model.rows]
    texts = {
        box.name: _lines(box, width)
        for row, width in zip(model.rows, widths, strict=True)
        for box in row
    }
    places: dict[str, tuple[float, float, float, float]] = {}
    top = float(_GAP)
    for row, width in zip(model.rows, widths, strict=True):
        height = max(_LINE * (len(texts[box.name]) + 1) + 2 * _PAD for box in row)
        for number, box in enumerate(row):
            places[box.name] = (_GAP + number * (width + _GAP), top, width, height)
        top += height + 1.6 * _GAP
    bottom = top - 0.6 * _GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom:.0f}" '
        'font-family="sans-serif" font-size="14" role="img">',
        f"<title>{escape(model.title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0L8,4L0,8z" fill="#44617f"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{bottom:.0f}" rx="8" fill="#ffffff"/>',
    ]
    for source, target, label in model.arrows:
        lines += _arrow(places[source], places[target], label)
    for box_name, (x, y, width, height) in places.items():
        lines += _box(box_name, texts[box_name], x, y, width, height)
    return "\n".join([*lines, "</svg>", ""])


def _lines(box: Box, width: float) -> list[tuple[str, bool]]:
    """Return lines of a box, each with True for names of parameters."""
    lines = [(box.text, False)] if box.text else []
    # chosen: letters of 12 pixels are 7.3 pixels wide in common monospaced fonts.
    wrapped = wrap("  ".join(box.parameters), int((width - 2 * _PAD) / 7.3), break_on_hyphens=False)
    return lines + [(" ".join(line.split()), True) for line in wrapped]


def _box(
    name: str, lines: Sequence[tuple[str, bool]], x: float, y: float, width: float, height: float
) -> Iterator[str]:
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" '
        'fill="#e8eef7" stroke="#5b7083"/>'
    )
    middle = x + width / 2
    yield (
        f'<text x="{middle:.1f}" y="{y + _PAD + 11:.1f}" text-anchor="middle" font-weight="bold" '
        f'fill="#1b1f24">{escape(name)}</text>'
    )
    for number, (text, is_code) in enumerate(lines, 1):
        style = 'font-family="monospace" font-size="12" fill="#1d4f91"' if is_code else ""
        style = style or 'font-size="13" fill="#3a4654"'
        at = y + _PAD + 11 + number * _LINE
        yield (
            f'<text x="{middle:.1f}" y="{at:.1f}" text-anchor="middle" {style}>'
            f"{escape(text)}</text>"
        )


def _arrow(
    source: tuple[float, float, float, float],
    target: tuple[float, float, float, float],
    label: str,
) -> Iterator[str]:
    """Yield a straight arrow between the nearest sides of two boxes, and its label."""
    x0, y0, w0, h0 = source
    x1, y1, w1, h1 = target
    if abs(y0 - y1) < 1:
        start = (x0 + w0 if x1 > x0 else x0, y0 + h0 / 2)
        end = (x1 if x1 > x0 else x1 + w1, y1 + h1 / 2)
    else:
        start = (x0 + w0 / 2, y0 + h0 if y1 > y0 else y0)
        end = (x1 + w1 / 2, y1 if y1 > y0 else y1 + h1)
        # Two arrows that meet at one side do not end in one point.
        shift = max(-1.0, min(1.0, (x0 - x1) / WIDTH)) * w1 * 0.35
        end = (end[0] + shift, end[1])
    yield (
        f'<path d="M{start[0]:.1f},{start[1]:.1f}L{end[0]:.1f},{end[1]:.1f}" stroke="#44617f" '
        'stroke-width="1.5" marker-end="url(#head)"/>'
    )
    if label and abs(start[1] - end[1]) > 1:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        yield (
            f'<text x="{x + 6:.1f}" y="{y + 4:.1f}" font-size="12" fill="#3a4654" '
            f'stroke="#ffffff" stroke-width="4" paint-order="stroke">{escape(label)}</text>'
        )


def model_problems(name: str, parameters: Sequence[str]) -> Iterator[str]:
    """Yield a message for each parameter without a box, and each pattern without a parameter."""
    patterns = [p for row in MODELS[name].rows for box in row for p in box.parameters]
    for parameter in parameters:
        if not any(fnmatchcase(parameter, pattern) for pattern in patterns):
            yield f"docs/models.py: no box of {name!r} has the parameter {parameter!r}"
    for pattern in patterns:
        if not any(fnmatchcase(parameter, pattern) for parameter in parameters):
            yield f"docs/models.py: no parameter of {name!r} is like {pattern!r}"
