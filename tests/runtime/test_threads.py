"""Tests of linear algebra on one thread."""

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from archgym.agents.few import FewAgent
from archgym.runtime.importing import one_thread
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace


def blas_threads() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_function_runs_on_one_thread_and_others_are_left_alone() -> None:
    import scipy.linalg  # noqa: F401  # loads a library of its own

    before = blas_threads()

    assert before
    assert set(one_thread(blas_threads)()) == {1}
    assert blas_threads() == before


def test_agent_thinks_on_one_thread() -> None:
    seen: list[int] = []
    agent = FewAgent(DesignSpace("line", [Integer("x", 0, 9)]), seed=0)
    plain = agent._next

    def watched() -> np.ndarray:
        seen.extend(blas_threads())
        return plain()

    agent._next = watched  # type: ignore[method-assign]
    agent.ask()

    assert set(seen) == {1}


def test_trees_of_few_rows_grow_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor as Trees
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

    from archgym.proxy.models.boosting import BoostingKind

    threads: set[int] = set()
    fit = Trees.fit

    def counted(self: Any, *given: Any) -> Any:
        threads.add(_openmp_effective_n_threads())
        return fit(self, *given)

    monkeypatch.setattr(Trees, "fit", counted)
    rows = np.random.default_rng(0).random((40, 3))
    BoostingKind().fit(rows, rows[:, :1], BoostingKind.settings[0], 0)

    assert threads == {1}
