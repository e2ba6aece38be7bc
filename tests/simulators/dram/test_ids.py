"""Ids of tasks on every device: what is printed reads back."""

from pathlib import Path

import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.options import make_simulator
from archgym.simulators.dram import DramSimulator, device_names
from archgym.simulators.dram.controllers.dramsys import dramsys_of
from archgym.simulators.dram.controllers.ramulator import controllers_of
from archgym.tasks.task import Task


@pytest.mark.parametrize("device", device_names())
def test_id_of_every_device_and_space_reads_back(device: str) -> None:
    for space in DramSimulator(device=device).spec.space_names:
        task = Task.make(
            "dram", "kv-cache-gather", "low-latency", space, requests="20", device=device
        )

        again = Task.make(task.id)

        assert again.id == task.id
        assert again.digest == task.digest
        assert Task.from_json(task.to_json()).digest == task.digest


def test_device_decides_the_controller() -> None:
    assert dramsys_of(make_simulator(DramSimulator, None, None, {})).device.name == "ddr3-1600"
    for device in ("ddr4", "ddr5", "gddr6", "hbm3", "lpddr5", "lpddr5x-8533", "ddr4-2400r"):
        options = {"device": device}
        made = controllers_of(make_simulator(DramSimulator, None, None, options))
        assert made.name == device
    with pytest.raises(UnknownNameError, match=r"'ddr5-4800bm'\. Did you mean 'ddr5-4800bn'"):
        Task.make("dram", device="ddr5-4800bm")


def test_file_says_which_controller_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "format: 1\nextends: hbm3\nsource: a test\n"
        "bins:\n  SLOW: {base: HBM3_6400Mbps, tCK_ps: 1000}\n"
    )
    task = Task.make("dram", "gups", device=str(path))

    assert controllers_of(task.simulator).made.family == "hbm3"
    assert Task.make(task.id).digest == task.digest
    path.write_text("format: 1\nextends: ddr3-1600\nsource: a test\ntiming: {RCD: 13}\n")
    other = Task.make("dram", "gups", device=str(path))
    assert dramsys_of(other.simulator).device.timing["RCD"] == 13


def test_space_of_the_other_controller_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"with device=ddr5\. Known: 'default'"):
        Task.make("dram", space="archgym-2023", device="ddr5")


def test_option_of_the_other_controller_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="'addresses' of simulator 'dram' with device=ddr5"):
        Task.make("dram", device="ddr5", addresses="wrap")


def test_other_version_of_a_device_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must end in -v1"):
        Task.make("dram[device=ddr5]/default/gups/balanced-v0")
