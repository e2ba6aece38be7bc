from pathlib import Path

import numpy as np
import pytest

from archgym.errors import InvalidArgumentError, UnknownNameError
from archgym.proxy import Proxy, TrainOptions, model_kind, model_names, train
from archgym.proxy.workload_model import Part
from tests.proxy.toydata import toy_dataset

QUICK = {"n_trees": 3, "n_randomised": 2, "min_samples_leaf": 1}
NO_FACTS = np.zeros(0)


@pytest.fixture(scope="module")
def proxy() -> Proxy:
    return train(toy_dataset(), TrainOptions("forest", setting=QUICK))


def test_proxy_predicts_the_same_after_loading(proxy: Proxy, tmp_path: Path) -> None:
    proxy.save(tmp_path / "p.npz")
    indices = proxy.declaration.space.sample(300, np.random.default_rng(7))

    loaded = Proxy.load(tmp_path / "p.npz")

    for before, after in zip(proxy.parts, loaded.parts, strict=True):
        assert np.array_equal(before.predict(indices, NO_FACTS), after.predict(indices, NO_FACTS))
        ends = [part.interval(indices, NO_FACTS, 0.9) for part in (before, after)]
        assert np.array_equal(ends[0], ends[1])
        assert np.array_equal(before.builds(indices, NO_FACTS), after.builds(indices, NO_FACTS))
    assert loaded.errors == proxy.errors
    assert loaded.declaration.space == proxy.declaration.space


def test_equal_training_is_equal_bytes(proxy: Proxy, tmp_path: Path) -> None:
    proxy.save(tmp_path / "a.npz")
    train(toy_dataset(), TrainOptions("forest", setting=QUICK)).save(tmp_path / "b.npz")

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_compiled_trees_agree_with_numpy(proxy: Proxy) -> None:
    part = proxy.parts[0]
    indices = proxy.declaration.space.sample(200, np.random.default_rng(8))

    compiled = part.predict(indices, NO_FACTS)

    assert np.allclose(compiled, plain_prediction(part, indices), rtol=1e-12)


def plain_prediction(part: Part, indices: np.ndarray) -> np.ndarray:
    features = part.encoding.features(indices, NO_FACTS)
    scaled = np.zeros((len(indices), len(part.floor)))
    for metrics, predictor in part.groups:
        scaled[:, metrics] = predictor.predict(features)
    return part.scaling.unscaled(scaled)


def test_prediction_does_not_depend_on_the_batch(proxy: Proxy) -> None:
    indices = proxy.declaration.space.sample(40, np.random.default_rng(9))

    together = proxy.parts[0].predict(indices, NO_FACTS)
    alone = [proxy.parts[0].predict(row[None, :], NO_FACTS) for row in indices]

    assert np.array_equal(together, np.concatenate(alone))


def test_intervals_hold_about_their_share() -> None:
    proxy = train(toy_dataset(600), TrainOptions("forest", setting=QUICK, calibration=0.3))
    fresh = toy_dataset(400, seed=99)
    is_built = fresh.feasible & (fresh.workload == 0)

    low, high = proxy.parts[0].interval(fresh.indices[is_built], NO_FACTS, 0.9)

    actual = fresh.values[is_built]
    covered = ((low <= actual) & (actual <= high)).mean(axis=0)
    assert (covered > 0.82).all()


def test_joint_proxy_knows_workloads_by_their_facts() -> None:
    dataset = toy_dataset(facts=True)

    proxy = train(dataset, TrainOptions("forest", workloads="joint", setting=QUICK))

    assert len(proxy.parts) == 1
    assert proxy.parts[0].encoding.facts.names == ("load",)
    assert proxy.is_joint


def test_joint_proxy_without_facts_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="must be characterised by numbers"):
        train(toy_dataset(), TrainOptions("forest", workloads="joint", setting=QUICK))


def test_too_few_designs_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="30 distinct designs"):
        train(toy_dataset(12), TrainOptions("forest", setting=QUICK))


def test_unknown_model_is_refused_with_the_near_one() -> None:
    with pytest.raises(UnknownNameError, match="'forest'"):
        TrainOptions(model="forrest")


def test_hyperparameters_are_chosen_by_cross_validation() -> None:
    proxy = train(toy_dataset(120), TrainOptions(model="linear"))

    assert proxy.about["hyperparameters"][0]["degree"] in (1, 2)


def test_models_are_found_in_their_folder() -> None:
    shipped = {
        "boosting",
        "extra-trees",
        "forest",
        "linear",
    }

    assert shipped <= set(model_names())


@pytest.mark.parametrize("name", ["boosting", "linear"])
def test_models_without_spread_learn_where_they_err(name: str) -> None:
    proxy = train(toy_dataset(400), TrainOptions(name, setting=model_kind(name).settings[0]))
    indices = proxy.declaration.space.sample(100, np.random.default_rng(3))

    low, high = proxy.parts[0].interval(indices, NO_FACTS, 0.9)

    widths = np.log(high[:, 0]) - np.log(low[:, 0])
    assert widths.max() > 1.5 * widths.min()


def test_interval_without_enough_designs_is_infinite() -> None:
    part = train(toy_dataset(40), TrainOptions("forest", setting=QUICK, calibration=0.1)).parts[0]
    indices = toy_dataset(40).indices[:5]

    low, high = part.interval(indices, NO_FACTS, 0.99)

    # Logarithms too: not the largest number there is.
    assert part.scaling.is_log[0]
    assert (low[:, 0] == 0).all()
    assert np.isinf(high[:, 0]).all()
