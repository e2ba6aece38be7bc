"""`archgym list` and `archgym describe`."""

import re
from collections.abc import Callable

import pytest

from archgym.cli.commands.describe import _values
from archgym.evaluation.options import declared_options, make_simulator
from archgym.evaluation.simulator import simulator_class, simulator_names
from archgym.proxy.model import model_names
from tests.cli.conftest import Archgym


def test_list_shows_a_simulator_of_another_package(archgym: Archgym) -> None:
    ran = archgym("list")

    assert ran.code == 0
    assert "plugin" in ran.out
    assert "genetic" in ran.out


def needs_size(self: object, size: int) -> None:
    pass


def breaks(self: object) -> None:
    raise OSError("no\nsuch model")


@pytest.mark.parametrize(
    ("constructor", "why"),
    [
        (needs_size, "Give its other arguments defaults."),
        (breaks, "loaded: OSError: no such model."),
    ],
)
def test_list_gives_the_others_where_a_simulator_cannot_be_made(
    archgym: Archgym,
    monkeypatch: pytest.MonkeyPatch,
    constructor: Callable[..., None],
    why: str,
) -> None:
    monkeypatch.setattr("tests.cli.plugin.PluginSimulator.__init__", constructor)

    ran = archgym("list", "spaces", "--json")

    assert (ran.code, "default" in ran.json["spaces"]["dram"]) == (0, True)
    assert "plugin" not in ran.json["spaces"]
    assert ran.err.count("\n") == 1
    assert f"{why} It is not listed." in ran.err


def test_list_of_a_simulator_that_cannot_be_made_is_an_error(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cli.plugin.PluginSimulator.__init__", needs_size)

    ran = archgym("list", "spaces", "--simulator", "plugin")

    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "its constructor differs" in ran.err


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("spaces", ["default"]),
        ("workloads", ["light", "heavy"]),
        ("fidelities", ["standard"]),
        ("devices", ["small", "large"]),
    ],
)
def test_list_gives_names_of_one_kind_as_json(
    archgym: Archgym, kind: str, expected: list[str]
) -> None:
    ran = archgym("list", kind, "--simulator", "plugin", "--json")

    assert ran.json == {kind: {"plugin": expected}}


def test_list_gives_the_devices_of_dram(archgym: Archgym) -> None:
    ran = archgym("list", "devices", "--simulator", "dram", "--json")

    assert "ddr4-2400" in ran.json["devices"]["dram"]


def test_describe_simulator_names_parameters_constraints_and_count(archgym: Archgym) -> None:
    ran = archgym("describe", "plugin")

    for text in ("banks", "The buffer is too large.", "5,280 combinations", "mode == 'fast'", "ns"):
        assert text in ran.out


def test_describe_simulator_as_json_gives_a_space_that_can_be_read(archgym: Archgym) -> None:
    from archgym.spaces.space import DesignSpace
    from tests.toys import SPACE

    ran = archgym("describe", "plugin", "--json")

    assert DesignSpace.from_json(ran.json["space"]) == SPACE
    assert ran.json["size"] == 5280


def test_describe_agent_lists_hyperparameters(archgym: Archgym) -> None:
    ran = archgym("describe", "genetic")

    assert "population" in ran.out


def test_describe_workload_gives_value_and_unit(archgym: Archgym) -> None:
    ran = archgym("describe", "plugin", "--workload", "heavy", "--json")

    assert ran.json["characteristics"] == {"load": {"value": 3.0, "unit": ""}}


def test_wrong_name_lists_the_near_one(archgym: Archgym) -> None:
    ran = archgym("describe", "genetik")

    assert ran.code == 1
    assert "'genetic'" in ran.err


def test_without_a_command_the_help_is_shown(archgym: Archgym) -> None:
    ran = archgym()

    assert ran.code == 0
    assert "search" in ran.out


def test_list_of_models_is_that_of_the_registry(archgym: Archgym) -> None:
    ran = archgym("list", "models", "--json")

    assert ran.json == {"models": list(model_names())}
    assert "boosting" in ran.json["models"]


@pytest.mark.parametrize("kind", ["models", "agents"])
def test_names_that_belong_to_no_simulator_refuse_one(archgym: Archgym, kind: str) -> None:
    ran = archgym("list", kind, "--simulator", "moe")

    assert ran.code == 1
    assert "`--simulator` must be left out" in ran.err


def test_workloads_of_all_spaces_are_listed(archgym: Archgym) -> None:
    listed = archgym("list", "workloads", "--simulator", "moe", "--json").json["workloads"]["moe"]

    for space in ("edge-offload", "closed-loop", "three-tier"):
        made = make_simulator(simulator_class("moe"), space, None, {})
        assert set(made.workload_names()) <= set(listed)


@pytest.mark.parametrize("name", simulator_names())
def test_describe_marks_the_default_of_every_option(name: str) -> None:
    for option in declared_options(simulator_class(name)):
        text, low, high = _values(option), option.option.low, option.option.high
        marked = re.findall(r"(\S+)\*", text) + re.findall(r"\(default: (.+)\)$", text)
        if marked:
            assert len(marked) == 1
            assert option.parsed(marked[0]) == option.default
        else:
            assert option.default in ("", None) or not low <= option.default <= high


def test_list_of_options_has_their_documentation_and_defaults(archgym: Archgym) -> None:
    ran = archgym("list", "options", "--simulator", "plugin")

    assert "Size of the device. small*, large" in " ".join(ran.out.split())


def test_describe_names_usual_limits_and_reasons_of_the_model(archgym: Archgym) -> None:
    text = " ".join(archgym("describe", "moe").out.split())

    assert "--minimise and --maximise also keep" in text
    assert "The toy overheats." in archgym("describe", "plugin").out
