"""Families in plans: grids and draws become agents, and errors name the line."""

import json
from pathlib import Path

import pytest

from archgym.agent.agent import agent_class
from archgym.errors import FileFormatError, UnknownNameError
from archgym.sweep.reading import read_plan, read_recorded_plan, write_recorded_plan
from tests.sweep.conftest import WritePlan

SMALL = "    agent: genetic\n    hyperparameters: {population: 6, crossover: 1}\n"


def with_family(write_plan: WritePlan, family: str) -> Path:
    """The plan, whose agent ``small`` in line 10 is a family of genetic ones from line 11 on."""
    return write_plan((SMALL, f"    agent: genetic\n    {family}\n"))


def test_a_grid_is_an_agent_for_each_combination(write_plan: WritePlan) -> None:
    plan = read_plan(with_family(write_plan, "grid: {population: [8, 16], crossover: [0, 1]}"))

    assert [(agent.label, agent.hyperparameters) for agent in plan.agents[1:]] == [
        ("small-00", {"population": 8, "crossover": 0.0}),
        ("small-01", {"population": 8, "crossover": 1.0}),
        ("small-02", {"population": 16, "crossover": 0.0}),
        ("small-03", {"population": 16, "crossover": 1.0}),
    ]
    assert {agent.group for agent in plan.agents} == {"", "small"}


def test_draws_are_agents_beside_the_one_with_defaults(write_plan: WritePlan) -> None:
    plan = read_plan(with_family(write_plan, "draws: 12\n    hyperparameters: {population: 6}"))

    labels = [agent.label for agent in plan.agents]
    assert labels == ["random", "small-defaults", *(f"small-{n:02}" for n in range(12))]
    assert plan.agents[1].hyperparameters == {"population": 6}
    names = {p.name for p in agent_class("genetic").hyperparameters}
    for agent in plan.agents[2:]:
        assert agent.hyperparameters.keys() == names
        assert agent.hyperparameters["population"] == 6


def test_only_takes_families_beside_single_agents(write_plan: WritePlan) -> None:
    plan = read_plan(with_family(write_plan, "grid: {population: [8, 16]}"))

    assert [run.label for run in plan.runs(["small"], [0])] == ["small-00", "small-01"]
    assert [run.label for run in plan.runs(["small-01", "random"], [0])] == ["random", "small-01"]
    assert plan.runs(["small", "small-01", "random"]) == plan.runs()
    with pytest.raises(UnknownNameError, match="Did you mean 'small'"):
        plan.runs(["smal"])
    with pytest.raises(UnknownNameError, match="Unknown agent '' of the sweep"):
        plan.runs([""])


def test_draws_can_do_without_the_defaults(write_plan: WritePlan) -> None:
    plan = read_plan(with_family(write_plan, "draws: 2\n    include_defaults: false"))

    assert [agent.label for agent in plan.agents] == ["random", "small-00", "small-01"]


def test_draws_that_the_agent_refuses_on_a_task_are_drawn_again(write_plan: WritePlan) -> None:
    # Of eleven paces the largest is refused, and the least is the default.
    path = write_plan(
        (
            SMALL,
            "    agent: troubled\n    draws: 9\n    hyperparameters: {trouble: none, skill: 0}\n",
        )
    )

    paces = [agent.hyperparameters["pace_s"] for agent in read_plan(path).agents[2:]]

    assert sorted(paces) == [n / 10 for n in range(1, 10)]


def test_more_draws_only_add_to_a_plan(write_plan: WritePlan, tmp_path: Path) -> None:
    few = read_plan(with_family(write_plan, "draws: 3"))
    write_recorded_plan(tmp_path, few)

    more = read_plan(with_family(write_plan, "draws: 101"))

    assert read_recorded_plan(tmp_path) == few
    assert more.difference(read_recorded_plan(tmp_path)) is None
    assert more.agents[-1].label == "small-100"


def test_a_recorded_plan_lists_the_members_and_no_family(
    write_plan: WritePlan, tmp_path: Path
) -> None:
    write_recorded_plan(tmp_path, read_plan(with_family(write_plan, "grid: {population: [8]}")))

    agents = json.loads((tmp_path / "sweep.json").read_text())["agents"]

    assert agents["small-00"] == {
        "agent": "genetic",
        "hyperparameters": {"population": 8},
        "group": "small",
    }


@pytest.mark.parametrize(
    ("family", "line", "words"),
    [
        ("draws: 0", 12, ["`draws`", "from 1", "0"]),
        ("draws: 2\n    draw_seed: -1", 13, ["`draw_seed`"]),
        ("draws: 2\n    include_defaults: 1", 13, ["`include_defaults`", "true or false"]),
        ("draw_seed: 1", 12, ["`draw_seed` needs `draws`"]),
        ("draws: 2\n    grid: {population: [8]}", 13, ["`grid` and `draws`"]),
        ("grid: {}", 12, ["one hyperparameter or more"]),
        ("grid:\n      population: []", 13, ["a list of values", "an empty list"]),
        ("grid:\n      population: [8, 8]", 13, ["8 came twice"]),
        ("grid:\n      step: [0.5]\n      population: [8, 1]", 14, ["`population`", "got 1"]),
        ("grid:\n      populaton: [8]", 13, ["'populaton'", "'population'"]),
        (
            "hyperparameters: {population: 6}\n    grid: {population: [8]}",
            13,
            ["not in both"],
        ),
        ("hyperparameters: {population: 1}\n    draws: 2", 12, ["`population`", "1"]),
        (f"grid: {{population: {list(range(2, 10_003))}}}", 12, ["at most 10000", "10001"]),
        ("draws: 2\n  small-01: {agent: genetic}", 13, ["'small-01'"]),
    ],
)
def test_an_error_names_its_line(
    write_plan: WritePlan, family: str, line: int, words: list[str]
) -> None:
    path = with_family(write_plan, family)

    with pytest.raises(FileFormatError) as caught:
        read_plan(path)

    message = str(caught.value)
    assert message.startswith(f"plan.yaml:{line}: ")
    for word in words:
        assert word in message


def test_draws_beyond_the_ranges_are_refused(write_plan: WritePlan) -> None:
    path = write_plan(
        (
            SMALL,
            "    agent: troubled\n    draws: 10\n    hyperparameters: {trouble: none, skill: 0}\n",
        )
    )

    with pytest.raises(FileFormatError, match=r"yaml:12: .* at most 9, the settings .* got 10"):
        read_plan(path)
