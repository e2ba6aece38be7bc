"""Iterations as Chakra execution traces, which ASTRA-sim reads: a file for each NPU.

A file is a message of metadata and one message for each node, each after its length. Messages of
Chakra (github.com/mlcommons/chakra, `et_def.proto`) have more fields than are described here; a
reader of Protocol Buffers skips what it does not know.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from archgym.simulators.cluster.kernel import state
from archgym.simulators.cluster.kernel.graphs import Graphs
from archgym.simulators.cluster.kernel.iteration import training_graphs
from archgym.simulators.cluster.machine.design import Built
from archgym.simulators.kit import FileFormatError, InvalidDesignError

# Numbers of Chakra by our kinds of nodes and collectives.
_KINDS: Final = {state.COMPUTE: 4, state.SEND: 5, state.RECEIVE: 6, state.COLLECTIVE: 7}
_COLLECTIVES: Final = {
    int(state.ALL_REDUCE): 0, int(state.ALL_GATHER): 2,
    int(state.ALL_TO_ALL): 6, int(state.REDUCE_SCATTER): 7,
}  # fmt: skip
# chosen: traces of some 300 MB.
_MOST_NODES: Final = 4_000_000
# Names and numbers of fields; a list repeats, and a message is named.
_FIELDS: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "BoolList": {"values": (1, "bool list")},
    "Attribute": {
        "name": (1, "string"), "uint64_val": (13, "uint64"), "bool_val": (27, "bool"),
        "bool_list": (28, "BoolList"),
    },
    "Metadata": {"version": (1, "string"), "attr": (2, "Attribute list")},
    "Node": {
        "id": (1, "uint64"), "type": (3, "int32"), "ctrl_deps": (4, "uint64 list"),
        "attr": (10, "Attribute list"),
    },
}  # fmt: skip


@cache
def messages() -> dict[str, Any]:
    """Return the classes of Chakra's messages by name."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="archgym_chakra.proto", package="archgym_chakra", syntax="proto3"
    )
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        values = [name for name in fields if name.endswith(("_val", "_list"))]
        if values:
            made.oneof_decl.add(name="value")
        for name, (number, text) in fields.items():
            word, _, is_list = text.partition(" ")
            field = made.field.add(name=name, number=number)
            field.label = kind.LABEL_REPEATED if is_list else kind.LABEL_OPTIONAL
            if word in _FIELDS:
                field.type, field.type_name = kind.TYPE_MESSAGE, f".archgym_chakra.{word}"
            else:
                field.type = getattr(kind, f"TYPE_{word.upper()}")
            if name in values:
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"archgym_chakra.{name}"))
        for name in _FIELDS
    }


def traces(built: Built) -> list[bytes]:
    """Return the trace of each NPU; only that of the first one if all are the same.

    Args:
      built: A design that can run.

    Raises:
      InvalidDesignError: The traces would be too large.
    """
    graphs = training_graphs(built.system, built.layers, built.parallelism, shortcut=False)
    n_npus = built.system.n_npus if built.parallelism.pp > 1 else 1
    n_nodes = int(graphs.ranges[graphs.graph_of[:n_npus], 1].sum())
    if n_nodes > _MOST_NODES:
        raise InvalidDesignError(
            f"Traces of ASTRA-sim may have {_MOST_NODES:,} nodes together; this iteration has "
            f"{n_nodes:,} on {built.system.n_npus:,} NPUs. Use a larger `microbatch`, or fewer "
            "NPUs (`--option npus=N`)."
        )
    begin = _delimited(messages()["Metadata"](version="0.0.4"))
    involved = [place for place, n in enumerate(built.system.npus) if n > 1]
    stages = [_stage(graphs, number, involved) for number in range(len(graphs.ranges))]
    found = []
    for npu in range(n_npus):
        parts, peers = stages[graphs.graph_of[npu]]
        own = list(parts)
        for place, node, peer, is_send in peers:
            other = (npu + peer) % built.system.n_npus
            source, target = (npu, other) if is_send else (other, npu)
            made = messages()["Node"]()
            made.CopyFrom(node)
            _attribute(made, "comm_src", uint64_val=source)
            _attribute(made, "comm_dst", uint64_val=target)
            own[place] = _delimited(made)
        found.append(begin + b"".join(own))
    return found


def _stage(
    graphs: Graphs, number: int, involved: list[int]
) -> tuple[list[bytes], list[tuple[int, Any, int, bool]]]:
    """Return the nodes of a stage, and those that name another NPU, with its distance."""
    first, n = graphs.ranges[number]
    before: list[list[int]] = [[] for _ in range(n)]
    rows = graphs.nodes[first : first + n].tolist()
    for node, row in enumerate(rows):
        begin, count = row[state.FOLLOWING], row[state.N_FOLLOWING]
        for after in graphs.following[begin : begin + count].tolist():
            before[after].append(node)
    parts, peers = [], []
    for node, row in enumerate(rows):
        kind = row[state.KIND]
        made = messages()["Node"](id=node, type=_KINDS[kind], ctrl_deps=before[node])
        _attribute(made, "is_cpu_op", bool_val=False)
        if kind == state.COMPUTE:
            _attribute(made, "num_ops", uint64_val=row[state.FLOPS])
            _attribute(made, "tensor_size", uint64_val=row[state.MOVED])
        else:
            _attribute(made, "comm_size", uint64_val=row[state.AMOUNT])
        if kind == state.COLLECTIVE:
            _attribute(made, "comm_type", uint64_val=_COLLECTIVES[row[state.TYPE]])
            mask = [bool(row[state.MEMBERS] >> place & 1) for place in involved]
            _attribute(made, "involved_dim", bool_list=messages()["BoolList"](values=mask))
        elif kind in (state.SEND, state.RECEIVE):
            _attribute(made, "comm_tag", uint64_val=row[state.TAG])
            peers.append((node, made, row[state.PEER], kind == state.SEND))
        parts.append(_delimited(made))
    return parts, peers


def _attribute(message: Any, name: str, **value: Any) -> None:
    message.attr.add(name=name, **value)


def _delimited(message: Any) -> bytes:
    content: bytes = message.SerializeToString(deterministic=True)
    head, n = bytearray(), len(content)
    while n > 127:
        head.append(n & 127 | 128)
        n >>= 7
    return bytes(head) + bytes([n]) + content


def read_trace(content: bytes, name: str) -> Iterator[Any]:
    """Yield the messages of a trace: its metadata, then its nodes.

    Args:
      content: Content of a file.
      name: Its name, for messages.

    Raises:
      FileFormatError: The content is not a trace.
    """
    from google.protobuf.message import DecodeError

    at = count = 0
    while at < len(content):
        size = shift = 0
        while shift < 32 and at < len(content):
            byte = content[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if at + size > len(content) or (size == 0 and count):
            raise FileFormatError(name, None, f"message {count + 1} of the trace is cut off")
        try:
            yield messages()["Node" if count else "Metadata"].FromString(content[at : at + size])
        except DecodeError:
            problem = f"message {count + 1} is not one of a Chakra trace"
            raise FileFormatError(name, None, problem) from None
        at, count = at + size, count + 1
