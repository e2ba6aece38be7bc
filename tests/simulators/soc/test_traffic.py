"""Traffic of a system as packets for a network on chip."""

import csv
from pathlib import Path

import numpy as np
import pytest

from archgym.simulators.soc import SocSimulator


def test_network_carries_each_edge_once_to_its_memory_and_once_from_it(tmp_path: Path) -> None:
    soc = SocSimulator()
    indices = soc.space.sample(1, np.random.default_rng(3))[0]

    files = soc.export("traffic", indices, soc.workload("cava"))

    (tmp_path / "traffic.csv").write_text(files["traffic.csv"])
    rows = list(csv.DictReader(files["traffic.csv"].splitlines()))
    blocks = {row["node"]: row["block"] for row in csv.DictReader(files["nodes.csv"].splitlines())}
    moved = [
        sum(16 * int(r["flits"]) for r in rows if blocks[r[end]].startswith("memory"))
        for end in ("source", "destination")
    ]
    data = sum(edge.bytes for edge in soc.graph.edges)
    # Each transfer ends with a flit that may be partly empty.
    assert all(data <= each <= data + 16 * len(soc.graph.edges) for each in moved)
    assert all(not r["waits_for"] or int(r["waits_for"]) < n for n, r in enumerate(rows))

    noc = pytest.importorskip("archgym.simulators.noc").NocSimulator()
    result = noc.evaluate(
        noc.space.design_at(noc.space.default_indices), noc.workload(tmp_path / "traffic.csv")
    )
    # No link carries more than a flit of 16 bytes in a cycle of 1 ns.
    busiest = max(
        sum(16 * int(r["flits"]) for r in rows if r[end] == node)
        for end in ("source", "destination")
        for node in blocks
    )
    assert result["total_time_ns"] >= busiest / 16
