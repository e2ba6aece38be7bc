"""Area and power by structure, clock and supply."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.evaluation.capabilities import breakdown_of
from archgym.evaluation.stand_in import open_stand_in
from archgym.physics.arrays import cells
from archgym.simulators.cpu import CpuSimulator
from archgym.simulators.cpu.kernel.run import COUNTERS
from archgym.simulators.cpu.machine import DEFAULTS, at_clock, cycle_ps
from archgym.simulators.cpu.power import at_operating_point, highest_ghz, structures
from archgym.tables import build_table
from archgym.tasks.task import Task

N = 4096


def metrics(changes: Mapping[str, Any], **options: Any) -> dict[str, float]:
    simulator = CpuSimulator(instructions=N, **options)
    design = {**simulator.space.design_at(simulator.space.default_indices), **changes}
    indices = simulator.space.indices_of(design)[None]
    found = simulator.evaluate_batch(indices, simulator.workload("sort"))
    return dict(zip((spec.name for spec in simulator.metrics), found.values[0], strict=True))


def test_performance_does_not_depend_on_how_area_is_modelled() -> None:
    plain, by_structure = metrics({}, node="none"), metrics({})

    for name in ("total_cycles", "ipc", "l1d_mpki", "dram_row_hit_percent", "core_bound_percent"):
        assert plain[name] == by_structure[name]
    assert by_structure["area_mm2"] > 1.5 * plain["area_mm2"]


def test_space_with_a_clock_is_the_default_space_at_its_nominal_point() -> None:
    nominal, plain = metrics({}, space="dvfs"), metrics({}, node="22nm")

    assert nominal == plain


def test_slower_clock_at_a_lower_supply_saves_energy() -> None:
    fast, slow = (
        metrics({}, space="dvfs"),
        metrics({"clock_ghz": 2.0, "voltage": 0.6}, space="dvfs"),
    )

    assert slow["giga_instructions_per_s"] < fast["giga_instructions_per_s"]
    # Memory is nearer in cycles.
    assert slow["ipc"] > fast["ipc"]
    assert slow["energy_per_instruction_pj"] < fast["energy_per_instruction_pj"]
    assert slow["area_mm2"] == fast["area_mm2"]


def test_clock_beyond_the_supply_is_no_design() -> None:
    simulator = CpuSimulator(space="dvfs", instructions=N)
    space = simulator.space
    design = {**space.design_at(space.default_indices), "clock_ghz": 5.0, "voltage": 0.5}
    indices = space.indices_of(design)[None]

    found = simulator.evaluate_batch(indices, simulator.workload("sort"))

    assert simulator.spec.reasons[found.reason[0]] == "its clock is faster than its supply allows"


def test_highest_clock_follows_the_alpha_power_law() -> None:
    assert highest_ghz(0.8, "22nm") == pytest.approx(4.0)
    assert highest_ghz(0.6, "22nm") == pytest.approx(4.0 * (0.4**1.3 / 0.6) / (0.6**1.3 / 0.8))
    assert highest_ghz(0.8, "7nm") > highest_ghz(0.8, "14nm") > highest_ghz(0.8, "22nm")


def test_times_of_the_memory_keep_their_nanoseconds() -> None:
    slow = at_clock(DEFAULTS, 2.0, 4.0)

    assert cycle_ps(slow) == 500
    assert slow["VMEM.fault_penalty"] * cycle_ps(slow) == 50_000
    assert {name: slow[name] for name in slow if name.startswith("DRAM.")} == {
        name: DEFAULTS[name] for name in DEFAULTS if name.startswith("DRAM.")
    }
    assert slow["LLC.hit_latency"] + slow["LLC.fill_latency"] == 10
    assert at_clock(DEFAULTS, 4.0, 4.0) == DEFAULTS


@pytest.mark.slow
def test_cycles_at_other_clocks_are_those_of_champsim() -> None:
    """Designs whose memory has a faster clock than the core, for most of them.

    ChampSim, commit 2ff2501, ran the exported configurations and the programs' own records:
    9,000 instructions of warm-up and 15,000 counted.
    """
    simulator = CpuSimulator("dvfs", instructions=24000)
    with (Path(__file__).parent / "dvfs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        texts = {parameter.name: row[parameter.name] for parameter in simulator.space.parameters}
        design = simulator.space.indices_of(
            {name: text if text[0].isalpha() else float(text) for name, text in texts.items()}
        )
        result = simulator.evaluate_batch(design[None, :], simulator.workload(row["workload"]))
        found.append(int(result.values[0, 0]))

    assert simulator.metrics[0].name == "total_cycles"
    assert found == [int(row["cycles"]) for row in rows]
    assert len(rows) == 27


def test_export_of_a_slow_core_has_its_clock() -> None:
    simulator = CpuSimulator("dvfs")
    values = {**simulator.space.design_at(simulator.space.default_indices), "clock_ghz": 1.5}

    files = simulator.export(
        "champsim", simulator.space.indices_of(values), simulator.workload("sort")
    )

    config = json.loads(files["champsim_config.json"])
    assert config["ooo_cpu"][0]["frequency"] == 1500
    assert config["physical_memory"]["data_rate"] == 3200
    # In cycles of the memory, 625 ps: 50 ns in whole cycles of the core, 666 ps.
    assert config["virtual_memory"]["minor_fault_penalty"] == 75 * 666 // 625


def test_further_port_costs_more_than_a_copy() -> None:
    areas = [cells("l1d", 64, 8, ports).area_mm2 for ports in (1, 2, 3, 4)]

    assert areas == sorted(areas)
    assert areas[1] > 2 * areas[0]


def test_sizes_between_those_of_the_table_lie_between() -> None:
    small, between, large = (cells("l1d", 64, ways, 2) for ways in (8, 12, 16))

    assert small.area_mm2 < between.area_mm2 < large.area_mm2


def test_smaller_node_shrinks_logic_more_than_memory() -> None:
    counts = dict.fromkeys(COUNTERS, 0.0)
    found = structures(DEFAULTS, counts)

    shrunk = {each.name: each for each in at_operating_point(found, "7nm", 0.8)}

    ratio = {each.name: shrunk[each.name].area_mm2 / each.area_mm2 for each in found}
    assert ratio["alus"] == pytest.approx(1 / 7.325456759)
    assert ratio["llc"] == pytest.approx(1 / 3.757501843)


def test_options_of_price_need_a_node() -> None:
    with pytest.raises(InvalidArgumentError, match="need a `node`"):
        CpuSimulator(node="none", grid="usa")
    with pytest.raises(InvalidArgumentError, match="must not be none"):
        CpuSimulator("dvfs", node="none")
    with pytest.raises(InvalidArgumentError, match="as-shipped"):
        CpuSimulator("as-shipped", node="7nm")


def test_tasks_read_back() -> None:
    task = Task.make("cpu", "sort", space="dvfs", node="7nm", grid="usa", instructions="4096")

    assert Task.from_json(task.to_json()).id == task.id
    assert np.isfinite(task.reference).all()


def test_default_model_is_by_structure_and_no_node_counts_arrays_alone() -> None:
    present, arrays = CpuSimulator(), CpuSimulator(node="none")

    assert (present.options, arrays.options) == ({}, {"node": "none"})
    assert "dollars" in {spec.name for spec in present.metrics}
    assert "dollars" not in {spec.name for spec in arrays.metrics}


def test_parts_sum_to_area_and_power() -> None:
    simulator = CpuSimulator(instructions=N)
    workload = simulator.workload("sort")
    default = simulator.space.default_indices

    parts = breakdown_of(simulator, default, workload)

    row = metrics({})
    for name in ("area_mm2", "power_mw", "total_cycles"):
        assert sum(parts[name].values()) == pytest.approx(row[name], rel=1e-9)
    assert parts["area_mm2"]["llc"] > parts["area_mm2"]["l2"] > 0
    assert breakdown_of(simulator, default, None) == {"area_mm2": parts["area_mm2"]}
    assert CpuSimulator(node="none").breakdown(default, workload) == {}


def test_windows_change_no_other_metric_and_bound_power_and_temperature() -> None:
    plain, seen = metrics({}), metrics({}, window_us=0.5)

    assert {name: seen[name] for name in plain} == plain
    assert seen["power_mw"] < seen["peak_power_mw"] < 2 * seen["power_mw"]
    assert 45.0 < seen["peak_temperature_c"] < 60.0


def test_longer_windows_have_lower_peaks_and_weak_sinks_are_hotter() -> None:
    short, long = metrics({}, window_us=0.5), metrics({}, window_us=3)
    weak = metrics({}, window_us=0.5, sink_k_per_w=10)

    assert long["peak_power_mw"] < short["peak_power_mw"]
    assert weak["peak_temperature_c"] > short["peak_temperature_c"] + 30.0


@pytest.mark.parametrize(
    "options", [{"cores": 2}, {"fidelity": "dram"}, {"node": "none"}, {"space": "as-shipped"}]
)
def test_windows_need_one_core_and_a_node(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="`window_us` needs"):
        CpuSimulator(window_us=1, **options)


def test_table_of_arrays_alone_answers_for_its_own_model(tmp_path: Path) -> None:
    made = Task.make(
        "cpu", "sort", space="core", node="none", instructions="2000",
        fixed={"branch_predictor": "bimodal", "scheduler": 64, "registers": 128, "rob": 224},
    )  # fmt: skip
    table = build_table(made, tmp_path / "core.parquet")

    read = Task.make("cpu", "sort", space=made.space_name, stand_in=table)

    assert read.digest == made.digest
    with pytest.raises(InvalidArgumentError, match="`node` must be what"):
        Task.make("cpu", "sort", space=made.space_name, stand_in=table, node="22nm")
    assert open_stand_in(table).simulator().options == made.simulator.options


def test_every_clock_of_dvfs_can_be_built_where_the_supply_allows_it() -> None:
    simulator = CpuSimulator(space="dvfs", instructions=4000)
    space, workload = simulator.space, simulator.workload("sort")
    clocks = space.parameters[space.names.index("clock_ghz")]
    default = dict(space.design_at(space.default_indices))
    designs = [{**default, "clock_ghz": clocks.value(i)} for i in range(clocks.size)]
    rows = np.array([space.indices_of(design) for design in designs])

    result = simulator.evaluate_batch(rows, workload)

    highest = highest_ghz(float(default["voltage"]), "22nm")
    fits = np.array([float(d["clock_ghz"]) <= highest for d in designs])
    assert (result.reason == 0).tolist() == fits.tolist()
    assert fits[0]
