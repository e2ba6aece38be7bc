"""The fit of the routing generator: targets, and what it finds."""

import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.workloads.routing import RoutingPreset, generate
from evidence.moe.calibrate import calibrate, measure, target


@pytest.mark.parametrize("name", ["lru", "lru@0", "lru@x", "sch@2", "srp@0", "sch99999@2", "mru@1"])
def test_target_of_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"lru@R"):
        target(name)


def test_too_few_targets_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least 3"):
        calibrate("few", 8, 2, {"lru@1": 0.4})


@pytest.mark.slow
def test_calibration_finds_a_process_that_gives_what_was_measured() -> None:
    true = RoutingPreset("true", 8, 2, skew=0.1, topic=0.6, persistence=0.4)
    names = ["lru@1", "lru@2", "belady@1", "belady@2", "srp@16"]
    given = measure(generate(true, 90, [512] * 12, 4), [target(name) for name in names])

    found = calibrate("found", 8, 2, dict(zip(names, given, strict=True)), budget=80)

    assert found.rmse < 0.012
    assert found.preset.topic == pytest.approx(0.6, abs=0.15)
    assert found.preset.persistence == pytest.approx(0.4, abs=0.1)
