"""Width of what commands write, and `archgym show` of several studies."""

import sys
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from archgym.cli.console import terminal
from tests.cli.conftest import Archgym


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the output a terminal of 80 columns without colours."""
    narrow = partial(Console, width=80, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(terminal, "stdout", lambda: narrow(file=sys.stdout))


def test_names_are_not_broken_at_80_columns(
    screen: None, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("max_active_transactions", "row-bank-column-xor", "refresh_max_postponed")
    text = "A long description that has to be wrapped, since it does not fit. " * 2

    terminal.table(("parameter", "value", ""), [(names[0], names[1], text), (names[2], "8", text)])

    shown = capsys.readouterr().out
    assert set(names) <= set(shown.split())
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80


def test_table_that_is_too_wide_becomes_one_record_per_row(
    screen: None, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = [f"column_with_a_long_name_{n}" for n in range(5)]

    terminal.table(columns, [[f"value_{n}" for n in range(5)]])

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "column_with_a_long_name_0  value_0"
    assert len(lines) == 6


def test_prose_is_wrapped_between_words_in_a_terminal(
    screen: None, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.prose("row-bank-column-xor " * 8)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["row-bank-column-xor"] * 4] * 2


def test_long_names_stand_on_lines_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal.table(
        ("metric", "best", "unit"),
        [("ipc", "0.5", "instructions"), ("mean_l2_tlb_miss_latency", "12.5", "cycles")],
        right=("best",),
    )

    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "metric               best   unit",
        "─" * 40,
        "ipc                   0.5   instructions",
        "mean_l2_tlb_miss_latency",
        "                     12.5   cycles",
        "",
    ]


@pytest.mark.parametrize(
    ("columns", "n_names"), [("", 4), ("x", 4), ("0", 4), ("60", 3), ("400", 10)]
)
def test_pipe_is_as_wide_as_columns_says_or_80(
    columns: str,
    n_names: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    terminal.prose("row-bank-column-xor " * 10)

    assert len(capsys.readouterr().out.splitlines()[0].split()) == n_names


@pytest.mark.parametrize("number", [1.1982e5, 3e-7, 2.5e19])
def test_number_has_no_exponent_of_a_program(number: float) -> None:
    assert "e" not in terminal.number(number)


def test_list_fits_a_screen(archgym: Archgym) -> None:
    # The simulator of the tests takes a line more than users have.
    assert archgym("list").out.count("\n") <= 25 + 1


def test_help_groups_the_commands(archgym: Archgym) -> None:
    shown = archgym("--help").out

    heads = [
        shown.index(f"\n{panel}:\n")
        for panel in ("Search", "Look", "Compare", "Data", "Simulator tools")
    ]
    assert heads == sorted(heads)
    assert "Commands:" not in shown
    assert shown.index("\n  explain ") < heads[2]


@pytest.mark.parametrize("group", [(), ("dataset",), ("moe",), ("sweep",)])
def test_help_shows_whole_summaries(archgym: Archgym, group: tuple[str, ...]) -> None:
    shown = archgym(*group, "--help").out

    assert "..." not in shown.replace("[ARGS]...", "")
    assert max(map(len, shown.splitlines())) <= 80


def test_width_of_a_pipe_breaks_no_name(archgym: Archgym, study: Path) -> None:
    for command in (("show", study), ("list",), ("describe", "dram"), ("describe", "genetic")):
        shown = archgym(*command).out.splitlines()
        # A command line stays whole, so that it can be pasted.
        shown = [line for line in shown if "archgym evaluate" not in line]
        assert max(map(len, shown)) <= 80, command
    assert "max_active_transactions" in archgym("describe", "dram").out


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_number_of_best_designs_is_one_or_more(archgym: Archgym, study: Path, number: str) -> None:
    ran = archgym("show", study, "--top", number)

    assert ran.code == 2
    assert "--top" in ran.err


def test_studies_of_different_workloads_are_not_compared(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-w", "heavy", "-a", "random", "-n", "12", "--out", "heavy")

    ran = archgym("show", study, "heavy")

    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "must be of the same task" in ran.err


def test_top_designs_are_distinct_and_best_first(archgym: Archgym, study: Path) -> None:
    archgym("search", "plugin", "-a", "genetic", "-n", "12", "--out", "other")

    found = archgym("show", study, "other", "--top", "4", "--json").json["top"]

    rewards = [design["reward"] for design in found]
    assert len({str(design["design"]) for design in found}) == 4
    assert rewards == sorted(rewards, reverse=True)
    bests = [archgym("show", s, "--json").json["best"]["reward"] for s in (study, "other")]
    assert rewards[0] == max(bests)
    assert "Best 4 designs" in archgym("show", study, "--top", "4").out
