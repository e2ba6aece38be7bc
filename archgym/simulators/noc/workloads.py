"""Traffic: loads that nodes make by themselves, lists of packets, and files of them."""

import csv
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from archgym.simulators.kit import FileFormatError, InvalidArgumentError, unknown_name
from archgym.simulators.noc.runs import Packets
from archgym.simulators.noc.state import Ints

_MASK: Final = 2**64 - 1
WIDTH_BITS: Final = 128
"""Width of a flit in lists and loads [bit]; a design of another width sends more or fewer flits."""
_MOST: Final = 2**20
_MOST_FLITS: Final = 2**23
# chosen: 8 million flits are 512 MiB of times where a design has narrow channels.
# chosen: this many packets of a file take seconds, and no sum of its cycles overflows.
_LAST: Final = 2**40
COLUMNS: Final = ("cycle", "source", "destination", "flits", "waits_for")
_MORE: Final[tuple[list[str], ...]] = ([], ["waits_for"], ["type"], ["type", "waits_for"])
LOADS: Final = ("uniform", "transpose", "bitcomp", "shuffle", "neighbor", "tornado")
"""Patterns of BookSim that nodes make by themselves."""


@dataclass(frozen=True)
class Traffic:
    """What designs carry: a load of nodes, or a list of packets.

    Attributes:
      name: Name of the workload.
      pattern: Pattern of the load; empty for a list.
      packets: The list; its sizes are flits of `WIDTH_BITS`.
      digest: SHA-256 of all that decides a result.
    """

    name: str
    pattern: str
    packets: Packets | None
    digest: str


def _digest(name: str, columns: tuple[Ints, ...] = ()) -> str:
    parts = [name.encode(), *(column.tobytes() for column in columns)]
    return hashlib.sha256(b"/".join(parts)).hexdigest()


def listed(name: str, packets: Packets) -> Traffic:
    """Return a list of packets as traffic."""
    columns = (packets.time, packets.source, packets.target, packets.size)
    return Traffic(name, "", packets, _digest("list", (*columns, packets.kind, packets.waits_for)))


