"""What is packed predicts what its library predicts."""

from typing import Any

import numpy as np
import pytest

from archgym.proxy.model import model_kind, model_names

RNG = np.random.default_rng(0)
FEATURES = RNG.integers(0, 8, (160, 4)) / 7.0
TARGETS = np.stack([FEATURES[:, 0] + FEATURES[:, 1] ** 2, np.sin(3 * FEATURES[:, 2])], axis=1)
FRESH = RNG.integers(0, 8, (60, 4)) / 7.0
SMALL: dict[str, dict[str, Any]] = {
    "boosting": {
        "n_trees": 12,
        "learning_rate": 0.2,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 2,
        "l2": 0.3,
    },
    "extra-trees": {"n_trees": 5, "min_samples_leaf": 1, "max_features": 1.0},
    "forest": {"n_trees": 3, "n_randomised": 2, "min_samples_leaf": 1},
    "linear": {"degree": 2, "alpha": 0.01},
}


@pytest.mark.parametrize("name", model_names())
def test_arrays_are_all_of_a_model(name: str) -> None:
    kind = model_kind(name)

    model = kind.fit(FEATURES, TARGETS, SMALL.get(name, kind.settings[0]), 0)
    again = kind.predictor(model.arrays(), 4, 2)  # type: ignore[call-arg]

    assert np.array_equal(model.predict(FRESH), again.predict(FRESH))
    alone = np.concatenate([model.predict(row[None, :]) for row in FRESH])
    assert np.array_equal(model.predict(FRESH), alone)
    spread = model.spread(FRESH)
    assert spread is None or (spread >= 0).all()


def test_extra_trees_predict_what_scikit_learn_does() -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    theirs = ExtraTreesRegressor(n_estimators=5, random_state=3).fit(
        FEATURES.astype(np.float32), TARGETS
    )
    ours = model_kind("extra-trees").fit(FEATURES, TARGETS, SMALL["extra-trees"], 3)

    assert np.allclose(ours.predict(FRESH), theirs.predict(FRESH.astype(np.float32)), atol=1e-12)


def test_boosting_predicts_what_scikit_learn_does() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    theirs = HistGradientBoostingRegressor(
        max_iter=12,
        learning_rate=0.2,
        max_leaf_nodes=15,
        min_samples_leaf=2,
        l2_regularization=0.3,
        early_stopping=False,
        random_state=0,
    ).fit(FEATURES.astype(np.float32), TARGETS[:, 0])
    ours = model_kind("boosting").fit(FEATURES, TARGETS, SMALL["boosting"], 0)

    expected = theirs.predict(FRESH.astype(np.float32))
    assert np.allclose(ours.predict(FRESH)[:, 0], expected, atol=1e-9)


def test_linear_predicts_what_scikit_learn_does() -> None:
    from sklearn.linear_model import Ridge

    ours = model_kind("linear").fit(FEATURES, TARGETS, {"degree": 1, "alpha": 0.01}, 0)
    theirs = Ridge(alpha=0.01, solver="cholesky").fit(FEATURES, TARGETS)

    assert np.allclose(ours.predict(FRESH), theirs.predict(FRESH), atol=1e-12)


def test_boosting_tells_a_single_design_from_others() -> None:
    targets = np.zeros((160, 1))
    targets[7] = 1.0
    features = np.arange(160.0)[:, None] / 159.0
    setting = {**model_kind("boosting").settings[0], "l2": 0.0}

    model = model_kind("boosting").fit(features, targets, setting, 0)

    assert model.predict(features[[6, 7, 8]])[:, 0] == pytest.approx([0, 1, 0], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "change"),
    [("linear", {"degree": 3}), ("forest", {"n_trees": 0, "n_randomised": 0})],
)
def test_setting_that_means_nothing_is_refused(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        model_kind(name).fit(FEATURES, TARGETS, {**SMALL[name], **change}, 0)
