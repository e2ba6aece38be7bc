"""The report on proxies: errors by split, learning curves and their picture."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archgym.evaluation.metrics import MetricSpec
from archgym.proxy import TrainOptions
from tests.proxy.toydata import toy_dataset
from tests.toys import SPACE, ToySimulator

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"n_trees": 2, "n_randomised": 0, "min_samples_leaf": 1}


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    """Returns the module of the study."""
    sys.path.insert(0, str(ROOT / "experiments"))
    yield import_module("proxy_report")
    sys.path.remove(str(ROOT / "experiments"))


def test_report_has_all_splits_and_writes_them(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "N_SEEDS", 2)
    monkeypatch.setattr(study, "SIZES", (45, 90))
    options = TrainOptions("forest", setting=QUICK)

    found = study.report(toy_dataset(), options, simulator=ToySimulator())
    study.draw_curves(found, tmp_path / "curves.png")
    text = study.markdown(found)

    assert set(found["splits"]) == {"random", "unseen outcomes", "extrapolation"}
    latency = found["splits"]["unseen outcomes"]["light"]["metrics"]["latency_ns"]
    assert 0 < latency["rmse_percent_of_mean"] < 200
    assert 0.6 < latency["coverage"] <= 1
    assert found["splits"]["random"]["light"]["regret_percent"]["latency_ns"] >= 0
    assert [point["rows"] for point in found["learning_curve"]["light"]] == [45, 90]
    assert [point["data"] for point in found["diversity"]] == ["random", "genetic", "mixture"]
    assert "| latency_ns |" in text
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    json.dumps(found)


def test_region_is_a_tail_of_a_parameter_that_matters(study: Any) -> None:
    latency = MetricSpec("latency_ns", "ns", "minimise", 0.1, "Time.")
    indices = SPACE.sample(400, np.random.default_rng(0))
    values = 1.0 + indices[:, 2:3]

    beyond, words = study.region(SPACE, [latency], indices, values, 0.2)

    assert words[0].startswith(SPACE.parameters[2].name)
    assert 0.1 <= beyond.mean() <= 0.4
    assert (beyond == (indices[:, 2] >= indices[beyond, 2].min())).all() or (
        beyond == (indices[:, 2] <= indices[beyond, 2].max())
    ).all()
