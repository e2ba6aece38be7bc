"""Analysis of routing, and its picture."""

from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError
from archgym.simulators.moe.workloads.routing import Routing, RoutingPreset, generate
from evidence.moe.analysis import CURVES, analyse
from evidence.moe.routing_picture import picture

PRESET = RoutingPreset("small", 12, 2, skew=0.5, topic=0.5, persistence=0.3)


def test_measures_by_hand() -> None:
    experts = np.array([[0, 1], [1, 2], [1, 0], [3, 0]], dtype=np.int16)[:, None, :]

    found = analyse(Routing(experts, np.array([0, 2, 4]), 4))

    # 1 of 2 in the first document's second token, 1 of 2 in the second's.
    assert found.reuse.tolist() == [0.5]
    assert found.load.tolist() == [[3 / 8, 3 / 8, 1 / 8, 1 / 8]]
    assert found.imbalance.tolist() == [1.5]
    assert found.batches == (1, 2)
    # Both documents: {0, 1} with {0, 1}, then {1, 2} with {0, 3}.
    assert found.distinct.tolist() == [[2.0, 3.0]]
    assert found.windows == ()
    assert set(found.curves) == set(CURVES)


def test_curves_rise_to_all() -> None:
    found = analyse(generate(PRESET, 0, [100, 80], 3))

    for curve in found.curves.values():
        assert curve.shape == (3, len(found.sizes))
        assert (curve[:, -1] == 1.0).all()
    assert (found.curves["Belady, bypass"] >= found.curves["LRU"]).all()


def test_skew_is_told_from_load() -> None:
    even = analyse(generate(RoutingPreset("even", 12, 2, 0.0, 0.0, 0.0), 0, [2_000], 2))
    skewed = analyse(generate(RoutingPreset("skewed", 12, 2, 1.0, 0.0, 0.0), 0, [2_000], 2))

    assert (even.skew < 0.1).all()
    assert (skewed.skew > 0.5).all()


def test_only_so_many_documents_and_layers_are_looked_at() -> None:
    found = analyse(generate(PRESET, 0, [50] * 6, 9), max_tokens=120, max_layers=3)

    assert found.n_tokens == 100
    assert found.layers.tolist() == [0, 4, 8]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_equal_analyses_are_equal_pictures(tmp_path: Path, ending: str) -> None:
    found = analyse(generate(PRESET, 0, [100, 80], 3))
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]

    for path in paths:
        picture(found, path)

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_size > 5_000


def test_short_documents_can_be_drawn(tmp_path: Path) -> None:
    picture(analyse(generate(PRESET, 0, [2], 1)), tmp_path / "a.png")

    assert (tmp_path / "a.png").is_file()


def test_picture_of_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\.png"):
        picture(analyse(generate(PRESET, 0, [4], 1)), tmp_path / "a.gif")
