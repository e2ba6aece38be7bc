"""Iterations as Chakra traces: what ASTRA-sim reads is what the model simulates."""

from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import FileFormatError, InvalidDesignError
from archgym.report.export import export_design
from archgym.simulators.cluster.formats.chakra import read_trace
from archgym.tasks.task import Task

COMPUTE, SEND, RECEIVE, COLLECTIVE = 4, 5, 6, 7


def task_of(**choices: Any) -> Task:
    return Task.make("cluster", "bert-large", fidelity="congestion-free", npus="8", **choices)


def traces_of(task: Task, **values: Any) -> list[list[Any]]:
    """Return the nodes of each NPU's trace of a design."""
    indices = task.space.indices_of({**task.space.default, **values})
    files = export_design(task, indices, "astra-sim").files
    names = sorted(name for name in files if name.endswith(".et"))
    found = []
    for name in names:
        content = files[name]
        assert isinstance(content, bytes)
        metadata, *nodes = read_trace(content, name)
        assert metadata.version == "0.0.4"
        found.append(nodes)
    return found


def attributes(node: Any) -> dict[str, Any]:
    return {each.name: getattr(each, each.WhichOneof("value")) for each in node.attr}


def test_each_message_of_a_pipeline_is_sent_and_received_once() -> None:
    traces = traces_of(task_of(), npus=(2, 4, 1))

    assert len(traces) == 8
    sides: dict[int, Counter[tuple[int, ...]]] = {SEND: Counter(), RECEIVE: Counter()}
    for npu, nodes in enumerate(traces):
        for node in nodes:
            if node.type in sides:
                found = attributes(node)
                ends = found["comm_src"], found["comm_dst"]
                assert npu == ends[node.type == RECEIVE]
                sides[node.type][*ends, found["comm_tag"], found["comm_size"]] += 1
    assert sides[SEND]
    assert sides[SEND] == sides[RECEIVE]
    assert set(sides[SEND].values()) == {1}


def test_nodes_follow_from_earlier_ones_and_all_are_reached() -> None:
    for nodes in traces_of(task_of(), npus=(2, 4, 1)):
        graph = {node.id: set(node.ctrl_deps) for node in nodes}
        assert set().union(*graph.values()) <= graph.keys()
        assert len(list(TopologicalSorter(graph).static_order())) == len(nodes)


def test_operations_of_an_iteration_are_those_of_the_model() -> None:
    task = task_of()
    (nodes,) = traces_of(task, npus=(2, 1, 4))

    operations = sum(attributes(node).get("num_ops", 0) for node in nodes)

    values = task.evaluate(task.space.indices_of({**task.space.default, "npus": (2, 1, 4)})[None])
    by_metric = dict(zip((spec.name for spec in task.metrics), values.values[0, 0], strict=True))
    # Utilisation counts the model's own operations; those that are computed again come on top.
    peak = 312e12 * by_metric["time_ms"] / 1e3
    assert by_metric["mfu_percent"] / 100.0 * peak <= operations <= peak
    kinds = Counter(node.type for node in nodes)
    assert kinds[COMPUTE]
    assert kinds[COLLECTIVE]


def test_a_torn_trace_is_refused_with_its_message(tmp_path: Path) -> None:
    task = task_of()
    content = export_design(task, task.space.default_indices, "astra-sim").files["iteration.0.et"]
    assert isinstance(content, bytes)

    with pytest.raises(FileFormatError, match=r"t\.et: message \d+ of the trace is cut off"):
        list(read_trace(content[:-3], "t.et"))


@pytest.mark.parametrize(("name", "value"), [("intra", "RG"), ("inflight", 4)])
def test_what_astra_sim_fixes_is_refused_by_name(name: str, value: object) -> None:
    task = task_of()
    indices = task.space.indices_of({**task.space.default, name: value})

    with pytest.raises(InvalidDesignError, match=f"`{name}`"):
        export_design(task, indices, "astra-sim")
