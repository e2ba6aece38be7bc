"""Layouts of traces are shared while they are in use, and forgotten when there are too many."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from archgym.simulators.translation.kernel import prepared as prepared_module
from archgym.simulators.translation.kernel.prepared import Prepared, latest_prepared
from archgym.simulators.translation.layout import Memory
from archgym.traces import shipped_trace


def laid_out(digest: str, seed: int) -> Prepared:
    return latest_prepared(shipped_trace("sort"), digest, 1000, Memory(seed=seed))


def hold_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for two layouts and no third one."""
    size = laid_out("size", 0).n_bytes
    monkeypatch.setattr(prepared_module, "_MAX_BYTES", size * 5 // 2)


def test_oldest_layout_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_two(monkeypatch)

    made = [laid_out("order", seed) for seed in range(3)]

    assert laid_out("order", 2) is made[2]
    assert laid_out("order", 1) is made[1]
    assert laid_out("order", 0) is not made[0]


def test_layout_that_was_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_two(monkeypatch)
    made = [laid_out("used", seed) for seed in range(2)]

    laid_out("used", 0)
    laid_out("used", 2)

    assert laid_out("used", 0) is made[0]
    assert laid_out("used", 1) is not made[1]


def test_last_layout_is_held_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_module, "_MAX_BYTES", 1)

    assert laid_out("large", 0) is laid_out("large", 0)


def test_threads_share_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    prepare = prepared_module.prepare

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(1)
        return prepare(*arguments, **options)

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
