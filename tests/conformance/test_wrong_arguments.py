"""Arguments of the wrong kind are refused in one clear line at every public entry point."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archgym as ag
from archgym.envs import DesignEnv, ParallelDesignEnv
from archgym.errors import InvalidArgumentError
from archgym.testing import ProvingSimulator
from tests.toys import ToySimulator

WRONG: tuple[Any, ...] = (object(), [object()], "no such thing", 5)
# Numbers with which a study would really run for a while, and arguments that take anything.
_RIGHT = ("seed", "budget", "patience", "max_asks", "minutes", "timeout_s", "prior")


def proving() -> ProvingSimulator:
    """A small simulator without failures."""
    return ProvingSimulator("tiny", has_failures=False)


def search(folder: Path, /, **given: Any) -> None:
    """Search the small simulator."""
    usual = {"budget": 2, "agent": "random", "folder": folder / "s"}
    ag.search(given.pop("problem", proving()), **(usual | given))


def make(folder: Path, /, **given: Any) -> None:
    """Make a task of the small simulator."""
    ag.Task.make(proving(), **given)


def make_dram(folder: Path, /, **given: Any) -> None:
    """Make a task of a registered simulator with options."""
    ag.Task.make("dram", **given)


def create(folder: Path, /, **given: Any) -> None:
    """Create a study."""
    usual = {"agent": "random", "budget": 2}
    ag.Study.create(folder / "s", ag.Task.make(proving(), "near"), **(usual | given)).close()


def design_env(folder: Path, /, **given: Any) -> None:
    """Make an environment of whole designs or choices."""
    DesignEnv(ag.Task.make(proving(), "near"), **given)


def team_env(folder: Path, /, **given: Any) -> None:
    """Make an environment of a team."""
    ParallelDesignEnv(ag.Task.make(proving(), "near"), **given)


ENTRIES: tuple[tuple[Callable[..., None], Callable[..., Any], tuple[str, ...]], ...] = (
    (search, ag.search, ("problem", "options")),
    (make, ag.Task.make, ("simulator", "options")),
    (make_dram, ag.Task.make, ("simulator", "options")),
    (create, ag.Study.create, ("folder", "task")),
    (design_env, DesignEnv.__init__, ("self", "task", "options")),
    (team_env, ParallelDesignEnv.__init__, ("self", "task", "options")),
)
CASES = [
    (enter, name, value)
    for enter, function, left_out in ENTRIES
    for name in inspect.signature(function).parameters
    if name not in left_out
    for value in WRONG
    if value != 5 or name not in _RIGHT
]
CASES += [(make_dram, name, value) for name in ("device", "address_mapping") for value in WRONG]


@pytest.mark.parametrize(
    ("enter", "name", "value"),
    CASES,
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_argument_of_a_wrong_kind_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    enter: Callable[..., None],
    name: str,
    value: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal = ""
    try:
        enter(tmp_path, **{name: value})
    except ag.ArchGymError as error:
        refusal = str(error)

    # Some arguments take anything, such as a flag.
    assert len(refusal.splitlines()) <= 1


NUMBERS = ("seed", "budget", "patience", "max_asks", "minutes", "timeout_s", "workers", "recheck")
# Numbers stand at what takes numbers; texts, which may be names, are not tried.
TYPES = [
    (enter, name, value)
    for enter, function, left_out in ENTRIES[:4]
    for name in inspect.signature(function).parameters
    if name not in left_out or name == "problem"
    for value in (object(), [object()], b"x", 5, {5: object()}, np.zeros(2), ToySimulator)
    if not (type(value) is int and name in NUMBERS)
]


def test_argument_of_another_type_is_named_with_what_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = []
    for enter, name, value in TYPES:
        try:
            # An agent that learns from earlier studies, so that they are looked at.
            agent = {} if name == "agent" or enter in (make, make_dram) else {"agent": "genetic"}
            enter(tmp_path, **{name: value, **agent})
            text = "accepted"
        except ag.ArchGymError as error:
            text = str(error)
        except Exception as error:
            text = repr(error)
        is_named = name.rstrip("s") in text.lower() and ("got" in text or "no argument" in text)
        if not (is_named or text.startswith("Unknown ")) or "\n" in text:
            wrong.append(f"{enter.__name__}({name}={value!r}): {text}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["fixed", "values", "hyperparameters", "start", "warm_start"])
def test_number_in_place_of_a_list_or_mapping_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        search(tmp_path, **{name: 5})

    assert str(refused.value).startswith(f"`{name}` must ")
    assert str(refused.value).endswith("got 5.")


def test_number_in_place_of_a_path_is_named(tmp_path: Path) -> None:
    search(tmp_path)
    found = ag.SearchResult.read(tmp_path / "s")

    # Before, these were raw TypeErrors.
    for read in (ag.SearchResult.read, lambda path: found.decide(measured=path)):
        with pytest.raises(InvalidArgumentError, match="`path` must be a path; got 5"):
            read(5)


@pytest.mark.parametrize("indices", [5, "no such thing"])
def test_designs_of_another_shape_are_refused(indices: Any) -> None:
    with pytest.raises(ag.ArchGymError, match="must have shape"):
        ag.Task.make(proving()).evaluate(indices)
