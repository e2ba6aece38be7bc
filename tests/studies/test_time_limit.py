"""Time limits hold within an evaluation."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archgym.errors import SimulatorError
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.spec import SimulatorSpec
from archgym.searching import search
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace

SPACE = [Integer(name="ways", low=1, high=64)]
_ends = threading.Event()


def endless(design: Any) -> dict[str, float]:
    while design["ways"] != 1 and not _ends.is_set():
        pass
    return {"ns": 1.0}


class Sleeping(ExternalSimulator):
    spec = SimulatorSpec(
        name="sleeping",
        version=0,
        space=DesignSpace("default", SPACE),
        metrics=(MetricSpec("ns", "ns", "minimise", 0.1, "Time."),),
        objectives={"fast": Objective("fast", (Term("ns", "minimise"),))},
        default_objective="fast",
    )

    def command(self, design: Any, workload: Any) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]

    def parse(self, output: str, design: Any) -> dict[str, float]:
        return {"ns": 1.0}


@pytest.fixture(autouse=True)
def end_threads() -> Iterator[None]:
    _ends.clear()
    yield
    _ends.set()


@pytest.mark.parametrize("workers", [1, 2])
def test_search_ends_in_time_although_a_function_never_returns(
    tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    simulator = FunctionSimulator(endless, SPACE, {"ns": "minimise"})
    started = time.monotonic()

    found = search(
        simulator, budget=9, agent="random", minutes=0.02, folder=tmp_path / "s", workers=workers
    )

    assert (found.ended, time.monotonic() - started < 20.0) == ("minutes", True)
    assert "which was stopped" in caplog.text


def test_python_code_stops_when_its_time_is_over(tmp_path: Path) -> None:
    simulator = FunctionSimulator(endless, SPACE, {"ns": "minimise"})

    # Tests before may have left evaluations that nothing can stop.
    earlier = evaluating()

    search(simulator, budget=9, agent="random", minutes=0.01, folder=tmp_path / "s")

    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and evaluating() - earlier:
        time.sleep(0.01)
    assert evaluating() <= earlier


def evaluating() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "archgym-evaluation"}


def test_default_design_that_takes_longer_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archgym.searching._LOADING_S", 0.5)
    started = time.monotonic()

    with pytest.raises(SimulatorError, match="default design must be evaluated within"):
        search(Sleeping(), budget=3, minutes=0.001, folder=tmp_path / "s")

    assert time.monotonic() - started < 20.0


def test_first_evaluation_says_how_long_the_rest_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def slow(design: Any) -> dict[str, float]:
        time.sleep(0.2)
        return {"ns": float(design["ways"])}

    simulator = FunctionSimulator(slow, SPACE, {"ns": "minimise"})
    with caplog.at_level(logging.WARNING):
        found = search(simulator, budget=60, agent="random", minutes=0.02, folder=tmp_path / "s")

    assert found.ended == "minutes"
    assert 1 <= found.evaluations < 60
    assert caplog.text.count("One evaluation takes 0.2") == 1
