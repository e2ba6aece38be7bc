"""System on a chip: task graphs on processors, accelerators, buses and memories."""

from archgym.simulators.soc.graph import TaskGraph
from archgym.simulators.soc.simulator import SocSimulator
from archgym.simulators.soc.workloads import graph_text, load_graph, read_graph

__all__ = ["SocSimulator", "TaskGraph", "graph_text", "load_graph", "read_graph"]
