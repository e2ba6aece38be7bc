"""Tests of the exceptions."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from archgym import errors
from archgym.errors import (
    ArchGymError,
    FileFormatError,
    MissingExtraError,
    StudyInterrupted,
    unknown_name,
)

CLASSES = [
    value
    for name, value in vars(errors).items()
    if isinstance(value, type) and value.__module__ == errors.__name__
]


def test_name_that_is_no_text_does_not_exist_either() -> None:
    name: Any = 5

    assert str(unknown_name("space", name, ["a"])) == "Unknown space 5. Known: 'a'."


@pytest.mark.parametrize("kind", CLASSES)
def test_every_exception_is_below_archgym_error(kind: type[Exception]) -> None:
    assert issubclass(kind, ArchGymError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.InvalidDesignError, ValueError),
        (errors.InvalidSpaceError, ValueError),
        (errors.FileFormatError, ValueError),
        (errors.UnknownNameError, LookupError),
        (errors.SimulatorError, RuntimeError),
        (errors.StudyLockedError, RuntimeError),
        (errors.ReplayError, RuntimeError),
        (errors.StorageError, OSError),
        (errors.MissingExtraError, ImportError),
        (errors.ConformanceError, AssertionError),
    ],
)
def test_exception_refines_a_builtin(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)


def test_unknown_name_offers_near_names() -> None:
    error = unknown_name("agent", "genetik", ["random", "genetic", "bayesian"])

    assert str(error) == "Unknown agent 'genetik'. Did you mean 'genetic'?"


def test_parts_in_another_order_are_found() -> None:
    error = unknown_name("simulator", "dram+cpu", ["cpu+dram", "kv+dram", "dram", "cpu"])

    assert str(error).endswith("Did you mean 'cpu+dram'?")


def test_name_in_other_capitals_is_found() -> None:
    error = unknown_name("device", "DDR5", ["ddr5", "GDDR5", "DDR4"])

    assert str(error).endswith("Did you mean 'ddr5'?")


def test_unknown_name_lists_all_where_none_is_near() -> None:
    error = unknown_name("agent", "xyz", ["random", "genetic"])

    assert str(error) == "Unknown agent 'xyz'. Known: 'genetic', 'random'."


def test_unknown_name_says_how_many_it_does_not_list() -> None:
    error = unknown_name("agent", "xyz", [f"{number:02}" for number in range(33)])

    assert str(error).endswith("'28', '29', and 3 more.")


def test_unknown_name_says_when_nothing_is_known() -> None:
    assert str(unknown_name("space", "x", [])) == "Unknown space 'x'. No names are known."


def test_unknown_name_keeps_capitals_of_what_is_named() -> None:
    error = unknown_name("option of simulator 'DRAM'", "x", ["device"])

    assert str(error).startswith("Unknown option 'x' of simulator 'DRAM'.")


def test_file_format_error_names_place_problem_and_remedy() -> None:
    error = FileFormatError("a.json", 3, "An object must come; got 5", "Write it again")

    assert str(error) == "a.json:3: An object must come; got 5. Write it again."
    assert error.line == 3


def test_file_format_error_without_line() -> None:
    assert str(FileFormatError("a.gz", None, "It must be gzip")) == "a.gz: It must be gzip."


def test_missing_extra_error_says_how_to_install() -> None:
    assert "pip install 'archgym[rl]'" in str(MissingExtraError("torch", "rl"))


@pytest.mark.parametrize(
    "error",
    [
        FileFormatError("a.json", 3, "An object must come", "Write it again"),
        MissingExtraError("torch", "rl"),
        StudyInterrupted("stopped", 15),
        unknown_name("agent", "x", ["y"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exceptions_pickle_for_other_processes(error: ArchGymError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert str(copy) == str(error)
    assert {**vars(copy)} == {**vars(error)}


def test_error_whose_message_fails_has_a_text() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert errors.error_text(SilentError()) == "(no message: SilentError.__str__ fails)"
    assert errors.error_text(ValueError("plain")) == "plain"


@pytest.mark.parametrize("name", ["runs/first", "design.json", "a\\b", "..\\x.csv"])
def test_unknown_name_that_looks_like_a_path_is_said_to_be_no_file(name: str) -> None:
    error = unknown_name("simulator", name, ["cpu", "dram"])

    assert str(error).startswith(f"There is no file or folder {name!r}, and no simulator has this")
    assert str(error).endswith("Known: 'cpu', 'dram'.")


@pytest.mark.parametrize("name", ["drum", "0.5", "a-v1", "bursty_rw"])
def test_unknown_name_that_looks_like_a_name_is_said_to_be_unknown(name: str) -> None:
    assert str(unknown_name("workload", name, ["x"])).startswith(f"Unknown workload {name!r}.")


def test_unknown_name_of_a_file_that_exists_is_not_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "there.txt"
    path.write_text("")

    assert "no file" not in str(unknown_name("trace", str(path), ["x"]))
