"""Exports that every simulator has, and the form of those of tools."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, InvalidDesignError, UnknownNameError
from archgym.evaluation.options import make_simulator
from archgym.evaluation.simulator import Simulator, Workload, simulator_class
from archgym.report.export import Export, export_design, export_formats
from archgym.simulators.dram import DramSimulator
from archgym.tables import build_table
from archgym.tasks.task import Task
from tests.toys import SPACE, ToySimulator, toy_task

DESIGN = {"mode": "fast", "banks": 4, "depth": 6, "gain": 0.3, "boost": 2}


class ExportingToy(ToySimulator):
    """Toy with a tool's format, of which one file depends on the workload."""

    spec = replace(
        ToySimulator.spec,
        exports={"tool": "A file of settings."},
    )

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        design = self.space.design_at(indices)
        if design["mode"] == "off":
            raise InvalidDesignError("The tool cannot be off.")
        return {"settings.txt": f"{form} {workload.name} {design['banks']}\n"}


def test_json_names_units_limits_and_both_designs() -> None:
    task = Task.make(ToySimulator(), "light", "balanced", subject_to="power_mw <= 15")

    found = export_design(task, SPACE.indices_of(DESIGN), "json")

    data = json.loads(found.files["design.json"])
    assert data["design"] == DESIGN
    defaults = {"mode": "off", "banks": 1, "depth": 1, "gain": 0.0, "boost": 0}
    assert data["changed"] == {
        name: {"default": value, "design": DESIGN[name]} for name, value in defaults.items()
    }
    # 10 standby, 2 x (1 + 2 + 0.5 x 2) of speed, 0.05 x 24 entries and 3 x 0.3 V.
    assert data["metrics"]["light"]["power_mw"] == pytest.approx(20.1)
    assert data["units"]["power_mw"] == "mW"
    assert data["limits"] == ["power_mw <= 15"]
    assert data["missed_limits"] == list(found.missed_limits) == ["power_mw 20.1 > 15"]


def test_markdown_is_a_table_of_parameters_and_metrics() -> None:
    task = Task.make(ToySimulator(), "light", "balanced", subject_to="power_mw <= 30")

    text = export_design(task, SPACE.indices_of(DESIGN), "markdown").text

    assert text is not None
    assert "| **`mode`** | fast | off |  |" in text
    assert "| `power_mw` | 20.1 | 12.05 | mW |" in text
    assert "Limits (`power_mw <= 30`): met." in text


def test_numbers_of_markdown_have_thousands_separators() -> None:
    task = Task.make(ToySimulator(), "heavy", "balanced")

    text = export_design(task, SPACE.default_indices, "markdown").text

    # 3 x 40 ns x (1 + |1 - 72| / 8 + 4 x 0.3^2).
    assert text is not None
    assert "| `latency_ns` | 1,228.2 | 1,228.2 | ns |" in text


def test_formats_of_a_tool_come_first() -> None:
    assert list(export_formats(ExportingToy())) == ["tool", "json", "markdown"]


def test_files_that_depend_on_the_workload_are_in_a_folder_each() -> None:
    one = Task.make(ExportingToy(), "light")
    both = Task.make(ExportingToy(), ["light", "heavy"])

    assert dict(export_design(one, SPACE.indices_of(DESIGN), "tool").files) == {
        "settings.txt": "tool light 4\n"
    }
    assert dict(export_design(both, SPACE.indices_of(DESIGN), "tool").files) == {
        "light/settings.txt": "tool light 4\n",
        "heavy/settings.txt": "tool heavy 4\n",
    }


def test_unknown_format_names_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="format 'jsn' of simulator 'toy'"):
        export_design(toy_task(), SPACE.default_indices, "jsn")


def test_design_that_does_not_fit_the_format_is_refused() -> None:
    with pytest.raises(InvalidDesignError, match="The tool cannot be off"):
        export_design(Task.make(ExportingToy(), "light"), SPACE.default_indices, "tool")


def test_infeasible_design_is_refused() -> None:
    hot = SPACE.indices_of({**DESIGN, "boost": 3, "gain": 1.0})

    with pytest.raises(InvalidDesignError, match="must be feasible to be exported; The toy over"):
        export_design(toy_task(), hot, "json")


def test_existing_files_are_kept(tmp_path: Path) -> None:
    found = Export("tool", {"a.txt": "1\n", "b/c.txt": "2\n"})

    assert found.write(tmp_path / "out") == [tmp_path / "out/a.txt", tmp_path / "out/b/c.txt"]
    with pytest.raises(InvalidArgumentError, match="must name a new file or folder"):
        found.write(tmp_path / "out")
    assert Export("json", {"design.json": "{}\n"}).write(tmp_path / "x.json") == [
        tmp_path / "x.json"
    ]


def test_table_exports_as_its_simulator(tmp_path: Path) -> None:
    space = DramSimulator("archgym-2023-rl").space
    held = dict(space.design_at(space.default_indices))
    del held["page_policy"]
    made = Task.make("dram", "stream", space="archgym-2023-rl", fixed=held, requests="100")
    table = Task.make(stand_in=build_table(made, tmp_path / "t.parquet"))

    assert "dramsys" in export_formats(table.simulator)


@pytest.mark.parametrize("name", ["accelerator", "cluster", "cpu", "dram", "kv", "moe", "soc"])
def test_simulators_document_their_formats(name: str) -> None:
    simulator: Simulator = make_simulator(simulator_class(name), None, None, {})

    assert simulator.spec.exports
    for form, doc in simulator.spec.exports.items():
        assert form == form.lower()
        assert doc.endswith(".")
