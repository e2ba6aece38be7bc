"""`archgym control compare`: its table and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from archgym.cli.console.progress import CountBar
from archgym.control.policies import LookAhead, Network
from archgym.control.tasks import Episode
from tests.cli.conftest import Archgym
from tests.control.test_families import own_trace

_SHORT = ("control", "compare", "hand", "--task", "dram-locality:requests=2000", "--horizon", "1")


def test_run_too_short_for_a_gap_is_told_and_a_split_counts_once(archgym: Archgym) -> None:
    ran = archgym(*_SHORT, "--episodes", "2", "--split", "held-out", "--split", "held-out")

    # Before: `nan` and `-inf`, and every row twice.
    assert ran.out.count("look-ahead ") == 1
    assert "nan" not in ran.out
    assert "inf" not in ran.out
    assert "Look-ahead saves less than 0.05 % on split held-out" in ran.err


def test_policy_that_saves_more_than_look_ahead_is_told(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LookAhead, "act", lambda self, episode: (0,))

    task = "dram-locality:requests=4000,epoch=50"
    ran = archgym(*_SHORT[:3], "--task", task, "--horizon", "1", "--episodes", "1")

    # Before: there was said to be no gap.
    assert "Policy 'hand' saves more than look-ahead on split held-out" in ran.err
    assert "`--horizon 400` or `--beam 8`" in ran.err
    assert "no gap" not in ran.err


def test_options_are_checked_before_any_run(archgym: Archgym, tmp_path: Path) -> None:
    many = archgym(*_SHORT, "--episodes", "12")
    absent = archgym(*_SHORT, "--picture", str(tmp_path / "none" / "x.png"))
    drawn = archgym(*_SHORT, "--picture", str(tmp_path / "x.gif"))

    assert "`--episodes` must be a whole number from 1 to 10; got 12." in many.err
    assert "`--picture` must be in a folder that exists" in absent.err
    assert "`--picture` must end in .svg, .png or .pdf" in drawn.err


def test_policy_of_another_task_is_refused_before_any_run(
    archgym: Archgym, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain, template in (
        ("cpu-control", "hand"),
        ("dram-scheduling", "frfcfs"),
        ("tlb", "lru"),
    ):
        made = archgym("rule", "new", f"{domain}.py", "--domain", domain, "--template", template)
        assert made.code == 0, made.err
    Network("cpu-mixture", [(np.zeros((31, 9)), np.zeros(9))]).write("cpu.npz")
    # Before: refused once look-ahead had run.
    monkeypatch.setattr(Episode, "step", None)

    for name in ("cpu-control.py", "dram-scheduling.py", "tlb.py", "cpu.npz"):
        ran = archgym("control", "compare", name, "--horizon", "1")
        assert ran.code == 1
        wanted = "one output for each" if name == "cpu.npz" else "must have a task of that domain"
        assert wanted in ran.err
        assert ran.err.count("\n") <= 2


def test_epochs_of_branches_are_progress_too(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[float, float | None]] = []
    monkeypatch.setattr(CountBar, "show", lambda bar, done, total: shown.append((done, total)))

    ran = archgym(
        "control", "compare", "hand", "--task", "dram-locality:requests=1250", "--episodes", "1",
        "--horizon", "1",
    )  # fmt: skip

    assert ran.code == 0
    # Before: nothing, however long it took. Five epochs of a task that no other test has run, each
    # tried under six actions.
    assert [done for done, _ in shown] == list(range(1, len(shown) + 1))
    assert len(shown) >= 30 + 5 * 6


def test_settings_under_which_a_memory_never_ends_are_compared(archgym: Archgym) -> None:
    ran = archgym(
        "control", "compare", "hand", "--task", "dram-locality:device=hbm3,requests=8000",
        "--episodes", "1", "--horizon", "1",
    )  # fmt: skip

    # Before: "The controllers never end under these settings."
    assert ran.code == 0, ran.err
    assert "hindsight" in ran.out


def test_tasks_are_listed_as_json_with_defaults_of_their_own(archgym: Archgym) -> None:
    told = {each["name"]: each for each in json.loads(archgym("control", "tasks", "--json").out)}

    options = {each["name"]: each for each in told["cpu-narrow"]["options"]}
    assert options["data_rate"] == {
        "name": "data_rate", "default": 800, "values": "200 to 6,400 MT/s",
    }  # fmt: skip
    assert "--beam" in archgym(*_SHORT, "--beam", "10001").err
    assert "`--horizon` must be" in archgym(*_SHORT[:-1], "0").err


def test_policy_is_trained_and_run_on_an_own_trace_with_two_commands(
    archgym: Archgym,
) -> None:
    own_trace(Path("mine.stl"))
    task = "dram-locality:requests=3000"

    made = archgym("control", "train", task, "--out", "policy", "--rounds", "1", "--episodes", "3")
    ran = archgym("control", "run", "policy.npz", "--trace", "mine.stl", "--rule", "small.py")

    assert (made.code, ran.code) == (0, 0)
    for words in ("policy", "hindsight", "Watched: 9 counters", "bits"):
        assert words in ran.out
    checked = archgym("control", "compare", "small.py", "--task", task, "--episodes", "1",
        "--horizon", "1")  # fmt: skip
    assert checked.code == 0
    told = archgym("control", "run", "hand", "--trace", "mine.stl", "--task", task, "--json")
    shown = json.loads(told.out)
    scores = {row["policy"]: row["scores"] for row in shown["rows"]}
    # The rule is a threshold on one counter, which a tree repeats.
    assert scores["table"] == scores["hand"]
    assert {*shown["table"]} == {"source", "bits", "operations", "agreement"}
