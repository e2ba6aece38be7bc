"""Chakra traces are read as written, simulate as recorded rows, and are refused where torn."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from archgym.cli.app import run
from archgym.errors import ArchGymError, FileFormatError, InvalidArgumentError
from archgym.simulators.cluster.formats.chakra import read_trace
from archgym.simulators.cluster.kernel.engine import simulate
from archgym.simulators.cluster.kernel.system import COLLECTIVES, System
from evidence.cluster.reading import system_of
from evidence.recorded import read_rows

REFERENCE = os.environ.get("ARCHGYM_REFERENCE")
TYPES = {"all_reduce": 0, "all_gather": 2, "all_to_all": 6, "reduce_scatter": 7}


def varint(value: int) -> bytes:
    coded = b""
    while value > 0x7F:
        coded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return coded + bytes([value])


def part(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def attribute(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        coded = part(29, value.encode())
    elif isinstance(value, int):
        coded = part(9, value)
    else:
        coded = part(28, part(1, bytes(map(int, value))))
    return part(10, part(1, name.encode()) + coded)


def node(number: int, kind: int, deps: Sequence[int] = (), micros: int = 0, **has: Any) -> bytes:
    coded = part(1, number) + part(3, kind) + b"".join(part(5, dep) for dep in deps)
    coded += part(7, micros) if micros else b""
    return coded + b"".join(attribute(name, value) for name, value in has.items())


def write(prefix: Path, npu: int, nodes: Sequence[bytes]) -> Path:
    path = prefix.with_name(f"{prefix.name}.{npu}.et")
    messages = [part(1, b"0.0.4"), *nodes]
    path.write_bytes(b"".join(varint(len(message)) + message for message in messages))
    return path


def as_nodes(entries: Sequence[Mapping[str, Any]], npu: int, n: int) -> list[bytes]:
    """Entries of a reference row as nodes of an NPU; `p2p` is a send and a receive."""
    nodes: list[bytes] = []
    made: list[list[int]] = []
    for entry in entries:
        deps = [number for dep in entry["deps"] for number in made[dep]]
        first = len(nodes)
        if entry["kind"] == "comp":
            nodes.append(node(first, 4, deps, num_ops=entry["flops"], tensor_size=entry["bytes"]))
        elif entry["kind"] == "coll":
            has = {"comm_type": TYPES[entry["type"]], "comm_size": entry["size"]}
            nodes.append(node(first, 7, deps, **has, involved_dim=entry["dims"]))
        else:
            has = {"comm_size": entry["size"], "comm_tag": len(made)}
            nodes += [
                node(first, 5, deps, **has, comm_dst=(npu + entry["shift"]) % n),
                node(first + 1, 6, deps, **has, comm_src=(npu - entry["shift"]) % n),
            ]
        made.append(list(range(first, len(nodes))))
    return nodes


@pytest.mark.skipif(REFERENCE is None, reason="needs ARCHGYM_REFERENCE")
def test_traces_of_recorded_graphs_end_when_astra_sim_says(tmp_path: Path) -> None:
    compared = 0
    for row in read_rows(Path(str(REFERENCE)) / "cluster" / "results" / "graphs.csv")[::9]:
        system, entries = system_of(row.cells), json.loads(row.cells["graph"])
        if row.cells["status"] != "ok":
            continue
        prefix = tmp_path / f"row-{row.line}"
        for npu in range(system.n_npus):
            write(prefix, npu, as_nodes(entries, npu, system.n_npus))

        outcome = simulate(system, read_trace(prefix).graphs(system))

        assert outcome.finish_ns.max() == int(row.cells["time_ns"]), row.line
        assert outcome.finish_ns.sum() == int(row.cells["sum_ns"]), row.line
        compared += 1
    assert compared > 20


def two_npus() -> System:
    return System(
        topology=("Ring",),
        npus=(2,),
        bandwidth=(50.0,),
        latency=(500.0,),
        algorithms=dict.fromkeys(COLLECTIVES, ("ring",)),
    )


def test_nodes_without_work_pass_on_what_they_wait_for(tmp_path: Path) -> None:
    for npu in range(2):
        nodes = [
            # Out of order, and through a node that is skipped.
            node(7, 4, [3], micros=5),
            node(3, 1, [1]),
            node(1, 4, [], micros=2),
            node(9, 4, [], micros=50, is_cpu_op=1),
        ]
        write(tmp_path / "t", npu, nodes)

    trace = read_trace(tmp_path / "t")

    assert trace.entries[0] == (
        {"kind": "comp", "ns": 2000, "deps": ()},
        {"kind": "comp", "ns": 5000, "deps": (0,)},
    )
    assert trace.skipped == {"compute on the host": 2, "metadata": 2}
    assert simulate(two_npus(), trace.graphs(two_npus())).finish_ns.tolist() == [7000, 7000]


def test_groups_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "groups.json").write_text('{"left": [0, 1]}')
    for npu in range(2):
        write(tmp_path / "t", npu, [node(0, 7, comm_type=0, comm_size=4096, pg_name="left")])

    trace = read_trace(tmp_path / "t", tmp_path / "groups.json")

    assert trace.groups == {1: (0, 1)}
    assert simulate(two_npus(), trace.graphs(two_npus())).finish_ns[0] > 0
    with pytest.raises(FileFormatError, match="calls group 'left', which is not given"):
        read_trace(tmp_path / "t")


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node(0, 7, comm_type=5, comm_size=1)], "does not know; collectives are all_reduce"),
        ([node(0, 7, comm_type=0, comm_size=0)], "comm_size from 1"),
        ([node(0, 5, comm_size=8, comm_tag=0)], "whole number comm_dst"),
        ([node(0, 4, num_ops=2**62, tensor_size=1)], "num_ops from 1"),
        ([node(0, 4, [1], micros=1), node(1, 4, [0], micros=1)], "node 0 needs itself"),
        ([node(0, 4, [8], micros=1)], "node 0 needs node 8: no such"),
        ([node(0, 4, micros=1), node(0, 4, micros=1)], "numbers of their own"),
        ([b"\x0f"], "byte 8 must begin a message .* wire type 7"),
    ],
)
def test_hostile_nodes_are_refused(tmp_path: Path, nodes: list[bytes], words: str) -> None:
    write(tmp_path / "t", 0, nodes)

    with pytest.raises(FileFormatError, match=words):
        read_trace(tmp_path / "t")


def test_torn_and_changed_files_are_refused_or_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t", 0, [node(0, 7, comm_type=0, comm_size=4096, involved_dim=[1])])
    content = path.read_bytes()
    write(tmp_path / "t", 1, [])
    for at in range(len(content)):
        for wrong in (content[:at], content[:at] + b"\xff" + content[at + 1 :]):
            path.write_bytes(wrong)
            try:
                read_trace(tmp_path / "t").graphs(two_npus())
            except ArchGymError:
                continue


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node(0, 5, comm_size=8, comm_tag=0, comm_dst=9)], "NPU 0 must talk to NPUs 0 to 1"),
        ([node(0, 7, comm_type=0, comm_size=8, involved_dim=[1, 1])], "1 dimensions"),
    ],
)
def test_what_does_not_fit_the_system_is_refused(
    tmp_path: Path, nodes: list[bytes], words: str
) -> None:
    write(tmp_path / "t", 0, nodes)
    write(tmp_path / "t", 1, [])

    with pytest.raises(InvalidArgumentError, match=words):
        read_trace(tmp_path / "t").graphs(two_npus())


def test_command_replays_a_trace_on_a_users_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.yaml").write_text(
        "name: two\nnpu: h100-80g\n"
        "dimensions: [{topology: Switch, npus: 2, gb_per_s: 450, latency_ns: 936}]\n"
    )
    for npu in range(2):
        write(tmp_path / "t", npu, [node(0, 7, comm_type=0, comm_size=2**20)])
    words = ["--system", str(tmp_path / "two.yaml"), "--json"]

    with pytest.raises(SystemExit) as ended:
        run(["cluster", "replay", str(tmp_path / "t"), *words])
    result = json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit) as refused:
        run(["cluster", "replay", str(tmp_path / "none"), *words])

    assert ended.value.code == 0
    assert result["nodes"] == result["npus"] == 2
    # Two steps of half of the bytes; a GB of a link is 2^30 bytes.
    assert result["time_ns"] > 2 * (936 + 2**19 / (450 * 2**30 / 1e9))
    assert refused.value.code not in (0, None)
    assert capsys.readouterr().err.count("\n") == 1


_TWO = (
    "name: two\nnpu: h100-80g\n"
    "dimensions: [{topology: Switch, npus: 2, gb_per_s: 450, latency_ns: 936}]\n"
)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_deadlock_names_the_first_waiting_node_and_ends_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    (tmp_path / "two.yaml").write_text(_TWO)
    write(tmp_path / "t", 0, [node(0, 4, micros=1)])
    write(
        tmp_path / "t",
        1,
        [node(4, 4, micros=1), node(7, 6, [4], comm_size=8, comm_tag=0, comm_src=0)],
    )

    words = ["--system", str(tmp_path / "two.yaml"), *options]
    with pytest.raises(SystemExit) as ended:
        run(["cluster", "replay", str(tmp_path / "t"), *words])

    assert ended.value.code == 3
    out = capsys.readouterr().out
    if options:
        assert json.loads(out)["waiting"] == {"npu": 1, "node": 7, "kind": "receive"}
    else:
        assert "The first that waits is NPU 1, in its node 7, a receive." in out


def test_gap_in_the_numbers_of_traces_is_named(tmp_path: Path) -> None:
    for npu in (0, 1, 3):
        write(tmp_path / "t", npu, [node(0, 4, micros=1)])

    with pytest.raises(FileFormatError, match="number 2 is missing"):
        read_trace(tmp_path / "t")
