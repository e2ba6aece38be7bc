"""Task graphs that ship, files of users, and several of them at once."""

import json
import re
from dataclasses import asdict
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from archgym.simulators.kit import Node, node_of, read_document, report_loss, unknown_name
from archgym.simulators.soc.graph import (
    MAX_TASKS,
    Accelerator,
    Budgets,
    Edge,
    Task,
    TaskGraph,
    merge,
)

SHIPPED: Final = (
    "cava", "audio-decoder", "edge-detection", "ar-complex",
    "radar", "vio", "random-12", "random-20",
)  # fmt: skip
"""Names of the graphs that ship; the first is the default."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
# Parameters of blocks and tasks must differ.
_BLOCK: Final = re.compile(r"(bus|memory|processor)\d+")
_TASK_KEYS: Final = ("name", "cpu_cycles")
_IP_KEYS: Final = ("cycles", "energy_fj", "area_um2", "iterations")
_TIGHT: Final = "tight_budgets"
_GRAPH_KEYS: Final = ("name", "tasks", "edges", "last_tasks", "budgets")
_OPTIONAL: Final = ("doc", "source", _TIGHT)
_BUDGET_KEYS: Final = ("latency_s", "power_w", "area_m2")
# chosen: beyond any task, and far from where double precision overflows.
_MOST: Final = 1e18
_LEAST: Final = 1e-18


def load_graph(name: str | Path) -> TaskGraph:
    """Return the graph with this name, or of this file, or several joined with `+`.

    Raises:
      UnknownNameError: A name is neither shipped nor a file.
      FileFormatError: A file is not a task graph.
      InvalidArgumentError: Several graphs do not fit together.
    """
    text = str(name)
    parts = [text] if Path(text).is_file() else text.split("+")
    return merge([_load(part) for part in parts])


def _load(name: str) -> TaskGraph:
    if name in SHIPPED:
        return _shipped(name)
    if Path(name).is_file():
        return read_graph(name)
    raise unknown_name("workload", name, SHIPPED)


@lru_cache(maxsize=len(SHIPPED))
def _shipped(name: str) -> TaskGraph:
    file = resources.files("archgym.simulators.soc").joinpath(f"data/workloads/{name}.json")
    return _graph(node_of(Path(f"{name}.json"), json.loads(file.read_text("utf-8"))))


def read_graph(path: str | Path) -> TaskGraph:
    """Return the task graph in a JSON (or YAML) file.

    Raises:
      FileFormatError: It is not a task graph; the error names the line.
      StorageError: It cannot be read.
    """
    return _graph(read_document(path).root)


def graph_text(graph: TaskGraph) -> str:
    """Return a graph as the text of a file that `read_graph` reads."""
    tasks = []
    for task in graph.tasks:
        entry = {"name": task.name, "cpu_cycles": task.cpu_cycles, "dummy": task.is_dummy}
        ip = {"ip": asdict(task.accelerator)} if task.accelerator else {}
        tasks.append({**entry, **ip})
    names = graph.names
    content = {
        "name": graph.name,
        "doc": graph.doc,
        "source": graph.source_text,
        "tasks": tasks,
        "edges": [[names[e.parent], names[e.child], e.bytes] for e in graph.edges],
        "last_tasks": {name: names[t] for name, t in graph.last_tasks.items()},
        "budgets": asdict(graph.budgets),
        "tight_budgets": asdict(graph.tight_budgets),
    }
    return "{\n" + ",\n".join(_member(*member) for member in content.items()) + "\n}\n"


def _member(name: str, value: Any) -> str:
    """Return one member of the document, lists with a line for each entry."""
    if not isinstance(value, list):
        return f' "{name}": {json.dumps(value)}'
    entries = ",\n".join(f"  {json.dumps(entry)}" for entry in value)
    return f' "{name}": [\n{entries}\n ]'


# ---- one document


def _graph(root: Node) -> TaskGraph:
    members = root.members("a task graph", (*_GRAPH_KEYS, *_OPTIONAL), _GRAPH_KEYS)
    name = _name(members["name"], "the graph's name")
    listed = members["tasks"].items("`tasks`", MAX_TASKS)
    place: dict[str, int] = {}
    tasks: list[Task] = []
    for node in listed:
        task = _task(node)
        if _BLOCK.fullmatch(task.name):
            raise node.refusal(f"tasks must not be named like a block; got {task.name!r}")
        if task.name in place:
            raise node.refusal(f"tasks must have different names; {task.name!r} came twice")
        place[task.name] = len(tasks)
        tasks.append(task)
    edge_nodes = members["edges"].items("`edges`", MAX_TASKS * MAX_TASKS)
    edges = _edges(edge_nodes, place)
    last_tasks = {}
    for workload, node in members["last_tasks"].members("`last_tasks`").items():
        if not _NAME.fullmatch(workload):
            raise node.refusal(f"a workload's name must be letters and digits; got {workload!r}")
        last_tasks[workload] = _place(node, place)
    if not last_tasks:
        raise members["last_tasks"].refusal("`last_tasks` must name the last task of a workload")
    budgets = _budgets(members["budgets"], last_tasks)
    tight = _budgets(members[_TIGHT], last_tasks) if _TIGHT in members else None
    graph = TaskGraph(
        name=name,
        tasks=tuple(tasks),
        edges=edges,
        last_tasks=last_tasks,
        budgets=budgets,
        tight_budgets=tight or budgets,
        doc=members["doc"].text("`doc`") if "doc" in members else "",
        source_text=members["source"].text("`source`") if "source" in members else "",
    )
    if (fault := graph.fault()) is not None:
        among, number, text = fault
        nodes = listed if among == "tasks" else edge_nodes
        raise (nodes or (members["tasks"],))[number].refusal(text)
    for workload, t in last_tasks.items():
        if later := [e.child for e in edges if e.parent == t and e.child != graph.sink]:
            after = ", ".join(graph.names[child] for child in later[:3])
            report_loss(
                f"{workload}: latency ends with {graph.names[t]}; {after} run later, uncounted."
            )
    return graph


def _name(node: Node, what: str) -> str:
    text = node.text(what)
    if not _NAME.fullmatch(text):
        raise node.refusal(
            f"{what} must begin with a letter and have at most 60 letters, digits, `_` and `-`; "
            f"got {node.kind}"
        )
    return text


def _task(node: Node) -> Task:
    members = node.members("a task", (*_TASK_KEYS, "dummy", "ip"), _TASK_KEYS)
    name = _name(members["name"], "a task's name")
    cycles = members["cpu_cycles"].number("`cpu_cycles`", 0.0, _MOST)
    is_dummy = members["dummy"].flag("`dummy`") if "dummy" in members else cycles == 0.0
    if is_dummy != (cycles == 0.0):
        raise members["cpu_cycles"].refusal(
            f"`cpu_cycles` must be 0 for a dummy and above 0 for others; got {cycles:g} for {name}"
        )
    if "ip" not in members:
        return Task(name, cycles)
    if is_dummy:
        raise members["ip"].refusal(f"a dummy must have no accelerator; {name} has one")
    ip = members["ip"].members("`ip`", _IP_KEYS, _IP_KEYS)
    cost = {key: ip[key].number(f"`{key}`", _LEAST, _MOST) for key in _IP_KEYS[:3]}
    iterations = ip["iterations"].whole("`iterations`", 1, 10**9)
    return Task(name, cycles, Accelerator(iterations=iterations, **cost))


def _place(node: Node, place: dict[str, int]) -> int:
    name = node.text("a task's name")
    if name not in place:
        hint = str(unknown_name("task", name, place)).partition(". ")[2]
        raise node.refusal(f"a task must be listed in `tasks`; {name!r} is not", hint)
    return place[name]


def _edges(nodes: tuple[Node, ...], place: dict[str, int]) -> tuple[Edge, ...]:
    edges = []
    known: set[tuple[int, int]] = set()
    for node in nodes:
        if not isinstance(node.value, tuple) or len(node.value) != 3:
            raise node.refusal("an edge must be [parent, child, bytes]")
        parent, child = _place(node.value[0], place), _place(node.value[1], place)
        size = node.value[2].number("an edge's bytes", 1.0, _MOST)
        if parent == child:
            raise node.refusal("an edge must join two tasks; this one joins a task to itself")
        if (parent, child) in known:
            raise node.refusal("only one edge may connect two tasks; this is the second")
        known.add((parent, child))
        edges.append(Edge(parent, child, size))
    return tuple(edges)


def _budgets(node: Node, last_tasks: dict[str, int]) -> Budgets:
    members = node.members("budgets", _BUDGET_KEYS, _BUDGET_KEYS)
    latency = members["latency_s"].members("`latency_s`", last_tasks, last_tasks)
    return Budgets(
        {
            name: latency[name].number(f"the latency of {name}", _LEAST, _MOST)
            for name in last_tasks
        },
        members["power_w"].number("`power_w`", _LEAST, _MOST),
        members["area_m2"].number("`area_m2`", _LEAST, _MOST),
    )
