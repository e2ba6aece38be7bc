"""Files of tuned hyperparameters."""

from pathlib import Path

import pytest

from archgym.agent.agent import agent_class, make_agent
from archgym.errors import FileFormatError, UnknownNameError
from archgym.sweep.reading import read_plan
from archgym.sweep.tuned_settings import (
    TunedEntry,
    read_tuned,
    shipped_tuned,
    tuned_hyperparameters,
    write_tuned,
)
from tests.sweep.conftest import WritePlan
from tests.toys import SPACE

TASK = "plugin/default/light/low-latency-v0"
ENTRY = TunedEntry(TASK, "genetic", {"population": 9, "crossover": 0.25}, {"draws": 3})
OTHER = TunedEntry("target: x<=1e5/v0", "ant", {"mode": "1e5", "flag": True}, {"note": "é: #"})


def test_what_is_written_is_read() -> None:
    write_tuned("tuned.yaml", ENTRY)
    write_tuned("tuned.yaml", OTHER)

    assert read_tuned("tuned.yaml") == (ENTRY, OTHER)


def test_a_newer_entry_takes_the_place_of_an_older_one() -> None:
    write_tuned("tuned.yaml", ENTRY)
    write_tuned("tuned.yaml", OTHER)
    newer = TunedEntry(TASK, "genetic", {}, {})
    write_tuned("tuned.yaml", newer)

    assert read_tuned("tuned.yaml") == (newer, OTHER)


def test_a_file_of_another_kind_is_not_overwritten() -> None:
    Path("tuned.yaml").write_text("mine: [1, 2]\n")

    with pytest.raises(FileFormatError, match=r"tuned\.yaml:1"):
        write_tuned("tuned.yaml", ENTRY)

    assert Path("tuned.yaml").read_text() == "mine: [1, 2]\n"


@pytest.mark.parametrize(
    ("task", "agent", "words"),
    [
        (TASK, "ant", "On this task there are some for genetic."),
        ("other", "genetic", f"This agent has some on {TASK}."),
        ("other", "random", f"There are some for genetic on {TASK}."),
    ],
)
def test_what_is_absent_is_said_with_what_there_is(task: str, agent: str, words: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        tuned_hyperparameters(task, agent, [ENTRY])

    assert words in str(caught.value)


def test_plans_take_them_and_what_a_plan_says_counts_more(write_plan: WritePlan) -> None:
    write_tuned("tuned.yaml", ENTRY)
    path = write_plan(
        ("agent: genetic", "agent: genetic\n    tuned: tuned.yaml"), (", crossover: 1", "")
    )

    run = read_plan(path).runs(["small"])[0]

    assert run.hyperparameters == {"population": 6, "crossover": 0.25}


def test_shipped_ones_name_agents_that_take_them() -> None:
    for entry in shipped_tuned():
        make_agent(agent_class(entry.agent), SPACE, 0, entry.hyperparameters)
        for member in ("draws", "seeds", "budget", "default_mean", "tuned_mean", "command"):
            assert member in entry.found_by, entry
