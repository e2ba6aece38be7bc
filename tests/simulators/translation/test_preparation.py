"""Layouts of traces are shared while they are in use, and forgotten when there are too many."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from archgym.simulators.translation import prepared as prepared_module
from archgym.simulators.translation.memory import Memory
from archgym.simulators.translation.prepared import _Latest, latest_prepared
from archgym.traces import shipped_trace


def held(n_bytes: int) -> Any:
    return SimpleNamespace(n_bytes=n_bytes)


def key(seed: int) -> tuple[str, int, Memory]:
    return "digest", 0, Memory(seed=seed)


def test_oldest_layout_goes_first() -> None:
    latest = _Latest(100)

    for seed in range(3):
        latest.put(key(seed), held(40))

    assert latest.get(key(0)) is None
    assert latest.get(key(1)) is not None
    assert latest.get(key(2)) is not None


def test_layout_that_was_used_stays() -> None:
    latest = _Latest(100)
    latest.put(key(0), held(40))
    latest.put(key(1), held(40))

    latest.get(key(0))
    latest.put(key(2), held(40))

    assert latest.get(key(0)) is not None
    assert latest.get(key(1)) is None


def test_last_layout_is_held_however_large() -> None:
    latest = _Latest(100)

    latest.put(key(0), held(1000))

    assert latest.get(key(0)) is not None


def test_threads_share_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    prepare = prepared_module.prepare

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return prepare(*arguments)

    monkeypatch.setattr(prepared_module, "prepare", counted)
    memory = Memory(seed=77)

    def ask(_: int) -> Any:
        return latest_prepared(shipped_trace("sort"), "only here", 1000, memory)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(8)))

    assert len(made) == 1
    assert all(one is found[0] for one in found)


def test_fidelity_and_memory_tell_layouts_apart() -> None:
    trace = shipped_trace("sort")

    short = latest_prepared(trace, "apart", 1000, Memory())

    assert latest_prepared(trace, "apart", 2000, Memory()) is not short
    assert latest_prepared(trace, "apart", 1000, Memory(huge_share=0.0)) is not short
    assert latest_prepared(trace, "apart", 1000, Memory()) is short
