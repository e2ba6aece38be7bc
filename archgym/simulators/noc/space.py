"""Spaces of networks: 64 nodes of any topology, a small mesh, and chiplets."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from archgym.simulators.kit import (
    Categorical,
    Condition,
    Constraint,
    DesignSpace,
    Ordinal,
    P,
    Parameter,
)
from archgym.simulators.noc.machine import Graph, Network

SPACE_NAMES: Final = ("default", "mesh", "chiplets")
_ALLOCATORS: Final = (
    "islip", "select", "separable_input_first", "separable_output_first", "wavefront",
)  # fmt: skip
_WIDTH: Final = Ordinal(
    name="channel_width", levels=(32, 64, 128, 256), default=128, unit="bit", doc="Width of a flit."
)
_DIE_LATENCY: Final = 27
"""Cycles of a link between dies: Iff et al., *HexaMesh*, DAC 2023, section VI."""
_CHOICES: Final[Mapping[str, Mapping[str, Any]]] = {
    "mesh": {"topology": "mesh", "k": 8, "n": 2},
    "torus": {"topology": "torus", "k": 8, "n": 2, "routing_function": "dim_order"},
    "cmesh": {"topology": "cmesh", "k": 4, "n": 2},
    "fattree": {"topology": "fattree", "k": 4, "n": 3, "routing_function": "nca"},
    "flatfly": {
        "topology": "flatfly", "k": 4, "n": 2, "xr": 2, "routing_function": "ran_min",
    },
}  # fmt: skip
ARRANGEMENTS: Final = ("grid", "brickwall", "hexamesh")
_GROUPS: Final = {
    "topology": ("topology", "mesh_routing", "cmesh_routing", "arrangement", "links"),
    "buffers": ("num_vcs", "vc_buf_size", "channel_width", "wait_for_tail_credit"),
    "router": (
        "vc_allocator", "sw_allocator", "routing_delay", "speculative", "input_speedup",
        "output_speedup", "internal_speedup",
    ),
}  # fmt: skip
GROUPS: Final[Mapping[str, tuple[str, ...]]] = _GROUPS


def _switches(name: str, doc: str, default: int = 0) -> Parameter:
    return Ordinal(name=name, levels=(0, 1), default=default, doc=doc)


def _routers(vcs: tuple[int, ...], default_vcs: int, default_flits: int) -> list[Parameter]:
    allocators = _ALLOCATORS
    return [
        Ordinal(name="num_vcs", levels=vcs, default=default_vcs, doc="Virtual channels of a port."),
        Ordinal(
            name="vc_buf_size", levels=(1, 2, 4, 8, 16), default=default_flits, unit="flits",
            doc="Buffer of a virtual channel.",
        ),
        _WIDTH,
        _switches("wait_for_tail_credit", "A channel is given on only once it is empty."),
        Categorical(name="vc_allocator", choices=allocators, doc="Allocator of channels."),
        Categorical(name="sw_allocator", choices=allocators, doc="Allocator of the crossbar."),
        _switches("routing_delay", "Cycles of routing; 0 looks a router ahead.", 1),
        _switches("speculative", "Crossbar is requested before a channel is granted."),
        Ordinal(name="input_speedup", levels=(1, 2), default=1, doc="Crossbar inputs a port."),
        Ordinal(name="output_speedup", levels=(1, 2), default=1, doc="Crossbar outputs a port."),
        Ordinal(name="internal_speedup", levels=(1, 2), default=1, doc="Steps in a cycle."),
    ]  # fmt: skip


@lru_cache(maxsize=8)
def noc_space(name: str) -> DesignSpace:
    """Return one of `SPACE_NAMES`."""
    if name == "mesh":
        routings = ("dor", "xy_yx", "min_adapt")
        return DesignSpace(
            name,
            [
                Categorical(name="mesh_routing", choices=routings, doc="Routing function."),
                Ordinal(name="num_vcs", levels=(2, 4), default=4, doc="Channels of a port."),
                Ordinal(
                    name="vc_buf_size", levels=(2, 4, 8), default=8, unit="flits",
                    doc="Buffer of a virtual channel.",
                ),
                _WIDTH,
                _switches("routing_delay", "Cycles of routing; 0 looks a router ahead.", 1),
                _switches("speculative", "Crossbar is requested before a channel is granted."),
            ],
        )  # fmt: skip
    if name == "chiplets":
        return DesignSpace(
            name,
            [
                Categorical(name="arrangement", choices=ARRANGEMENTS, doc="Places of the dies."),
                # Links of 27 cycles need longer buffers than those on a chip.
                *_routers((2, 4, 8), 8, 16),
            ],
        )
    every = ("dor", "xy_yx", "adaptive_xy_yx", "valiant", "romm", "min_adapt")
    express = ("dor_no_express", "xy_yx_no_express")
    halved = (
        (P("topology") == "torus")
        | ((P("topology") == "mesh") & (P("mesh_routing") != "dor")
           & (P("mesh_routing") != "min_adapt"))
        | ((P("topology") == "cmesh") & (P("cmesh_routing") == "xy_yx_no_express"))
    )  # fmt: skip
    return DesignSpace(
        name,
        [
            Categorical(name="topology", choices=tuple(_CHOICES), doc="Arrangement of routers."),
            Categorical(name="mesh_routing", choices=every, doc="Routing of a mesh."),
            Categorical(name="cmesh_routing", choices=express, doc="Routing of a cmesh."),
            *_routers((1, 2, 4, 8), 4, 8),
        ],
        constraints=[
            Constraint(
                "loops", ~halved | (P("num_vcs") >= 2),
                "The routing needs two virtual channels, or packets wait in a loop.",
            ),
            Constraint(
                "speedup", P("input_speedup") <= P("num_vcs"),
                "A crossbar input must have a virtual channel.",
            ),
        ],
        conditions=[
            Condition("mesh_routing", P("topology") == "mesh"),
            Condition("cmesh_routing", P("topology") == "cmesh"),
        ],
    )  # fmt: skip


def machine_of(space: str, design: Mapping[str, Any], seed: int = 0) -> tuple[Network, int]:
    """Return the network of a design, and the width of its flits [bit].

    Args:
      space: One of `SPACE_NAMES`.
      design: Values by parameter.
      seed: Seed of routing and of traffic.
    """
    given = dict(design)
    bits = int(given.pop("channel_width"))
    given["internal_speedup"] = float(given.get("internal_speedup", 1))
    mesh, cmesh = given.pop("mesh_routing", "dor"), given.pop("cmesh_routing", "dor_no_express")
    topology = str(given.pop("topology", "mesh"))
    kind = dict(_CHOICES[topology])
    if space == "mesh":
        kind["k"] = 4
    if topology in ("mesh", "cmesh"):
        kind["routing_function"] = mesh if topology == "mesh" else cmesh
    if space == "chiplets":
        graph = dies(str(given.pop("arrangement")), 37)
        kind = {"topology": "anynet", "k": 1, "n": 1, "routing_function": "min", "graph": graph}
    return Network(seed=seed, **kind, **given), bits


@lru_cache(maxsize=32)
def dies(arrangement: str, count: int, by_rows: bool = False) -> Graph:
    """Return an arrangement of dies, each with a router and two nodes.

    Args:
      arrangement: One of `ARRANGEMENTS`.
      count: Number of dies.
      by_rows: True to number the dies of a HexaMesh by rows, not by rings. Of paths that are as
        short, routing takes that of the lowest numbers, which are those of the middle with rings.

    Source: Iff et al., *HexaMesh: Scaling to Hundreds of Chiplets with an Optimized Chiplet
    Arrangement*, DAC 2023: a grid, a brick wall, and rings of hexagons, as far as dies go.
    """
    if arrangement == "hexamesh":
        at = sorted(_rings(count)) if by_rows else _rings(count)
    else:
        side = math.isqrt(count - 1) + 1
        at = [(d % side, d // side) for d in range(count)]
    place = {spot: d for d, spot in enumerate(at)}
    links = []
    for d, (x, y) in enumerate(at):
        near = [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
        if arrangement == "hexamesh":
            near += [(x + 1, y - 1), (x - 1, y + 1)]
        if arrangement == "brickwall":
            shift = 1 if y % 2 else -1
            near += [(x + shift, y + 1), (x + shift, y - 1)]
        links += [(d, place[spot], _DIE_LATENCY) for spot in near if spot in place]
    return Graph(tuple(d // 2 for d in range(2 * count)), tuple(sorted(links)))


def _rings(count: int) -> list[tuple[int, int]]:
    """Return places in axial coordinates, ring by ring around the middle."""
    found, radius = [(0, 0)], 1
    while len(found) < count:
        x, y = -radius, radius
        for dx, dy in ((1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1), (0, 1)):
            for _ in range(radius):
                found.append((x, y))
                x, y = x + dx, y + dy
        radius += 1
    return found[:count]
