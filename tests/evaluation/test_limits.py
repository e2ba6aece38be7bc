"""Hard limits on metrics: parsing, and the one order that rewards encode."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import archgym as ag
from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.evaluation.limits import Limit, missed_limits, parse_limits
from archgym.evaluation.objective import INFEASIBLE_REWARD, objective_from_json
from tests.toys import ToySimulator

SPECS = ToySimulator.spec.metrics
SPEC_NAMES = [spec.name for spec in SPECS]


def limited_task(limit: str = "power_mw <= 900", workload: object = "light") -> ag.Task:
    return ag.Task.make(ToySimulator(), workload, "balanced", subject_to=limit)  # type: ignore[arg-type]


def test_several_predicates_are_parsed() -> None:
    limits = parse_limits(["power_mw<=900, latency_ns >= 2.5"], SPECS)

    assert limits == (Limit("power_mw", "<=", 900.0), Limit("latency_ns", ">=", 2.5))
    assert [str(limit) for limit in limits] == ["power_mw <= 900", "latency_ns >= 2.5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("power_mw < 5", "must read `metric <= number`"),
        ("power_mw <=", "must read"),
        ("power_mw <= 1e999", "must read"),
        ("power_mw <= 5 kJ", "must be in mW; got 'power_mw <= 5 kJ'"),
        ("power_mw <= 1, power_mw >= 2", "must not contradict each other"),
        ("", "must read"),
        ("power_mw <= 5; latency_ns <= 2", "separated by commas"),
        ("power_mw <= 5 and latency_ns <= 2", "separated by commas"),
        ("power_mw <= -1", "`power_mw` is 0 or more"),
        (5, "must be texts such as 'area_mm2 <= 5', one or a list; got 5"),
        (["power_mw <= 5", 3], "must be texts"),
        ({"power_mw": 5}, "must read"),
    ],
)
def test_other_predicates_are_refused(text: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        parse_limits(text, SPECS)


def test_second_limit_of_a_kind_is_refused_but_read_from_the_id_of_a_recorded_task() -> None:
    with pytest.raises(InvalidArgumentError, match=r"power_mw <= 3 and power_mw <= 2. Remove one"):
        limited_task("power_mw <= 3, power_mw <= 2")

    recorded = ag.Task.make(ToySimulator(), "light", "balanced[power_mw<=3,power_mw<=2]")
    assert len(recorded.limits) == 2


def test_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'power_mv'. Did you mean 'power_mw'\?"):
        limited_task("power_mv <= 3")


def test_limits_are_part_of_the_task() -> None:
    plain = ag.Task.make(ToySimulator(), "light", "balanced")
    task = limited_task()

    assert task.digest != plain.digest
    assert "balanced[power_mw<=900]" in task.id
    assert ag.Task.from_json(task.to_json(), ToySimulator()).digest == task.digest
    again = ag.Task.make(ToySimulator(), "light", "balanced[power_mw<=900]")
    assert again.digest == task.digest


def test_task_without_limits_has_the_digest_it_had() -> None:
    task = ag.Task.make(ToySimulator(), "light", "balanced")

    assert "limits" not in task.objective.to_json()
    assert objective_from_json(task.objective.to_json()) == task.objective


@pytest.mark.parametrize("none", ["", [], ()])
def test_no_limits_in_any_form_leave_the_objective_as_it_is(none: Any) -> None:
    # Before, the task was `balanced[]`, which nothing could read.
    assert limited_task(none).id == "toy/toy/light/balanced-v0"


@given(
    values=st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(0.01, 1e6)), min_size=2, max_size=30),
    built=st.lists(st.booleans(), min_size=30, max_size=30),
    bound=st.floats(0.1, 1e5),
)
def test_no_design_that_misses_a_limit_ranks_above_one_that_meets_all(
    values: list[tuple[float, float]], built: list[bool], bound: float
) -> None:
    task = limited_task(f"power_mw <= {bound!r}")
    n = len(values)
    rows = np.full((n, 1, len(SPECS)), 1.0)
    for row, (latency, power) in enumerate(values):
        rows[row, 0, SPEC_NAMES.index("latency_ns")] = latency
        rows[row, 0, SPEC_NAMES.index("power_mw")] = power
    is_built = np.array(built[:n])
    rows[~is_built] = np.nan
    reason = np.where(is_built, 0, 1).astype(np.int16)[:, None]

    rewards = task.rewards(rows, reason)
    terms = task.term_rewards(rows, reason)

    power = rows[:, 0, SPEC_NAMES.index("power_mw")]
    meets = is_built & (power <= bound)
    misses = is_built & (power > bound)
    if meets.any() and misses.any():
        assert rewards[meets].min() > rewards[misses].max()
        assert (terms[meets].min(axis=0) > terms[misses].max(axis=0)).all()
    if misses.any():
        order = np.argsort(power[misses], kind="stable")
        assert (np.diff(rewards[misses][order]) <= 0).all()
        assert rewards[misses].min() > INFEASIBLE_REWARD
    assert (rewards[~is_built] == INFEASIBLE_REWARD).all()


def test_limit_holds_on_every_workload() -> None:
    task = limited_task("latency_ns <= 60", {"light": 1.0, "heavy": 1.0})
    rows = np.ones((1, 2, len(SPECS)))
    rows[0, :, SPEC_NAMES.index("latency_ns")] = (10.0, 61.0)

    assert task.rewards(rows, np.zeros((1, 2), dtype=np.int16))[0] < -20
    assert task.missed(rows[0]) == ["latency_ns 61 > 60"]


def test_met_limits_are_not_reported() -> None:
    assert missed_limits(parse_limits("power_mw <= 900", SPECS), {"power_mw": 900.0}) == []


def test_metrics_can_be_named_instead_of_an_objective() -> None:
    task = ag.Task.make(
        ToySimulator(), "light", minimise="latency_ns,power_mw", subject_to="power_mw <= 900"
    )

    assert [term.metric for term in task.objective.terms] == ["latency_ns", "power_mw"]
    assert task.objective.name == "minimise:latency_ns+power_mw[power_mw<=900]"
    assert ag.Task.make(ToySimulator(), "light", task.objective.name).digest == task.digest


def test_objective_and_metrics_together_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="`objective` must be left out"):
        ag.Task.make(ToySimulator(), "light", "balanced", minimise="latency_ns")


@pytest.mark.parametrize(
    "wrong",
    [
        ("power_mw", "<", 3),
        ("power_mw", "<=", float("nan")),
        ("power_mw", "<=", float("inf")),
        ("power_mw", ">=", "3"),
        ("power_mw", ">=", None),
        (3, "<=", 3.0),
    ],
)
def test_limit_that_is_none_is_refused_where_it_is_made(wrong: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="A limit must be a metric, a sign of <= or >="):
        Limit(*wrong)
