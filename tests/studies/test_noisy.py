"""Studies of programs and functions whose results vary: they resume, repeat, and are decided on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.errors import SimulatorError
from archgym.evaluation.external import ExternalSimulator
from archgym.evaluation.function import FunctionSimulator
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import Objective, Term
from archgym.evaluation.spec import SimulatorSpec
from archgym.report.decision import decide
from archgym.searching import search
from archgym.spaces.parameter import Integer
from archgym.spaces.space import DesignSpace
from archgym.studies.snapshot import read_study
from archgym.tasks.task import Task

SPACE = [Integer(name="ways", low=1, high=64)]
SCRIPT = """
import random, sys, time
from pathlib import Path
import archgym as ag

class Noisy(ag.ExternalSimulator):
    spec = ag.SimulatorSpec(
        name="noisy",
        space=ag.DesignSpace("default", [ag.Integer(name="ways", low=1, high=64)]),
        metrics=(ag.MetricSpec("time_ns", "ns", "minimise", 0.1, "Time."),),
        objectives={"fast": ag.Objective("fast", (ag.Term("time_ns", "minimise"),))},
        default_objective="fast",
    )

    def command(self, design, workload):
        code = f"import random; print({design['ways']} + random.random())"
        return [sys.executable, "-I", "-S", "-c", code]

    def parse(self, output, design):
        return {"time_ns": float(output)}

if __name__ == "__main__":
    ag.search(Noisy(), agent="genetic", budget=40, folder=sys.argv[1])
"""


def noisy(design: Any) -> dict[str, float]:
    return {"time_ns": design["ways"] + random.random()}


def function(repeats: int = 1) -> FunctionSimulator:
    return FunctionSimulator(noisy, SPACE, {"time_ns": "minimise"}, repeats=repeats)


class Counted(ExternalSimulator):
    spec = SimulatorSpec(
        name="counted",
        version=0,
        space=DesignSpace("default", SPACE),
        metrics=(MetricSpec("time_ns", "ns", "minimise", 0.1, "Time."),),
        objectives={"fast": Objective("fast", (Term("time_ns", "minimise"),))},
        default_objective="fast",
    )
    repeats = 4

    def command(self, design: Any, workload: Any) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", "import time; print(time.time_ns() % 1000)"]

    def parse(self, output: str, design: Any) -> dict[str, float]:
        return {"time_ns": float(output)}


@pytest.mark.slow
def test_search_of_a_noisy_program_continues_after_each_kill(tmp_path: Path) -> None:
    script, folder = tmp_path / "noisy.py", tmp_path / "study"
    script.write_text(SCRIPT)
    seen: list[bytes] = []
    for _ in range(4):
        child = subprocess.Popen([sys.executable, str(script), str(folder)])
        journal, n = folder / "journal.jsonl", len(seen)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and child.poll() is None:
            if journal.exists() and len(journal.read_bytes().splitlines()) > n + 4:
                break
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        lines = journal.read_bytes().splitlines()
        assert lines[:n] == seen
        assert len(lines) > n
        seen = lines[:-1]

    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True)

    assert done.returncode == 0, done.stderr
    log = read_study(folder)
    assert (log.evaluations, log.status) == (40, "finished")
    assert journal.read_bytes().splitlines()[: len(seen)] == seen
    # All rewards have the base that was recorded first.
    base = float(log.reference[0, 0])
    rewards = np.log((base + 0.1) / (log.records.values[:, 0, 0] + 0.1))
    evaluated = log.is_evaluation
    assert np.allclose(rewards[evaluated], log.records.reward[evaluated])


def test_task_of_a_noisy_function_is_the_same_task_each_time() -> None:
    first, second = Task.make(function()), Task.make(function())

    assert not np.array_equal(first.reference, second.reference)
    assert first.digest == second.digest


def test_study_of_a_noisy_function_is_extended(tmp_path: Path) -> None:
    search(function(), budget=5, agent="random", folder=tmp_path / "s")
    before = read_study(tmp_path / "s")

    result = search(function(), budget=9, agent="random", folder=tmp_path / "s")

    after = read_study(tmp_path / "s")
    assert result.evaluations == 9
    assert after.reference.tolist() == before.reference.tolist()
    assert after.records.reward[:5].tolist() == before.records.reward[:5].tolist()


def test_study_is_opened_although_its_default_design_fails_now(tmp_path: Path) -> None:
    fails = False

    def flaky(design: Any) -> dict[str, float]:
        if fails:
            raise RuntimeError("the board is off")
        return {"time_ns": float(design["ways"])}

    simulator = FunctionSimulator(flaky, SPACE, {"time_ns": "minimise"})
    recipe = Task.make(simulator).to_json()
    fails = True

    with pytest.raises(SimulatorError, match="the board is off"):
        Task.make(simulator)
    assert Task.from_json(recipe, simulator).reference.tolist() == recipe["reference"]


@pytest.mark.parametrize("simulator", [function(5), Counted()], ids=["function", "program"])
def test_repeats_give_means_and_standard_errors(simulator: Any) -> None:
    task = Task.make(simulator)
    assert [spec.name for spec in task.metrics] == ["time_ns", "time_ns_standard_error"]
    assert [spec.goal for spec in task.metrics] == ["minimise", "none"]

    values = task.evaluate(np.zeros((1, 1), dtype=np.int64)).values[0, 0]

    assert values[1] > 0


def test_standard_error_is_that_of_the_mean() -> None:
    given = iter([1.0, 2.0, 6.0] * 2)
    simulator = FunctionSimulator(
        lambda design: {"ns": next(given)}, SPACE, {"ns": "minimise"}, repeats=3
    )

    values = Task.make(simulator).evaluate(np.zeros((1, 1), dtype=np.int64)).values[0, 0]

    # The variance of 1, 2 and 6 is 7.
    assert values.tolist() == pytest.approx([3.0, (7.0 / 3.0) ** 0.5])


def test_other_repeats_are_another_task() -> None:
    assert len({Task.make(function(n)).digest for n in (1, 2, 3)}) == 3


def test_decision_counts_the_standard_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def timed(design: Any) -> dict[str, float]:
        return {"time_ns": 100.0 + design["ways"] + rng.normal(0.0, 8.0)}

    space = [Integer(name="ways", low=1, high=2)]
    simulator = FunctionSimulator(timed, space, {"time_ns": "minimise"}, repeats=4)
    search(simulator, budget=2, agent="random", folder=tmp_path / "s")

    decision = decide(read_study(tmp_path / "s"))

    log = read_study(tmp_path / "s")
    means, errors = log.records.values[log.is_evaluation][:, 0].T
    z = abs(means[0] - means[1]) / float(np.hypot(*errors))
    from scipy.stats import norm

    assert decision.repeated == ("time_ns",)
    assert decision.best.p_best == pytest.approx(norm.cdf(z), abs=0.03)
    assert "The standard error of its runs counts for time_ns." in decision.sentences()


def test_default_design_of_a_program_that_fails_by_chance_is_tried_again() -> None:
    calls = []

    def flaky(design: Any) -> dict[str, float]:
        calls.append(design)
        if len(calls) < 3:
            raise RuntimeError("The board did not answer.")
        return {"time_ns": 5.0}

    task = Task.make(FunctionSimulator(flaky, SPACE, {"time_ns": "minimise"}))

    assert len(calls) == 3
    assert task.reference.tolist() == [[5.0]]
