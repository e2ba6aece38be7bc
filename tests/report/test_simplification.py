"""Simplification of designs, and the path that explains what remains."""

from dataclasses import replace

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, InvalidDesignError
from archgym.report.simplification import simplify
from archgym.tasks.task import Task
from tests.toys import SPACE, ToySimulator

# Latency: 40 ns x (1 + |banks x depth - 24| / 8 + 4 (gain - 0.3)^2) / speed.
BEST = {"mode": "fast", "banks": 4, "depth": 6, "gain": 0.3, "boost": 2}


def simple_of(task: Task, **changes: object) -> dict[str, object]:
    found = simplify(task, SPACE.indices_of({**BEST, **changes}), error_percent=5.0)
    return dict(SPACE.design_at(found.simple))


def test_parameter_without_effect_returns_to_its_default() -> None:
    task = Task.make(ToySimulator(), "light", "low-power")

    # Power counts the speed, entries and gain: all return, and nothing is left to explain.
    found = simplify(task, SPACE.indices_of(BEST), error_percent=5.0)

    assert dict(SPACE.design_at(found.simple)) == dict(SPACE.design_at(SPACE.default_indices))
    assert {each.parameter for each in found.returned} == {
        "mode",
        "banks",
        "depth",
        "gain",
        "boost",
    }
    assert found.path.steps == ()


def test_parameter_that_matters_is_kept() -> None:
    task = Task.make(ToySimulator(), "light", "low-latency")

    found = simplify(task, SPACE.indices_of(BEST), error_percent=5.0)

    # Without the gain latency rises by 4 x 0.3^2 = 36 %, without boost by a third.
    assert found.kept == ("mode", "banks", "depth", "gain", "boost")
    assert [change[0] for step in found.path.steps for change in step.changes].count("mode") == 1
    assert found.path.steps[-1].values[0] == pytest.approx(10.0)


def test_error_decides_what_does_not_matter() -> None:
    task = Task.make(ToySimulator(), "light", "low-latency")
    design = SPACE.indices_of({**BEST, "gain": 0.1})

    # A gain of 0 instead of 0.1 costs 4 x (0.09 - 0.04) = 0.2 of 1.16: 17 %.
    assert "gain" in simplify(task, design, error_percent=17.0).kept
    assert "gain" not in simplify(task, design, error_percent=18.0).kept


def test_limits_stay_met() -> None:
    free = Task.make(ToySimulator(), "light", "low-power")
    limited = Task.make(ToySimulator(), "light", "low-power", subject_to="latency_ns <= 60")

    assert simple_of(free)["mode"] == "off"
    found = simplify(limited, SPACE.indices_of(BEST), error_percent=5.0)
    assert found.missed_limits == []
    assert found.simple_values[0, 0] <= 60.0


def test_losses_do_not_add_up() -> None:
    task = Task.make(ToySimulator(), "light", "balanced")
    design = SPACE.indices_of(BEST)

    found = simplify(task, design, error_percent=10.0)

    before, after = (task.average(v[None])[0] for v in (found.values, found.simple_values))
    assert (after[:2] <= before[:2] * 1.1 + 1e-9).all()


def test_json_has_metrics_with_units_and_the_path() -> None:
    task = Task.make(ToySimulator(), "light", "low-latency", subject_to="power_mw <= 50")

    data = simplify(task, SPACE.indices_of(BEST), error_percent=5.0).to_json()

    assert data["units"]["latency_ns"] == "ns"
    assert data["limits"] == ["power_mw <= 50"]
    assert data["missed_limits"] == []
    assert data["path"][-1]["metrics"]["latency_ns"] == pytest.approx(data["metrics"]["latency_ns"])


def test_default_error_is_the_simulators_own() -> None:
    task = Task.make(ToySimulator(), "light", "low-latency")

    # The toy states none.
    assert simplify(task, SPACE.indices_of(BEST)).error_percent == 5.0


def test_infeasible_design_and_other_errors_are_refused() -> None:
    task = Task.make(ToySimulator(), "light", "low-latency")
    hot = SPACE.indices_of({**BEST, "boost": 3, "gain": 1.0})

    with pytest.raises(InvalidDesignError, match="must be feasible to be simplified"):
        simplify(task, hot)
    with pytest.raises(InvalidArgumentError, match="from 0 to 100; got -1"):
        simplify(task, np.asarray(hot), error_percent=-1)


def test_loss_below_the_resolution_counts() -> None:
    toy = ToySimulator()
    first, second, third, fourth = (replace(spec, resolution=50.0) for spec in toy.metrics)
    toy.spec = replace(toy.spec, metrics=(first, second, third, fourth))
    task = Task.make(toy, "light", "low-latency")

    # Each parameter of the best design changes the latency by less than 50 ns.
    found = simplify(task, SPACE.indices_of(BEST), error_percent=0.0)

    assert found.simple_values[0, 0] <= found.values[0, 0]
    assert found.losses_percent == {"latency_ns": 0.0}


def test_error_bounds_the_measured_loss_of_all_returns_together() -> None:
    task = Task.make(ToySimulator(), "light", "low-latency")
    design = SPACE.indices_of({**BEST, "gain": 0.2, "depth": 5})

    found = simplify(task, design, error_percent=60.0)

    before, after = found.values[0, 0], found.simple_values[0, 0]
    assert found.returned
    assert 0 < found.losses_percent["latency_ns"] <= 60.0
    assert found.losses_percent["latency_ns"] == pytest.approx(100 * (after / before - 1))
    assert found.to_json()["losses_percent"] == found.losses_percent


def test_met_target_does_not_widen_the_error() -> None:
    task = Task.make(ToySimulator(), "light", "target:latency_ns<=1000")

    # The default design meets the target too, with a higher latency.
    found = simplify(task, SPACE.indices_of(BEST), error_percent=5.0)

    assert found.simple_values[0, 0] <= 1.05 * found.values[0, 0]
