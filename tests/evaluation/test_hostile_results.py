"""Numbers, names and files that once got past the checks."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from archgym.composition.compose import FunctionComposition
from archgym.control.tasks import joined_names
from archgym.errors import FileFormatError, InvalidArgumentError, SimulatorError
from archgym.evaluation.function import FunctionSimulator
from archgym.rules.language import check_rule
from archgym.simulators.accelerator.workloads import network_csv
from archgym.simulators.kv.formats.trace import read_sessions
from archgym.spaces.parameter import Integer
from archgym.tasks.task import Task
from archgym.testing import ProvingSimulator

SPACE = [Integer(name="ways", low=1, high=4)]


def test_number_that_no_float_holds_fails_the_design() -> None:
    huge = FunctionSimulator(lambda design: {"ns": 10**400}, SPACE, {"ns": "minimise"})

    with pytest.raises(SimulatorError, match="must be a finite number"):
        Task.make(huge)


@pytest.mark.parametrize("value", [1e200, 10**400, float("inf")], ids=["large", "huge", "infinite"])
def test_coupling_that_returns_huge_numbers_is_refused_in_one_line(value: Any) -> None:
    parts = {n: ProvingSimulator("tiny", has_failures=False) for n in ("first", "second")}

    def couple(parts: Any, workload: Any) -> dict[str, float]:
        for part in parts.values():
            part.run(workload)
        return {"ns": value}

    made = FunctionComposition(couple, {"ns": "minimise"}, parts, links={})
    with pytest.raises(SimulatorError, match=r"below 1e.154 in size") as refusal:
        Task.make(made)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("depth", [300, 900, 980, 1_000, 100_000])
@pytest.mark.parametrize("around", ["{}", '{{"requests": [{{"keep": 0, "in": {}}}]}}'])
def test_nested_sessions_are_refused_with_their_file(
    tmp_path: Path, depth: int, around: str
) -> None:
    path = tmp_path / "deep.json"
    path.write_text(around.format("[" * depth + "]" * depth))

    with pytest.raises(FileFormatError, match=r"deep\.json"):
        read_sessions(path)


def test_more_joined_names_than_any_option_has_are_refused_at_once() -> None:
    assert len(joined_names("+".join(["a"] * 64))) == 64
    with pytest.raises(InvalidArgumentError, match="at most 64 names"):
        joined_names("+".join(["a"] * 5_000))


def test_name_of_a_layer_is_no_formula() -> None:
    text = network_csv([{"layer": "=cmd|' /C calc'!A0", "kind": "conv"}], "a model")

    (cells,) = csv.DictReader(io.StringIO(text.split("\n", 1)[1]))
    assert cells["layer"].startswith("'=")


@pytest.mark.parametrize("bounds", ["9223372036854775806, 9223372036854775807", "2**3", "10**30"])
def test_bounds_of_loops_beyond_every_number_are_refused(bounds: str) -> None:
    rule = (
        'DOMAIN = "tlb"\nlast = per_line(bits=32)\n\n\ndef victim(line, set, time):\n'
        f"    for way in range({bounds}):\n        last[line] = way\n    return 0\n"
    )

    with pytest.raises(FileFormatError) as refusal:
        check_rule(rule)
    assert refusal.value.line == 6
