"""Tests of the ensemble of randomised trees."""

import numpy as np

from archgym.agents.extra_trees import RandomisedTrees


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(0).random((n, 4))
    return features, features[:, 0] - features[:, 1] ** 2


def grown(seed: int, n: int = 200) -> RandomisedTrees:
    return RandomisedTrees(30, np.random.default_rng(seed)).fit(*data(n))


def test_every_tree_knows_what_was_learned() -> None:
    features, scores = data(200)

    # Trees split until each leaf holds one row.
    assert np.allclose(grown(0).expected(features), scores[:, None])


def test_what_was_not_learned_is_nearly_known() -> None:
    features, scores = data(400)

    error = grown(0).expected(features[200:]).mean(axis=1) - scores[200:]

    assert np.sqrt((error**2).mean()) < 0.4 * scores.std()


def test_trees_differ_where_nothing_is_known() -> None:
    features, _ = data(300)

    spread = grown(0).expected(features).std(axis=1)

    assert spread[:200].max() < 1e-9 < spread[200:].min()


def test_seed_decides() -> None:
    features, _ = data(300)

    one, same, other = (grown(seed).expected(features[200:]) for seed in (1, 1, 2))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_nothing_is_expected_of_no_rows() -> None:
    assert grown(0).expected(np.empty((0, 4))).shape == (0, 30)
