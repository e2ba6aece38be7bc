"""What agents see."""

import numpy as np

from archgym.envs.formulation import Observation
from archgym.spaces.choices import Choices
from tests.toys import toy_task

TASK = toy_task()
CHOICES = Choices(TASK.space)
NAN = np.full((1, 4), np.nan)


def encode(
    values: np.ndarray, *, picks: tuple[int, ...] = (0, 0, 0, 0, 0), position: int = 5
) -> dict[str, float]:
    layout = Observation(TASK, CHOICES, with_position=True)
    made = np.arange(5)[None, :] < position
    numbers = layout.encode(
        np.array([picks]),
        made,
        np.array([position]),
        values,
        np.array([not np.isnan(values).any()]),
    )[0]
    assert layout.space.contains(numbers)
    return dict(zip(layout.names, numbers.tolist(), strict=True))


def test_ordered_parameters_run_from_minus_one_to_one() -> None:
    seen = encode(NAN, picks=(0, 0, 7, 5, 3))

    assert [seen[name] for name in ("banks", "depth", "gain", "boost")] == [-1.0, 1.0, 0.0, 1.0]


def test_parameters_without_order_are_one_hot() -> None:
    seen = encode(NAN, picks=(1, 0, 0, 0, 0))

    assert [seen[f"mode={choice}"] for choice in ("off", "slow", "fast")] == [0.0, 1.0, 0.0]


def test_choices_not_made_yet_are_zero_and_the_next_one_is_marked() -> None:
    seen = encode(NAN, picks=(1, 4, 7, 10, 3), position=1)

    assert seen["mode=slow"] == 1.0
    assert [seen[name] for name in ("banks", "depth", "gain", "boost")] == [0.0] * 4
    assert [seen[f"next={name}"] for name in TASK.space.names] == [0.0, 1.0, 0.0, 0.0, 0.0]


def test_metrics_are_logarithms_of_ratios_to_the_default_design() -> None:
    reference = TASK.reference[0]

    same = encode(reference[None, :])
    twice = encode((2.0 * (reference + 0.1) - 0.1)[None, :])

    assert [same[spec.name] for spec in TASK.metrics] == [0.0] * 4
    assert np.isclose(twice["latency_ns"], np.log(2.0), atol=1e-6)
    assert np.isclose(twice["power_mw"], np.log(2.0), atol=1e-6)


def test_metrics_far_off_are_clipped_and_missing_ones_zero() -> None:
    far = encode(np.array([[1e12, -1e9, 0.0, 1e12]]))
    missing = encode(NAN)

    assert [far["latency_ns"], far["power_mw"], far["entries"]] == [5.0, -5.0, 5.0]
    assert [missing[spec.name] for spec in TASK.metrics] == [0.0] * 4
    assert missing["feasible"] == 0.0
