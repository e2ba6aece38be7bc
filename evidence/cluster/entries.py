"""Graphs from lists of entries, in the form in which reference runs are recorded."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from archgym.errors import InvalidArgumentError
from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.graphs import Graphs, compute_ns, link
from archgym.simulators.cluster.machine.system import COLLECTIVES, System

_KINDS_P2P: Final = {"send": state.SEND, "recv": state.RECEIVE}


def graphs_of_entries(
    system: System,
    graphs: Sequence[Sequence[Mapping[str, Any]]],
    graph_of: Sequence[int],
    groups: Mapping[int, Sequence[int]] | None = None,
) -> Graphs:
    """Return the graphs that lists of entries describe.

    Args:
      system: System that they are for.
      graphs: Distinct graphs. An entry has `kind` and `deps`; `comp` has flops and bytes, or its
        time in `ns`; `coll` type, size and dims (None for all) or group; `send` and `recv` size,
        tag and dst or src; `p2p` size and shift, and stands for a send to NPU + shift and a receive
        from NPU - shift.
      graph_of: Graph of each NPU.
      groups: Members by number.

    Raises:
      InvalidArgumentError: An entry is not valid, or ASTRA-sim would abort on it.
    """
    groups = groups or {}
    n_npus = system.n_npus
    if len(graph_of) != n_npus:
        raise InvalidArgumentError(
            f"`graph_of` must name a graph for each of the {n_npus} NPUs; got {len(graph_of)}."
        )
    numbers = {number: place for place, number in enumerate(sorted(groups))}
    nodes: list[list[int]] = []
    edges: list[tuple[int, int]] = []
    ranges = []
    first_npu = {graph: npu for npu, graph in reversed(list(enumerate(graph_of)))}
    for place, entries in enumerate(graphs):
        first = len(nodes)
        made: list[tuple[int, ...]] = []
        for number, entry in enumerate(entries):
            for row in _rows(system, entry, number, first_npu.get(place, 0), numbers):
                for dep in entry["deps"]:
                    if not 0 <= dep < number:
                        raise InvalidArgumentError(
                            f"`deps` of node {number} must name earlier nodes; got {dep}."
                        )
                    edges += [(before, len(nodes)) for before in made[dep]]
                nodes.append(row)
            made.append(tuple(range(len(nodes) - (2 if entry["kind"] == "p2p" else 1), len(nodes))))
        ranges.append((first, len(nodes) - first))
    table = np.array(nodes, dtype=np.int64).reshape(-1, state.NODE_WORDS)
    spans = np.array(ranges, dtype=np.int64).reshape(-1, 2)
    following = link(table, np.array(edges, dtype=np.int64).reshape(-1, 2), spans)
    slots = np.zeros((n_npus, len(groups)), dtype=np.int64)
    for number, place in numbers.items():
        slots[list(groups[number]), place] = place + 1
    members = tuple(tuple(groups[number]) for number in sorted(groups))
    return Graphs(table, following, spans, np.array(graph_of, dtype=np.int64), members, slots)


def _rows(
    system: System, entry: Mapping[str, Any], number: int, npu: int, groups: Mapping[int, int]
) -> list[list[int]]:
    """Return the nodes of an entry, without their successors."""
    kind = entry["kind"]
    row = [0] * state.NODE_WORDS
    if kind == "comp" and "ns" in entry:
        row[state.AMOUNT] = entry["ns"]
        return [row]
    if kind == "comp":
        if entry["bytes"] <= 0 or entry["flops"] <= 0:
            raise InvalidArgumentError(f"Node {number} must have flops and bytes above 0.")
        row[state.AMOUNT] = compute_ns(system, float(entry["flops"]), float(entry["bytes"]))
        return [row]
    size = entry["size"]
    if size <= 0:
        raise InvalidArgumentError(f"Node {number} must have a size above 0; got {size}.")
    row[state.AMOUNT] = size
    if kind == "coll":
        row[state.KIND] = state.COLLECTIVE
        row[state.TYPE] = COLLECTIVES.index(entry["type"])
        group = entry.get("group") or 0
        if group:
            row[state.MEMBERS] = -1 - groups[group]
        else:
            dims = entry["dims"] or (True,) * len(system.npus)
            row[state.MEMBERS] = sum(1 << d for d, part in enumerate(dims) if part)
        row[state.CAUSE] = state.DATA
        return [row]
    row[state.CAUSE] = state.PIPELINE
    if kind == "p2p":
        row[state.TAG] = number
        row[state.KIND], row[state.PEER] = state.SEND, entry["shift"]
        received = row.copy()
        received[state.KIND], received[state.PEER] = state.RECEIVE, -entry["shift"]
        return [row, received]
    row[state.KIND] = _KINDS_P2P[kind]
    row[state.TAG] = entry["tag"]
    row[state.PEER] = (entry["dst"] if kind == "send" else entry["src"]) - npu
    return [row]
