"""Designs in the tools of others: what is compared, kept and reported, and hostile tools."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import (
    FileFormatError,
    InvalidArgumentError,
    InvalidDesignError,
    MissingProgramError,
    UnknownNameError,
)
from archgym.evaluation.simulator import Workload
from archgym.report import confirmation
from archgym.report.confirmation import Confirmation, confirm, verdicts
from archgym.report.export import export_design
from archgym.simulators.kit.exports import Number, Tool, expected, folder, rounding, stated
from archgym.tasks.task import Task
from tests.toys import SPACE, ToySimulator

DESIGN = {"mode": "fast", "banks": 4, "depth": 6, "gain": 0.3, "boost": 2}
# 20.1 mW by hand: 10 standby, 8 of speed, 1.2 of entries and 0.9 of voltage.
GOOD = 'echo "Power: 20.1 mW"; mkdir -p out; printf "area,power\\n1,10.05\\n1,10.05\\n" > out/t.csv'


class ToolToy(ToySimulator):
    """Toy whose power a tool prints, and writes as a table of halves."""

    spec = replace(ToySimulator.spec, exports={"tool": "A file of settings."})

    def export(self, form: str, indices: np.ndarray, workload: Workload) -> Mapping[str, str]:
        design = self.space.design_at(indices)
        if design["mode"] == "off":
            raise InvalidDesignError("The tool cannot be off; `mode` is.")
        power = stated(self, indices, workload)["power_mw"]
        numbers = [
            Number(
                metric="power_mw", value=power, unit="mW", tolerance=rounding(power, 6),
                after=("Power:",), units={"mW": 1.0, "uW": 1e-3},
            ),
            Number(
                metric="power_mw", value=power, unit="mW", tolerance=1e-9, file="out/t.csv",
                column="power", weights=(1.0, 1.0),
            ),
        ]  # fmt: skip
        tool = Tool(name="Wattmeter", release="7", get="buy one.", program="wattmeter")
        return folder(tool, {"settings.txt": f"{design['banks']}\n"}, '"$tool" x', numbers)


def toy_task() -> Task:
    return Task.make(ToolToy(), "light", "balanced")


def tool_that(script: str, folder: Path) -> Path:
    """Return a program that runs lines of a shell."""
    path = folder / "wattmeter"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def run(script: str, folder: Path, **more: float) -> Confirmation:
    at = tool_that(script, folder)
    (found,) = confirm(toy_task(), [SPACE.indices_of(DESIGN)], "tool", at=at, **more)
    return found


def test_numbers_of_the_tool_are_compared_with_ours(tmp_path: Path) -> None:
    found = run(GOOD, tmp_path)

    assert found.is_equal
    assert found.result == "equal"
    assert [n.tool for n in found.numbers] == [20.1, 20.1]
    assert [n.stated for n in found.numbers] == pytest.approx([20.1, 20.1])
    # Half of the last digit that is printed.
    assert found.numbers[0].tolerance == pytest.approx(5e-5)


def test_number_in_another_known_unit_is_equal(tmp_path: Path) -> None:
    assert run(GOOD.replace("20.1 mW", "20100 uW"), tmp_path).is_equal


def test_other_number_differs(tmp_path: Path) -> None:
    found = run(GOOD.replace("20.1", "20.2"), tmp_path)

    assert not found.is_equal
    assert found.numbers[0].difference == pytest.approx(0.1)
    assert found.result == "power_mw differ"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("true", "wrote no file 't.csv'"),
        (GOOD.replace("Power:", "Watts:"), "which is absent"),
        (GOOD.replace("20.1 mW", ""), "must have a number"),
        (GOOD.replace("20.1", "20.1.5"), "must have a number"),
        (GOOD.replace("20.1", 50 * "9"), "must have a number"),
        (GOOD.replace("20.1", "NaN"), "must have a number"),
        (GOOD.replace("20.1", "nan"), "must be finite"),
        (GOOD.replace("20.1", "1e999"), "must be finite"),
        (GOOD.replace("20.1 mW", "20.1 W"), "must be in mW or uW; got 'W'"),
        (GOOD.replace("out/t.csv", "out/u.csv"), "wrote no file 't.csv'"),
        (GOOD.replace("area,power", "area,watts"), "with numbers in column 'power'"),
        (GOOD.replace("10.05", "x"), "with numbers in column 'power'"),
        (GOOD.replace("10.05", "nan"), "must be finite"),
        (GOOD.replace("1,10.05\\n1,10.05", "1,10.05"), "must have 2 rows; got 1"),
        (GOOD + "; rm out/t.csv; ln -s /dev/zero out/t.csv", "wrote"),
        (GOOD + "; rm out/t.csv; mkfifo out/t.csv", "wrote"),
        ("yes", "printed more than"),
        ("printf 'bad \\033[31m' >&2; exit 3", "exit code 3"),
        ("kill -9 $$", "exit code"),
    ],
)
def test_hostile_tool_ends_in_one_line(
    script: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "_OUTPUT_BYTES", 2**16)

    found = run(script, tmp_path)

    assert not found.is_equal
    assert problem in found.problem
    assert found.problem.isprintable()


@pytest.mark.slow
def test_tool_is_bounded_in_time_and_in_what_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "_FILE_BYTES", 2**16)

    assert "took longer than 0.5 s" in run("sleep 30", tmp_path, time_limit_s=0.5).problem
    assert "exit code" in run("exec head -c 9999999 /dev/zero > big", tmp_path).problem


def test_tool_that_is_not_installed_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    for at in (None, tmp_path, tmp_path / "absent"):
        with pytest.raises(MissingProgramError, match=r"Wattmeter is not installed.*: buy one\."):
            list(confirm(toy_task(), [SPACE.indices_of(DESIGN)], "tool", at=at))


def test_names_of_folders_are_no_shell(tmp_path: Path) -> None:
    place = tmp_path / "a b$(touch owned);'\""
    place.mkdir()

    assert run(GOOD, place).is_equal
    assert not list(tmp_path.rglob("owned"))


def test_design_that_the_tool_cannot_express_is_named(tmp_path: Path) -> None:
    at = tool_that(GOOD, tmp_path)
    designs = [SPACE.default_indices, SPACE.indices_of(DESIGN)]

    found = list(confirm(toy_task(), designs, "tool", at=at))

    assert found[0].result == "not expressible: The tool cannot be off; `mode` is."
    assert verdicts(found) == ["Confirmed by Wattmeter: 1 of 2 equal"]


def test_run_that_was_made_elsewhere_is_compared(tmp_path: Path) -> None:
    task, design = toy_task(), SPACE.indices_of(DESIGN)
    export_design(task, design, "tool").write(tmp_path / "made")
    (tmp_path / "made" / "stdout.txt").write_text("Power: 20.1 mW\n")
    (tmp_path / "made" / "out").mkdir()
    (tmp_path / "made" / "out" / "t.csv").write_text("power\n10\n10.1\n")

    (found,) = confirm(task, [design], "tool", output=tmp_path / "made")

    assert found.is_equal
    with pytest.raises(InvalidArgumentError, match="is of one run; there are 2 designs"):
        list(confirm(task, [design, design], "tool", output=tmp_path / "made"))


def test_format_without_a_tool_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Unknown format 'json'"):
        list(confirm(toy_task(), [SPACE.indices_of(DESIGN)], "json"))


def test_folder_is_read_back_and_says_what_is_in_it() -> None:
    files = export_design(toy_task(), SPACE.indices_of(DESIGN), "tool").files

    tool, numbers = expected(files)

    assert set(files) == {"settings.txt", "run.sh", "expected.json", "README.md"}
    assert (tool.name, tool.release) == ("Wattmeter", "7")
    assert [number.stated for number in numbers] == pytest.approx([20.1, 20.1])
    assert "| `power_mw` | 20.1 | mW | stdout |" in files["README.md"]
    with pytest.raises(FileFormatError, match="is not as ArchGym writes it"):
        expected({"expected.json": '{"format": 2}'})
