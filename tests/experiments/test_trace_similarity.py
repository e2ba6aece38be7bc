"""Features of traces, and the traces that are most alike."""

import sys
from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.dram.workloads.trace import Trace

EXPERIMENTS = str(Path(__file__).resolve().parents[2] / "experiments")
sys.path.insert(0, EXPERIMENTS)
from trace_similarity import FEATURES, nearest_traces, trace_features  # noqa: E402

sys.path.remove(EXPERIMENTS)


def trace(ticks: list[int], writes: list[int], addresses: list[int]) -> Trace:
    return Trace(
        "t", np.array(ticks), np.array(writes, dtype=bool), np.array(addresses), clock_mhz=1000
    )


def test_features_of_a_short_trace_are_counted_by_hand() -> None:
    # Gaps of 0, 10, 10 and 20 ns; the third request follows the second, the fourth is far away.
    found = trace_features(trace([0, 10, 20, 40], [0, 0, 1, 1], [0, 4096, 4160, 1 << 20]))

    assert len(found) == len(FEATURES)
    assert found == pytest.approx(
        [np.log10(10.0), np.sqrt(50.0) / 10.0, 0.5, 1 / 3, 1 / 3, 0.25, np.log10(4 * 64)]
    )


def test_delays_and_times_of_the_same_requests_have_the_same_features() -> None:
    times = trace([0, 10, 30], [0, 1, 0], [0, 64, 128])
    delays = Trace(
        "d", np.array([0, 10, 20]), times.is_write, times.addresses, clock_mhz=1000, relative=True
    )

    assert trace_features(times).tolist() == trace_features(delays).tolist()


def test_one_request_has_finite_features() -> None:
    assert np.isfinite(trace_features(trace([0], [0], [0]))).all()


def test_a_trace_is_nearest_to_one_with_the_same_pattern() -> None:
    stream = trace([0, 10, 20], [0, 0, 0], [0, 64, 128])
    other = trace([0, 10, 20], [0, 0, 0], [4096, 4160, 4224])
    far = trace([0, 900, 9000], [1, 0, 1], [0, 1 << 20, 1 << 25])

    assert nearest_traces(stream, [far, other], 2) == [1, 0]


def test_more_traces_than_there_are_are_refused() -> None:
    one = trace([0], [0], [0])

    with pytest.raises(InvalidArgumentError, match="1 or less"):
        nearest_traces(one, [one], 2)
