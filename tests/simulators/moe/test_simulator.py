"""The simulator's spaces, workloads and metrics."""

import csv
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from archgym.simulators.moe import Routing
from archgym.simulators.moe.routing_trace import write_routing
from archgym.simulators.moe.simulator import MoeSimulator
from archgym.simulators.moe.space import GROUPS, SPACE_NAMES

GOLDEN = resources.files("archgym.simulators.moe").joinpath("data/golden.csv")


def _golden() -> list[dict[str, str]]:
    with GOLDEN.open("r", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize(
    "row", _golden(), ids=lambda row: f"{row['space']}-{row['workload']}-{row['number']}"
)
def test_golden_rows_stay(row: dict[str, str]) -> None:
    simulator = MoeSimulator(row["space"])
    indices = np.array([int(i) for i in row["indices"].split()], dtype=np.int64)

    result = simulator.evaluate_batch(indices[None, :], simulator.workload(row["workload"]))

    assert result.reason[0] == int(row["reason"])
    for place, spec in enumerate(simulator.metrics):
        if row[spec.name]:
            assert result.values[0, place] == pytest.approx(
                float(row[spec.name]), rel=1e-9, abs=1e-9
            )


def test_golden_rows_cover_every_space_and_both_outcomes() -> None:
    rows = _golden()

    assert {row["space"] for row in rows} == set(SPACE_NAMES)
    assert {int(row["reason"]) for row in rows} >= {0, 1}


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_groups_divide_each_space(space: str) -> None:
    simulator = MoeSimulator(space)
    grouped = [name for members in simulator.groups.values() for name in members]

    assert sorted(grouped) == sorted(simulator.space.names)
    assert set(simulator.groups) <= set(GROUPS)


def test_table_space_has_some_twenty_thousand_designs() -> None:
    counted = MoeSimulator("edge-offload-table").space.count()

    assert counted.exact
    assert 15_000 <= counted.value <= 30_000


def test_better_designs_than_the_default_exist_on_the_edge() -> None:
    simulator = MoeSimulator("edge-offload")
    workload = simulator.workload("chat")
    default = simulator.space.design_at(simulator.space.default_indices)
    better = {**default, "expert_bits": 4, "cache_percent": 40, "cpu_rule": "faster"}

    tpot = [simulator.evaluate(design, workload)["tpot_mean_ms"] for design in (default, better)]

    assert tpot[1] < 0.25 * tpot[0]


def test_run_tells_hits_layer_by_layer() -> None:
    simulator = MoeSimulator("edge-offload-table")
    design = simulator.space.design_at(simulator.space.default_indices)

    found = simulator.run(design, simulator.workload("turns"))

    assert found.layer_hits.shape == (28,)
    assert (found.layer_hits <= found.layer_accesses).all()
    assert found.layer_accesses.min() > 0


def test_a_trace_of_routing_is_a_workload(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    experts = np.argsort(rng.random((60, 2, 8)), axis=2)[:, :, :2].astype(np.int16)
    starts = np.array([0, 20, 60], dtype=np.int64)
    path = tmp_path / "tiny.routing.npz"
    write_routing(path, Routing(experts, starts, 8, "tiny"))
    simulator = MoeSimulator("edge-offload")
    design = simulator.space.design_at(simulator.space.default_indices)

    workload = simulator.workload(path)
    metrics = simulator.evaluate(design, workload)

    # A quarter of each document is its prompt; what it writes last is not in the document.
    assert workload.content.requests.prompt_tokens.tolist() == [5, 10]
    assert workload.content.requests.output_tokens.tolist() == [16, 31]
    assert metrics["tpot_mean_ms"] > 0


def test_a_trace_of_requests_is_a_workload(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,8,4\n1.5,6,3\n")
    simulator = MoeSimulator("edge-offload")
    design = simulator.space.design_at(simulator.space.default_indices)

    workload = simulator.workload(path)

    assert len(workload.content.requests) == 2
    assert simulator.evaluate(design, workload)["output_per_s"] > 0


def test_what_is_no_workload_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "torn.npz"
    path.write_bytes(b"PK\x03\x04 torn")
    simulator = MoeSimulator()

    with pytest.raises(FileFormatError, match=r"torn\.npz"):
        simulator.workload(path)
    with pytest.raises(UnknownNameError, match="chat"):
        simulator.workload("chatt")


def test_what_would_take_for_ever_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    lines = "".join(f"{n},9000000,9\n" for n in range(3))
    path.write_text(f"arrival_s,prompt_tokens,output_tokens\n{lines}")
    huge = tmp_path / "huge.yaml"
    huge.write_text("model: {preset: olmoe-1b-7b, layers: 1000, moe_layers: 1000, experts: 4096}\n")

    with pytest.raises(FileFormatError, match="at most 5,000,000 tokens"):
        MoeSimulator().workload(path)
    with pytest.raises(InvalidArgumentError, match="1000 times 4096"):
        MoeSimulator(model=str(huge)).workload("chat")


def test_hardware_and_model_are_options() -> None:
    simulator = MoeSimulator("edge-offload", hardware="a6000", model="olmoe-1b-7b")
    design = simulator.space.design_at(simulator.space.default_indices)

    metrics = simulator.evaluate(design, simulator.workload("chat"))

    assert simulator.options == {"hardware": "a6000", "model": "olmoe-1b-7b"}
    assert metrics["memory_gb"] < 6


def test_making_a_simulator_imports_nothing_heavy() -> None:
    code = (
        "import sys; from archgym.simulators.moe.simulator import MoeSimulator; "
        "MoeSimulator(); "
        "print(sorted({'numba', 'scipy', 'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"
