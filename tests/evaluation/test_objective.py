"""Tests of objectives."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archgym.errors import ArchGymError, InvalidArgumentError, UnknownNameError
from archgym.evaluation.metrics import MetricSpec
from archgym.evaluation.objective import (
    INFEASIBLE_REWARD,
    REWARD_LIMIT,
    Objective,
    Term,
    objective_from_json,
    parse_objective,
)

SPECS = (
    MetricSpec("time_ns", "ns", "minimise", 1.0, "Time."),
    MetricSpec("power_mw", "mW", "minimise", 0.5, "Power."),
    MetricSpec("rate_gbs", "GB/s", "maximise", 0.01, "Rate."),
)
REFERENCE = np.array([99.0, 9.5, 1.99])


def reward(objective: Objective, *rows: tuple[float, float, float]) -> list[float]:
    values = np.array(rows)
    rewards = objective.reward(values, REFERENCE, SPECS, np.zeros(len(rows), dtype=np.int16))
    return [float(one) for one in rewards]


@pytest.mark.parametrize(
    ("term", "x", "expected"),
    [
        (Term("time_ns", "minimise"), 49.0, math.log(2)),
        (Term("time_ns", "minimise"), 99.0, 0.0),
        (Term("time_ns", "minimise"), 199.0, -math.log(2)),
        (Term("time_ns", "minimise"), 0.0, math.log(100)),
        (Term("time_ns", "maximise"), 199.0, math.log(2)),
        (Term("time_ns", "at-most", target=49.0), 20.0, 0.0),
        (Term("time_ns", "at-most", target=49.0), 49.0, 0.0),
        (Term("time_ns", "at-most", target=49.0), 99.0, -math.log(2)),
        (Term("time_ns", "at-least", target=49.0), 99.0, 0.0),
        (Term("time_ns", "at-least", target=49.0), 24.0, -math.log(2)),
        (Term("time_ns", "minimise"), 1e300, -20.0),
        (Term("time_ns", "archgym-2023", target=50.0), 60.0, 5.0),
        (Term("time_ns", "archgym-2023", target=50.0), 40.0, 5.0),
    ],
)
def test_term_is_worth_what_its_formula_says(term: Term, x: float, expected: float) -> None:
    assert reward(Objective("o", (term,)), (x, 1.0, 1.0)) == [pytest.approx(expected)]


def test_pole_of_the_published_form_is_cut_off() -> None:
    published = Objective("o", (Term("time_ns", "archgym-2023", target=50.0),))

    assert reward(published, (50.0, 1.0, 1.0)) == [pytest.approx(math.exp(20.0))]


def test_published_terms_multiply() -> None:
    published = Objective(
        "o",
        (
            Term("time_ns", "archgym-2023", target=50.0),
            Term("power_mw", "archgym-2023", target=3.0),
        ),
    )

    assert reward(published, (60.0, 4.0, 1.0)) == [pytest.approx(5.0 * 3.0)]


def test_default_design_is_worth_nothing() -> None:
    terms = (Term("time_ns", "minimise", 3.0), Term("rate_gbs", "maximise", 1.0))

    assert reward(Objective("o", terms), (99.0, 9.5, 1.99)) == [0.0]


def test_weights_are_scaled_to_sum_to_one() -> None:
    light = Objective("o", (Term("time_ns", "minimise", 1), Term("power_mw", "minimise", 3)))
    heavy = Objective("o", (Term("time_ns", "minimise", 10), Term("power_mw", "minimise", 30)))

    expected = pytest.approx(0.25 * math.log(2) + 0.75 * math.log(2))
    assert reward(light, (49.0, 4.5, 1.0)) == [expected]
    assert reward(heavy, (49.0, 4.5, 1.0)) == [expected]


def test_infeasible_design_is_worth_less_than_any_built_one() -> None:
    objective = Objective("o", (Term("time_ns", "minimise"),))
    values = np.array([[math.nan, 1.0, 1.0], [1e300, 1.0, 1.0], [5.0, 1.0, 1.0]])

    rewards = objective.reward(values, REFERENCE, SPECS, np.array([3, 0, -1], dtype=np.int16))

    assert rewards.tolist() == [INFEASIBLE_REWARD, -REWARD_LIMIT, INFEASIBLE_REWARD]


finite = st.floats(-1e6, 1e300)


@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=20))
def test_reward_is_finite_whatever_the_values(rows: list[tuple[float, float, float]]) -> None:
    for objective in OBJECTIVES:
        assert np.isfinite(reward(objective, *rows)).all()


OBJECTIVES = [
    Objective("one", (Term("time_ns", "minimise"),)),
    Objective(
        "three",
        (
            Term("time_ns", "minimise", 0.1),
            Term("power_mw", "at-most", 0.7, 5.0),
            Term("rate_gbs", "maximise", 1.3),
        ),
    ),
    Objective(
        "published",
        (
            Term("time_ns", "archgym-2023", target=50.0),
            Term("power_mw", "archgym-2023", target=3.0),
        ),
    ),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: str(objective.name))
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 64, 1001])
def test_reward_does_not_depend_on_the_batch_in_any_bit(objective: Objective, n: int) -> None:
    values = np.exp(np.random.default_rng(n).normal(3, 2, size=(n, 3)))
    reason = np.zeros(n, dtype=np.int16)

    batch = objective.reward(values, REFERENCE, SPECS, reason)
    columns = objective.reward(np.asfortranarray(values), REFERENCE, SPECS, reason)
    alone = np.concatenate(
        [objective.reward(row[None, :], REFERENCE, SPECS, reason[:1]) for row in values]
    )
    strided = objective.reward(
        np.repeat(values, 2, axis=0)[::2], REFERENCE, SPECS, np.zeros(n, dtype=np.int16)
    )

    assert batch.tobytes() == alone.tobytes() == columns.tobytes() == strided.tobytes()


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_less_time_is_never_worth_less(one: float, other: float) -> None:
    objective = Objective("o", (Term("time_ns", "minimise"),))

    low, high = sorted((one, other))
    first, second = reward(objective, (low, 1, 1), (high, 1, 1))

    assert first >= second


@pytest.mark.parametrize(
    "fields",
    [
        {"goal": "least"},
        {"goal": "minimise", "weight": 0.0},
        {"goal": "minimise", "weight": -1.0},
        {"goal": "minimise", "weight": math.inf},
        {"goal": "minimise", "weight": math.nan},
        {"goal": "minimise", "weight": "1"},
        {"goal": "minimise", "target": 5.0},
        {"goal": "at-most"},
        {"goal": "at-most", "target": math.nan},
        {"goal": "at-most", "target": "5"},
        {"goal": "at-most", "target": 10**400},
        {"goal": []},
    ],
)
def test_term_that_cannot_work_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        Term("time_ns", **fields)


def test_objective_needs_terms_of_one_form() -> None:
    with pytest.raises(InvalidArgumentError):
        Objective("o", ())
    with pytest.raises(InvalidArgumentError):
        Objective(
            "o",
            (Term("time_ns", "minimise"), Term("power_mw", "archgym-2023", target=1.0)),
        )


def test_unknown_metric_is_named() -> None:
    objective = Objective("o", (Term("time", "minimise"),))

    with pytest.raises(UnknownNameError, match="time_ns"):
        reward(objective, (1.0, 1.0, 1.0))


# ---- text and JSON


def test_target_text_makes_an_objective() -> None:
    objective = parse_objective("target:time_ns<=90000, rate_gbs >= 1.5e0", SPECS)

    assert objective.terms == (
        Term("time_ns", "at-most", target=90000.0),
        Term("rate_gbs", "at-least", target=1.5),
    )
    assert objective.name == "target:time_ns<=90000, rate_gbs >= 1.5e0"


@pytest.mark.parametrize(
    "text",
    [
        "target:",
        "target:time_ns",
        "target:time_ns<90",
        "target:time_ns<=",
        "target:time_ns<=1,",
        "target:time_ns<=1e999",
        "target:time_ns<=1.2.3",
        "target:time_ns<=--1",
        "target:time_ns==1",
        "target:<=1",
    ],
)
def test_target_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="metric<=number"):
        parse_objective(text, SPECS)


def test_target_on_unknown_metric_offers_near_names() -> None:
    with pytest.raises(UnknownNameError, match="'power_mw'"):
        parse_objective("target:power<=5", SPECS)


TERMS = st.one_of(
    st.builds(
        Term,
        st.just("time_ns"),
        st.sampled_from(["minimise", "maximise"]),
        st.floats(1e-9, 1e18),
    ),
    st.builds(
        Term,
        st.just("time_ns"),
        st.sampled_from(["at-most", "at-least"]),
        st.floats(1e-9, 1e18),
        st.floats(0, 1e18),
    ),
)


@given(st.lists(TERMS, min_size=3, max_size=3))
def test_text_of_own_terms_reads_back(drawn: list[Term]) -> None:
    terms = [replace(term, metric=spec.name) for term, spec in zip(drawn, SPECS, strict=True)]
    order = ("minimise", "maximise", "at-most", "at-least")
    terms.sort(key=lambda term: min(order.index(term.goal), 2))
    text = Objective("own", tuple(terms)).as_text()

    assert text is not None
    assert parse_objective(text, SPECS).terms == tuple(terms)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("minimise:0*time_ns", "a weight above 0"),
        ("minimise:-1*time_ns", "a weight above 0"),
        ("minimise:1e999*time_ns", "a weight above 0"),
        ("minimise:1.2.3*time_ns", "a weight above 0"),
        ("minimise:time_ns<=5", "limits belong in `subject_to`"),
        ("minimise:x*time_ns", "Unknown metric"),
        ("minimise:time_ns;", "must read minimise:METRIC"),
    ],
)
def test_text_of_no_weights_is_refused(text: str, message: str) -> None:
    with pytest.raises(ArchGymError, match=message):
        parse_objective(text, SPECS)


@given(st.text("target:imens_<>=0123456789.,e+- ", max_size=30))
def test_any_target_text_gives_an_objective_or_our_error(text: str) -> None:
    try:
        objective = parse_objective("target:" + text, SPECS)
    except ArchGymError:
        return
    assert objective.terms


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: str(objective.name))
def test_json_round_trip(objective: Objective) -> None:
    assert objective_from_json(json.loads(json.dumps(objective.to_json()))) == objective


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["name", "terms", "doc", "metric", "goal", "weight", "target", "other"]
            ),
            st.one_of(inner, st.sampled_from(["minimise", "at-most", "archgym-2023"])),
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(anything, st.booleans(), anything)
def test_hostile_json_is_refused_with_our_error_only(data: Any, is_term: bool, other: Any) -> None:
    term = {"metric": "time_ns", "goal": "minimise", "weight": data, "target": None}
    document = {"name": "o", "terms": [{**term, "goal": other}]} if is_term else data
    try:
        objective = objective_from_json(document)
    except ArchGymError:
        return
    assert np.isfinite(
        objective_from_json(objective.to_json()).reward(
            np.ones((1, 3)), REFERENCE, SPECS, np.zeros(1, dtype=np.int16)
        )
    ).all()


@pytest.mark.parametrize("data", [None, 5, "x", [], {}, {"name": "x"}, {"name": "x", "terms": 5}])
def test_json_that_is_no_objective_is_refused(data: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        objective_from_json(data)


def test_objective_says_its_metrics_as_text() -> None:
    plain = Objective("x", (Term("a_ns", "minimise"), Term("ipc", "maximise")))
    targets = Objective("y", (Term("a_ns", "at-most", target=5.0), Term("b", "at-least", target=2)))
    mixed = Objective("z", (Term("a_ns", "minimise"), Term("b", "at-least", target=2)))
    weighted = Objective("w", (Term("a_ns", "minimise", 2.0), Term("b", "minimise")))

    other = Objective("v", (Term("ipc", "maximise"), Term("a_ns", "minimise")))

    assert plain.as_text() == "minimise:a_ns;maximise:ipc"
    assert targets.as_text() == "target:a_ns<=5,b>=2"
    assert mixed.as_text() == "minimise:a_ns;target:b>=2"
    assert weighted.as_text() == "minimise:2*a_ns+b"
    # A text has what is minimised first.
    assert other.as_text() is None