def formula(
    pattern: str, nodes: int, rate: int, cycles: int, sizes: tuple[int, ...], seed: int,
    *, reads: bool = False, write_share: int = 0, burst: tuple[int, int] | None = None,
) -> Packets:  # fmt: skip
    """Return packets of a pattern, drawn with the generator SplitMix64.

    Args:
      pattern: One of `uniform`, `neighbor`, `tornado`, `bitcomp`, `transpose`, `hotspot`, `shift`.
      nodes: Number of nodes.
      rate: Packets of a node in a cycle, in units of 2^-32.
      cycles: Cycles in which packets are made.
      sizes: Sizes that are drawn from [flits].
      seed: Seed of the generator.
      reads: True if packets are reads where none is written.
      write_share: Share of writes, in units of 2^-32.
      burst: Cycles in which a node makes packets, and then none, in turn.
    """
    x, rows = seed, []

    def draw() -> int:
        nonlocal x
        x = (x + 0x9E3779B97F4A7C15) & _MASK
        z = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        return z ^ z >> 31

    side = math.isqrt(nodes)
    target: Mapping[str, Callable[[int, int], int]] = {
        "uniform": lambda s, d: d % nodes,
        "neighbor": lambda s, d: (s + 1) % nodes,
        "tornado": lambda s, d: (s + nodes // 2 - 1 + nodes % 2) % nodes,
        "bitcomp": lambda s, d: nodes - 1 - s,
        "transpose": lambda s, d: (
            s % side * side + s // side if side * side == nodes else nodes - 1 - s
        ),
        "hotspot": lambda s, d: (d >> 8) % (min(4, nodes) if d % 4 == 0 else nodes),
        "shift": lambda s, d: (s + 1 + d % 3) % nodes,
    }
    if pattern not in target:
        raise unknown_name("pattern", pattern, tuple(target))
    for t in range(cycles):
        for s in range(nodes):
            if burst and (t + 7 * s) % sum(burst) >= burst[0]:
                continue
            if draw() >> 32 >= rate:
                continue
            to = target[pattern](s, draw())
            size = sizes[draw() % len(sizes)]
            kind = 1 if reads else 0
            if write_share:
                kind = 2 if draw() >> 32 < write_share else 1
            rows.append((t, s, to, size, kind))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    return Packets.of(*columns)


def _hotspot() -> Packets:
    return formula("hotspot", 64, int(0.02 * 2**32), 1000, (1, 5), 1)


def _requests() -> Packets:
    """Return reads and writes to memory at four corners of 64 nodes, which are answered."""
    plain = formula("uniform", 64, int(0.02 * 2**32), 1000, (1,), 2, write_share=2**30)
    corner = np.array([0, 7, 56, 63])[plain.target % 4]
    size = np.where(plain.kind == 2, 5, 1)
    return Packets.of(plain.time, plain.source, corner, size, plain.kind)


def _all_to_all() -> Packets:
    """Return dispatch and combination of a mixture of experts: 64 nodes, 8 experts a token.

    Experts are drawn with weights 1 / rank^0.5, as measured routers are uneven; an expert's answer
    waits for its tokens and 20 cycles of work.
    """
    rng = np.random.default_rng(7)
    weight = (1.0 + np.arange(64)) ** -0.5
    rows: list[tuple[int, ...]] = []
    for token in range(4):
        for s in range(64):
            for expert in rng.choice(64, 8, replace=False, p=weight / weight.sum()).tolist():
                rows.append((64 * token, s, expert, 4, 0, -1))
    rows += [(20, b, a, 4, 0, i) for i, (_, a, b, *_) in enumerate(rows)]
    return Packets.of(*np.array(rows).T)


def _ring() -> Packets:
    """Return an all-reduce over a ring of 64 accelerators, each step after the one before."""
    rows: list[tuple[int, ...]] = []
    for step in range(24):
        for s in range(64):
            waits = (step - 1) * 64 + (s - 1) % 64 if step else -1
            rows.append((4 if step else 0, s, (s + 1) % 64, 8, 0, waits))
    return Packets.of(*np.array(rows).T)


LISTS: Final[Mapping[str, Callable[[], Packets]]] = {
    "hotspot": _hotspot, "requests": _requests, "all-to-all": _all_to_all, "ring": _ring,
}  # fmt: skip


def shipped(name: str, nodes: int) -> Traffic:
    """Return a workload that ships, for some number of nodes.

    Raises:
      UnknownNameError: There is none of this name.
      InvalidArgumentError: It is for another number of nodes.
    """
    if name in LOADS:
        return Traffic(name, name, None, _digest(name))
    if name not in LISTS:
        raise unknown_name("workload", name, (*LOADS, *LISTS))
    packets = LISTS[name]()
    if nodes != 64:
        raise InvalidArgumentError(f"Workload {name!r} is for 64 nodes; the space has {nodes}.")
    return listed(name, packets)


def read_packets(path: Path, nodes: int) -> Packets:
    """Return the packets of a CSV file: cycle, source, destination, flits, and waits_for.

    `waits_for` may be left out or empty; else it is the number of an earlier packet, from 0, and
    `cycle` then counts from its arrival. `type` may be `read` or `write`, which are answered.

    Raises:
      FileFormatError: A line is not a packet; the error names it.
    """
    rows: list[tuple[int, ...]] = []
    latest: dict[int, int] = {}
    flits = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            if header[:4] != list(COLUMNS[:4]) or sorted(header[4:]) not in _MORE:
                wanted = f"the first line must be `{','.join(COLUMNS)}`; got {header[:6]!r:.80}"
                raise FileFormatError(path, 1, wanted)
            for cells in reader:
                if not cells:
                    continue
                number = reader.line_num
                if problem := _packet(cells, header, rows, latest, nodes):
                    raise FileFormatError(path, number, problem)
                flits += rows[-1][3]
                if len(rows) > _MOST or flits > _MOST_FLITS:
                    most = f"it must have at most {_MOST} packets and {_MOST_FLITS} flits"
                    raise FileFormatError(path, number, most)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(path, None, f"it cannot be read as CSV: {error}") from None
    if not rows:
        raise FileFormatError(path, None, "it has no packets")
    return Packets.of(*np.array(rows, dtype=np.int64).T)


def _packet(
    cells: list[str],
    header: list[str],
    rows: list[tuple[int, ...]],
    latest: dict[int, int],
    nodes: int,
) -> str:
    """Add the packet of a line, or return what is wrong with it."""
    row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
    if not 4 <= len(cells) <= len(header) or not all(
        row[name].isascii() and row[name].isdecimal() and len(row[name]) < 20
        for name in COLUMNS[:4]
    ):
        return f"a line must read like `0,3,12,5`, whole numbers from 0 on; got {cells!r:.60}"
    time, source, target, size = (int(row[name]) for name in COLUMNS[:4])
    for name, node in (("source", source), ("destination", target)):
        if node >= nodes:
            return f"`{name}` must be a node, 0 to {nodes - 1}; got {node}"
    if not 1 <= size < 2**12:
        return f"`flits` must lie in 1 to {2**12 - 1}; got {size}"
    if time >= _LAST:
        return f"`cycle` must be below {_LAST}; got {time}"
    waits, kind = row.get("waits_for", ""), row.get("type", "")
    if waits and not (waits.isascii() and waits.isdecimal() and int(waits[:20]) < len(rows)):
        earlier = f"0 to {len(rows) - 1}" if rows else "and the first has none"
        return f"`waits_for` must be an earlier packet, {earlier}; got {waits:.20}"
    if kind not in ("", "read", "write"):
        return f"`type` must be read or write, or be empty; got {kind!r:.40}"
    if not waits:
        if time < latest.get(source, 0):
            return f"`cycle` of a node must not fall, from {latest[source]}; got {time}"
        latest[source] = time
    kinds = ("", "read", "write")
    rows.append((time, source, target, size, kinds.index(kind), int(waits) if waits else -1))
    return ""
