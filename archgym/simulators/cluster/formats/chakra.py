"""Chakra execution traces: graphs of the NPUs of a cluster, one file each.

A trace is what ASTRA-sim 2 takes: files PREFIX.0.et, PREFIX.1.et and so on, each a row of
protocol-buffer messages with their lengths: metadata, then nodes. Compute nodes take the time of a
roofline from `num_ops` and `tensor_size`, or the duration that was recorded. Groups of NPUs stand
in a JSON file of lists by name.

Source:
  mlcommons/chakra, `schema/protobuf/et_def.proto`: numbers of fields and of kinds.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from archgym.errors import FileFormatError, InvalidArgumentError
from archgym.files.storage import storage_errors
from archgym.simulators.cluster.kernel.graphs import Graphs, graphs_of_entries
from archgym.simulators.cluster.kernel.system import System

# chosen: far above traces of an iteration; a hostile file ends here.
_MAX_FILE_BYTES: Final = 2**28
_MAX_NODES: Final = 2_000_000
# chosen: 16 TiB, 10^18 operations and 13 days; times of as many as there may be fit int64.
_MAX_BYTES: Final = 2**44
_MAX_FLOPS: Final = 2**60
_MAX_MICROSECONDS: Final = 2**40

_COMPUTE, _SEND, _RECEIVE, _COLLECTIVE = 4, 5, 6, 7
_KINDS: Final = {1: "metadata", 2: "memory load", 3: "memory store", 8: "storage", 9: "batch"}
_COLLECTIVES: Final = {0: "all_reduce", 2: "all_gather", 6: "all_to_all", 7: "reduce_scatter"}
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
# Numbers of `AttributeProto`: whole numbers, a list of flags and a text.
_WHOLE: Final = (7, 9, 11, 13, 27)
_FLAGS, _TEXT = 28, 29


@final
@dataclass(frozen=True)
class Trace:
    """Traces of all NPUs of a cluster.

    Attributes:
      entries: Nodes of each NPU, as `graphs_of_entries` takes them.
      groups: Members of each group of NPUs, by number from 1.
      skipped: Nodes that do nothing here, by kind; what depends on them depends on what they do.
      numbers: Number in the file of each entry, by NPU.
    """

    entries: tuple[tuple[Mapping[str, Any], ...], ...]
    groups: Mapping[int, tuple[int, ...]]
    skipped: Mapping[str, int]
    numbers: tuple[tuple[int, ...], ...]

    def graphs(self, system: System) -> Graphs:
        """Return the graphs on a system.

        Raises:
          InvalidArgumentError: It has another number of NPUs or dimensions than the trace, or
            ASTRA-sim would abort.
        """
        n = len(self.entries)
        if n != system.n_npus:
            raise InvalidArgumentError(
                f"The system must have an NPU for each of the {n} traces; it has {system.n_npus}."
            )
        for npu, entries in enumerate(self.entries):
            for entry in entries:
                inside = self.groups.get(entry.get("group", 0), (npu,))
                if npu not in inside or max(*inside, entry.get("dst", 0), entry.get("src", 0)) >= n:
                    raise InvalidArgumentError(
                        f"NPU {npu} must talk to NPUs 0 to {n - 1}, and in groups that it is in."
                    )
                if len(entry.get("dims") or system.npus) != len(system.npus):
                    raise InvalidArgumentError(
                        f"Collectives must say for each of the system's {len(system.npus)} "
                        f"dimensions if it takes part; NPU {npu} has {len(entry['dims'])}."
                    )
        return graphs_of_entries(system, self.entries, range(len(self.entries)), self.groups)


@dataclass
class _Node:
    """A node as the file has it."""

    number: int = -1
    kind: int = 0
    deps: list[int] = field(default_factory=list)
    microseconds: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)


def read_trace(prefix: Path, groups: Path | None = None) -> Trace:
    """Return the traces PREFIX.0.et, PREFIX.1.et and so on.

    Args:
      prefix: Path without number and suffix.
      groups: JSON file of lists of NPUs by the name that collectives call.

    Raises:
      FileFormatError: A file is absent, torn, or has what the simulator does not know.
    """
    members = {} if groups is None else _read_groups(groups)
    numbers = {name: number for number, name in enumerate(members, 1)}
    skipped: Counter[str] = Counter()
    found: list[tuple[Mapping[str, Any], ...]] = []
    own: list[tuple[int, ...]] = []
    n_nodes = 0
    while (path := prefix.with_name(f"{prefix.name}.{len(found)}.et")).exists() or not found:
        nodes = list(_nodes(path, _content(path)))
        n_nodes += len(nodes)
        if n_nodes > _MAX_NODES:
            raise FileFormatError(path, None, f"a trace must have at most {_MAX_NODES:,} nodes")
        entries, made = _entries(path, nodes, numbers, skipped)
        found.append(entries)
        own.append(made)
    last = _last_number(prefix)
    if last > len(found):
        raise FileFormatError(
            path, None,
            f"traces must be numbered from 0 without a gap; there is number {last}, "
            f"and number {len(found)} is missing",
        )  # fmt: skip
    return Trace(
        tuple(found),
        dict(enumerate(members.values(), 1)),
        dict(sorted(skipped.items())),
        tuple(own),
    )


def _last_number(prefix: Path) -> int:
    """Return the largest number of a trace with this prefix; -1 without one."""
    with storage_errors(prefix.parent, "read"):
        names = [path.name for path in prefix.parent.iterdir()]
    own = [
        name.removeprefix(f"{prefix.name}.").removesuffix(".et")
        for name in names
        if name.startswith(f"{prefix.name}.") and name.endswith(".et")
    ]
    return max((int(name) for name in own if name.isdecimal() and len(name) < 10), default=-1)


def _read_groups(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        content = json.loads(_content(path))
        assert isinstance(content, dict)
        members = {name: tuple(npus) for name, npus in content.items()}
        assert all(type(npu) is int and npu >= 0 for npus in members.values() for npu in npus)
        assert all(len(set(npus)) == len(npus) > 0 for npus in members.values())
    except (ValueError, TypeError, AssertionError, RecursionError):
        raise FileFormatError(
            path, None, 'groups must be JSON such as {"1": [0, 1], "2": [2, 3]}'
        ) from None
    return members


def _content(path: Path) -> bytes:
    with storage_errors(path, "read"), path.open("rb") as handle:
        content = handle.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise FileFormatError(path, None, f"it has more than {_MAX_FILE_BYTES:,} bytes")
    return content


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than ten bytes")


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield number, wire type and content of the fields of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, wire, value
            continue
        if wire == _LENGTH:
            size, at = _varint(data, at)
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            size = 8 if wire == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field has the wire type {wire}")
        if at + size > len(data):
            raise ValueError("it ends within a field")
        yield key >> 3, wire, data[at : at + size]
        at += size


def _varints(wire: int, value: Any) -> list[int]:
    """Return the numbers of a repeated field, packed or not."""
    if wire == _VARINT:
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _attribute(data: memoryview) -> tuple[str, Any]:
    name, value = "", None
    for number, wire, content in _fields(data):
        if number == 1:
            name = bytes(content).decode()
        elif number in _WHOLE and wire == _VARINT:
            value = content - 2**64 if content >= 2**63 else content
        elif number == _FLAGS:
            value = tuple(
                bool(flag)
                for part, kind, flags in _fields(content)
                if part == 1
                for flag in _varints(kind, flags)
            )
        elif number == _TEXT:
            value = bytes(content).decode()
    return name, value


def _node(data: memoryview) -> _Node:
    node = _Node()
    for number, wire, content in _fields(data):
        if number == 1:
            node.number = content
        elif number == 3:
            node.kind = content
        elif number in (4, 5):
            node.deps += _varints(wire, content)
        elif number == 7:
            node.microseconds = content
        elif number == 10:
            name, value = _attribute(content)
            node.attributes[name] = value
    return node


def _nodes(path: Path, content: bytes) -> Iterator[_Node]:
    data, at, message = memoryview(content), 0, 0
    while at < len(data):
        start = at
        try:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("it ends within a message")
            # The first message is metadata of the whole.
            node = _node(data[at : at + size]) if message else None
        except (ValueError, IndexError, TypeError) as error:
            words = str(error) if isinstance(error, ValueError) else "it ends within a number"
            raise FileFormatError(
                path, None, f"byte {start} must begin a message of a Chakra trace; {words[:80]}"
            ) from None
        if node is not None:
            yield node
        at += size
        message += 1
    if not message:
        raise FileFormatError(
            path, None, "a Chakra trace must have metadata and nodes; it is empty"
        )


def _entries(
    path: Path, nodes: list[_Node], groups: Mapping[str, int], skipped: Counter[str]
) -> tuple[tuple[Mapping[str, Any], ...], tuple[int, ...]]:
    """Return the nodes of a file and their numbers; none comes before what it needs."""
    by_number = {node.number: node for node in nodes}
    if len(by_number) != len(nodes):
        raise FileFormatError(path, None, "nodes of a trace must have numbers of their own")
    waits = {node.number: len(set(node.deps)) for node in nodes}
    followers: dict[int, list[int]] = {}
    for node in nodes:
        for dep in set(node.deps):
            if dep not in by_number:
                raise FileFormatError(path, None, f"node {node.number} needs node {dep}: no such")
            followers.setdefault(dep, []).append(node.number)
    ready = [number for number, count in waits.items() if not count]
    heapq.heapify(ready)
    entries: list[Mapping[str, Any]] = []
    numbers: list[int] = []
    places: dict[int, tuple[int, ...]] = {}
    while ready:
        node = by_number[heapq.heappop(ready)]
        deps = tuple(sorted({place for dep in node.deps for place in places[dep]}))
        entry = _entry(path, node, groups)
        if isinstance(entry, str):
            skipped[entry] += 1
            places[node.number] = deps
        else:
            places[node.number] = (len(entries),)
            entries.append({**entry, "deps": deps})
            numbers.append(node.number)
        for follower in followers.get(node.number, ()):
            waits[follower] -= 1
            if not waits[follower]:
                heapq.heappush(ready, follower)
    if len(places) < len(nodes):
        stuck = min(set(by_number) - set(places))
        raise FileFormatError(path, None, f"node {stuck} needs itself through what it needs")
    return tuple(entries), tuple(numbers)


def _entry(path: Path, node: _Node, groups: Mapping[str, int]) -> Mapping[str, Any] | str:
    """Return an entry without what it needs, or the kind of a node that does nothing here."""
    has = node.attributes

    def whole(name: str, least: int = 0, most: int = _MAX_BYTES) -> int:
        value = has.get(name)
        if type(value) is not int or not least <= value <= most:
            raise FileFormatError(
                path, None,
                f"node {node.number} must have a whole number {name} from {least} to {most}; "
                f"got {str(value)[:30]}",
            )  # fmt: skip
        return value

    if node.kind in _KINDS:
        return _KINDS[node.kind]
    if node.kind == _COMPUTE:
        if has.get("is_cpu_op"):
            return "compute on the host"
        if has.get("num_ops") and has.get("tensor_size"):
            return {
                "kind": "comp", "flops": whole("num_ops", 1, _MAX_FLOPS),
                "bytes": whole("tensor_size", 1),
            }  # fmt: skip
        if 0 < node.microseconds <= _MAX_MICROSECONDS:
            return {"kind": "comp", "ns": node.microseconds * 1000}
        return "compute without work"
    if node.kind in (_SEND, _RECEIVE):
        peer = "dst" if node.kind == _SEND else "src"
        return {
            "kind": "send" if node.kind == _SEND else "recv", "size": whole("comm_size", 1),
            "tag": whole("comm_tag"), peer: whole(f"comm_{peer}"),
        }  # fmt: skip
    kind = _COLLECTIVES.get(whole("comm_type")) if node.kind == _COLLECTIVE else None
    if kind is None:
        raise FileFormatError(
            path, None,
            f"node {node.number} is of kind {node.kind} and type {has.get('comm_type')}, which "
            f"the simulator does not know; collectives are {', '.join(_COLLECTIVES.values())}",
        )  # fmt: skip
    entry: dict[str, Any] = {"kind": "coll", "type": kind, "size": whole("comm_size", 1)}
    name = has.get("pg_name")
    if name:
        if str(name) not in groups:
            raise FileFormatError(
                path,
                None,
                f"node {node.number} calls group {str(name)[:30]!r}, which is not given",
                "Give a JSON file of groups",
            )
        return {**entry, "group": groups[str(name)]}
    return {**entry, "dims": has.get("involved_dim")}
