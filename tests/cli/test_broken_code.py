"""Broken code of others and full disks: one line, a code other than 0, and a hint that works."""

import errno
import resource
import shlex
from pathlib import Path
from typing import Any

import pytest

from archgym.agents.random import RandomAgent
from archgym.errors import StorageError
from archgym.studies.journal import JournalWriter
from tests.cli.conftest import Archgym
from tests.toys import ToySimulator


@pytest.mark.parametrize("result", [[1.0], None, (1.0, 2.0)])
def test_simulator_that_returns_something_else_is_refused_in_one_line(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch, result: object
) -> None:
    monkeypatch.setattr(ToySimulator, "simulate", lambda *_: result)

    ran = archgym("search", "plugin", "-n", "3", "--out", "s")

    assert ran.code == 1
    assert f"got a value of type {type(result).__name__}" in ran.err
    assert len(ran.err.splitlines()) == 1


class SilentError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [SilentError(), SystemExit(0), SystemExit(None)])
def test_agent_that_raises_anything_gives_one_line_and_a_code(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def search(*_: object) -> None:
        raise error

    monkeypatch.setattr(RandomAgent, "search", search)

    ran = archgym("search", "plugin", "-a", "random", "-n", "3", "--out", "s")

    assert ran.code == 1
    assert type(error).__name__ in ran.err
    assert len(ran.err.splitlines()) == 1


def test_constructor_that_exits_gives_a_code(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*_: object, **__: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(RandomAgent, "__init__", leave)

    ran = archgym("search", "plugin", "-a", "random", "-n", "3", "--out", "s")

    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1


def test_error_without_a_text_costs_one_design(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate, calls = ToySimulator.simulate, []

    def broken(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == 3:
            raise SilentError
        return simulate(*arguments)

    monkeypatch.setattr(ToySimulator, "simulate", broken)

    ran = archgym("search", "plugin", "-a", "random", "-n", "8", "--out", "s")

    assert ran.code == 0, ran.err
    assert len(Path("s/journal.jsonl").read_bytes().splitlines()) >= 8


def test_hint_after_a_full_disk_is_a_command_that_works(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = JournalWriter.append

    def refuse(*_: object) -> None:
        refusal = StorageError(
            "s cannot be written: the disk is full. Free some space and run the same command again."
        )
        refusal.errno = errno.ENOSPC
        raise refusal

    monkeypatch.setattr(JournalWriter, "append", refuse)
    full = archgym("search", "plugin", "-a", "random", "-n", "8", "--out", "a b; c")
    monkeypatch.setattr(JournalWriter, "append", append)

    assert full.code == 1
    hint = full.err.strip().rpartition("run: ")[2].removesuffix(".")
    again = archgym(*shlex.split(hint)[1:])
    assert again.code == 0, again.err
    assert len(Path("a b; c/journal.jsonl").read_bytes().splitlines()) >= 8


def test_hint_of_a_folder_in_use_is_quoted(archgym: Archgym, study: Path) -> None:
    study.rename("a b; c")

    ran = archgym("search", "plugin", "-n", "3", "--out", "a b; c")

    assert ran.code == 1
    assert "archgym resume 'a b; c'" in ran.err


@pytest.mark.parametrize("error", [MemoryError("cannot allocate"), ImportError("no such symbol")])
def test_little_address_space_is_named_as_the_cause(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    limits = {resource.RLIMIT_AS: (700 * 2**20, 2**40)}
    real = resource.getrlimit
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits.get(kind) or real(kind))
    monkeypatch.setattr(ToySimulator, "simulate", fail)

    ran = archgym("evaluate", "plugin")

    assert ran.code == 1
    assert "the address space is limited to 700 MiB" in ran.err
    assert "ulimit -v unlimited" in ran.err
    assert ran.err.count("\n") == 1


def test_full_address_space_blames_no_limit(
    archgym: Archgym, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("cannot allocate")

    unlimited = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda kind: unlimited)
    monkeypatch.setattr(ToySimulator, "simulate", fail)

    assert "address space" not in archgym("evaluate", "plugin").err
