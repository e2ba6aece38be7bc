"""Designs as files of DRAMSys, read back into the exact model, and as scripts of Ramulator."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidDesignError
from archgym.evaluation import capabilities
from archgym.evaluation.simulator import default_workload
from archgym.report.export import export_design
from archgym.simulators.dram.dramsys.devices import Device
from archgym.simulators.dram.dramsys.kernel.batch import OUTPUTS, simulate, tables
from archgym.simulators.dram.dramsys.kernel.commands import CONTROLLER_CODES, CONTROLLER_COLUMNS
from archgym.simulators.dram.dramsys.mapping import AddressMapping, decode
from archgym.simulators.dram.formats.dramsys import CONTROLLER_KEYS, read_mapping, read_memspec
from archgym.simulators.dram.simulator import DramSimulator
from archgym.simulators.dram.workloads.trace import read_trace
from archgym.tasks.task import Task


@dataclass(frozen=True)
class DramsysSimulation:
    """Simulation of DRAMSys: controller, address mapping, memory and the trace of its player."""

    controller: dict[str, int | str]
    mapping: AddressMapping
    device: Device
    trace: Path
    clock_mhz: int


def exported(task: Task, indices: np.ndarray, folder: Path) -> DramsysSimulation:
    """Return the simulation in the files that a design is exported to."""
    export_design(task, indices, "dramsys").write(folder)
    given = json.loads((folder / "simulation.json").read_text())["simulation"]
    configs = folder / "configs"
    controller = json.loads((configs / "mcconfigs" / given["mcconfig"]).read_text())["mcconfig"]
    thermal = json.loads((configs / "thermalsim" / given["thermalconfig"]).read_text())
    assert "ThermalSimPeriod" in thermal["thermalsimconfig"]
    assert (configs / "simulator" / given["simconfig"]).is_file()
    (player,) = given["tracesetup"]
    assert controller.keys() == set(CONTROLLER_KEYS.values())
    return DramsysSimulation(
        {name: controller[key] for name, key in CONTROLLER_KEYS.items()},
        read_mapping(configs / "amconfigs" / given["addressmapping"]),
        read_memspec(configs / "memspecs" / given["memspec"]),
        folder / "traces" / player["name"],
        player["clkMhz"],
    )


def output_of(read: DramsysSimulation, name: str) -> float:
    """Return an output of the exact model on what the files hold alone."""
    trace = read_trace(read.trace)
    codes = [
        CONTROLLER_CODES[column].index(str(read.controller[column]))
        if column in CONTROLLER_CODES
        else int(read.controller[column])
        for column in CONTROLLER_COLUMNS
    ]
    outputs = simulate(
        np.array([codes], dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        decode(trace.addresses, [read.mapping], read.device),
        trace.addresses,
        trace.ticks,
        trace.is_write,
        player_clock_ps=round(1e6 / read.clock_mhz),
        is_relative=trace.relative,
        device=tables(read.device),
    )
    return float(outputs[0, OUTPUTS.index(name)])


@pytest.mark.parametrize(
    ("device", "seed"), [("ddr3-1600", 0), ("ddr3-1600", 7), ("ddr4-2400", 2), ("hbm2", 3)]
)
def test_files_of_dramsys_give_equal_time_and_energy(
    device: str, seed: int, tmp_path: Path
) -> None:
    task = Task.make("dram", "mixed-rw", "least-time", device=device)
    indices = task.space.sample(1, np.random.default_rng(seed))[0]

    read = exported(task, indices, tmp_path / "files")

    names = [spec.name for spec in task.metrics]
    values = task.evaluate(indices[None, :]).values[0, 0]
    assert output_of(read, "total_time_ns") == values[names.index("total_time_ns")]
    if "total_energy_pj" in names:
        energy = values[names.index("total_energy_pj")]
        assert output_of(read, "energy_pj") == pytest.approx(energy, rel=1e-12)


def test_published_space_exports_what_it_fixes(tmp_path: Path) -> None:
    task = Task.make("dram", "stream", space="archgym-2023")

    read = exported(task, task.space.default_indices, tmp_path / "files")

    assert read.controller["command_mux"] == "Oldest"
    assert read.controller["power_down_policy"] == "NoPowerDown"
    assert read.mapping.row == tuple(range(16, 30))


def test_longer_requests_are_split_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "long.stl").write_text("0: read 0x0 256\n9: write 0x40 64\n")
    task = Task.make("dram", tmp_path / "long.stl", "least-time")

    found = export_design(task, task.space.default_indices, "dramsys")
    read = exported(task, task.space.default_indices, tmp_path / "files")

    assert found.notes[0].startswith("Requests of long are longer than a burst of 64 bytes")
    assert len(read_trace(read.trace).ticks) == 5
    assert output_of(read, "total_time_ns") == task.reference[0, 0]


def test_second_controller_is_a_script_of_ramulator() -> None:
    task = Task.make("dram", device="lpddr5")
    design = {
        **task.space.design_at(task.space.default_indices),
        "scheduler": "FRFCFS-RowHit",
        "row_policy": "ClosedCAP",
        "cap": 8,
        "refresh": "PerBank",
        "channels": 4,
    }

    files = export_design(task, task.space.indices_of(design), "ramulator").files

    script = files["memory.py"]
    compile(script, "memory.py", "exec")
    for line in (
        "ramulator.controller.LPDDR5(",
        'org_preset="LPDDR5_16Gb_x16", timing_preset="LPDDR5_6400"',
        "scheduler=ramulator.scheduler.FRFCFSRowHit(),",
        "refresh_manager=ramulator.refresh_manager.PerBank(),",
        "row_policy=ramulator.row_policy.ClosedCAP(cap=8),",
        "addr_mapper=ramulator.addr_mapper.MOP4CLXOR(),",
        'wck_sync_mode="need_sync",',
        "for _ in range(4)",
    ):
        assert line in script
    assert files["requests.txt"].split()[1] in ("R", "W")
    assert "ramulator.frontend.External(clock_ratio=1)" in script


def test_speed_bin_that_ramulator_lacks_is_refused() -> None:
    simulator = DramSimulator(device="lpddr5")
    space = simulator.space
    design = {**space.design_at(space.default_indices), "speed_bin": "LPDDR5X_8533"}

    with pytest.raises(InvalidDesignError, match="no speed bin 'LPDDR5X_8533'"):
        capabilities.exported(
            simulator,
            "ramulator",
            space.indices_of(design),
            simulator.workload(default_workload(simulator)),
        )
