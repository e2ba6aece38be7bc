"""Designs, workloads, bounds and exports of the simulator of networks on chip."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidDesignError
from archgym.simulators.noc import NocSimulator

HEADER = "cycle,source,destination,flits,waits_for\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "first line"), (HEADER, "no packets"), (HEADER + "0,1,2\n", "must read like"),
        (HEADER + "0,64,2,1,\n", "`source`"), (HEADER + "0,1,99,1,\n", "`destination`"),
        (HEADER + "0,1,2,0,\n", "`flits`"), (HEADER + "5,1,2,1,\n4,1,2,1,\n", "must not fall"),
        (HEADER + "0,1,2,1,0\n", "earlier packet"), (HEADER + "-1,1,2,1,\n", "must read like"),
        (HEADER + "0,1,2,1e3,\n", "must read like"), (HEADER + f"{10**15},1,2,1,\n", "`cycle`"),
        (HEADER + "9" * 5000 + ",1,2,1,\n", "must read like"),
        (HEADER + "0,1,2,4095,\n" * 2050, "at most"), (HEADER + "0," * 99_999 + "\n", "must read"),
        (HEADER.replace("flits", "size"), "first line"), (HEADER + "0,1,2,1,0x1\n", "earlier"),
        (HEADER + '"' + "7" * 200_000, "cannot be read"),
        (HEADER + "0,1,2,1,0\n", "and the first has none"),
        (HEADER.replace("waits_for", "type,type") + "0,1,2,1,read,write\n", "first line"),
    ],
)  # fmt: skip
def test_bad_line_of_a_list_is_named_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)

    with pytest.raises(FileFormatError, match=problem) as refused:
        NocSimulator().workload(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_file_of_a_spreadsheet_without_empty_last_cells_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\ufeff" + HEADER + "0,1,2,3\r\n4,5,6,7,0\r\n", encoding="utf-8")

    packets = NocSimulator().workload(path).content.packets

    assert packets.waits_for.tolist() == [-1, 0]


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b"\xff\xfe\x00" * 100)

    with pytest.raises(FileFormatError):
        NocSimulator().workload(path)


def test_no_design_is_better_than_its_bounds() -> None:
    for name in ("default", "mesh"):
        simulator = NocSimulator(name)
        rng = np.random.default_rng(3)
        for workload in simulator.workload_names()[:1] + simulator.workload_names()[-2:]:
            traffic = simulator.workload(workload)
            designs = simulator.space.sample(4, rng)
            partial = np.where(rng.random(designs.shape) < 0.3, -1, designs)
            result = simulator.evaluate_batch(designs, traffic)
            for bounds in (simulator.bounds(designs, traffic), simulator.bounds(partial, traffic)):
                known = np.isfinite(bounds) & np.isfinite(result.values)
                assert (bounds[known] <= result.values[known]).all()
                assert np.isfinite(bounds[:, 0]).all()


def test_wider_channels_need_more_area_and_less_time() -> None:
    simulator = NocSimulator()
    default = dict(simulator.space.design_at(simulator.space.default_indices))
    traffic = simulator.workload("all-to-all")

    found = [
        simulator.evaluate({**default, "channel_width": bits}, traffic) for bits in (32, 64, 128)
    ]

    times = [metrics["total_time_ns"] for metrics in found]
    areas = [metrics["area_mm2"] for metrics in found]
    assert times == sorted(times, reverse=True)
    assert areas == sorted(areas)


def test_load_beyond_saturation_is_a_result_with_a_reason() -> None:
    simulator = NocSimulator(load=1.0)
    design = simulator.space.design_at(simulator.space.default_indices)

    assert "saturated" in simulator.evaluate(design, simulator.workload("transpose")).infeasible


def test_saturation_of_a_mesh_is_where_its_latency_has_doubled() -> None:
    simulator = NocSimulator("mesh", saturation=True)
    design = simulator.space.design_at(simulator.space.default_indices)

    found = simulator.evaluate(design, simulator.workload("uniform"))["saturation_gb_per_s"]

    # 16 nodes of 16 bytes a cycle; a 4x4 mesh cannot carry more than a flit a node and cycle.
    assert 0.2 * 256 < found <= 256


def test_export_names_all_that_booksim_reads() -> None:
    simulator = NocSimulator("chiplets")
    indices = simulator.space.default_indices
    files = simulator.export("booksim", indices, simulator.workload("uniform"))

    assert {"booksim.cfg", "network.txt", "run.sh"} < set(files)
    assert "topology = anynet;\n" in files["booksim.cfg"]
    assert files["network.txt"].startswith("router 0 router 1 27 ")


def test_list_of_packets_is_refused_by_booksim() -> None:
    simulator = NocSimulator()

    with pytest.raises(InvalidDesignError, match=r"workload 'requests' is one\. Choose a load"):
        simulator.export("booksim", simulator.space.default_indices, simulator.workload("requests"))
