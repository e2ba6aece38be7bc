"""How much models without an opinion of their own are to be doubted, design by design."""

from collections.abc import Sequence

import numpy as np

from archgym.proxy.kind import ModelKind, Setting, model_kind
from archgym.proxy.predictor import Predictor
from archgym.proxy.splits import folds
from archgym.proxy.trees import TreeEnsemble

__all__ = ["fit_doubt"]

# chosen: where errors are large shows on so many rows; more would take as long as the models.
_MOST_ROWS = 4000
_N_FOLDS = 2
# chosen: coarse, since a single error says little about its neighbours'.
_SETTING = {
    "n_trees": 20,
    "learning_rate": 0.2,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 5,
    "l2": 0.0,
}


def fit_doubt(
    kind: ModelKind,
    features: np.ndarray,
    targets: np.ndarray,
    groups: Sequence[tuple[Sequence[int], Predictor]],
    designs: np.ndarray,
    setting: Setting,
    seed: int,
) -> TreeEnsemble | None:
    """Trees that expect the absolute error of each group's first metric, an output for each group.

    They learn errors on designs that were left out, in folds. None where all models say how sure
    they are.

    Args:
      kind: Of the models.
      features: (n, n_features).
      targets: (n, n_metrics), scaled.
      groups: Metrics' places with the model that answers for them.
      designs: (n,), number of each row's design.
      setting: Hyperparameters of the models.
      seed: Of rows and folds.
    """
    if all(model.spread(features[:1]) is not None for _, model in groups):
        return None
    rng = np.random.default_rng(np.random.SeedSequence([seed, 6]))
    some = np.sort(rng.permutation(len(features))[:_MOST_ROWS])
    fold = folds(np.unique(designs[some], return_inverse=True)[1], _N_FOLDS, rng)
    errors = np.zeros((len(some), len(groups)))
    for number in range(_N_FOLDS):
        train, test = some[fold != number], some[fold == number]
        for place, (metrics, _) in enumerate(groups):
            model = kind.fit(features[train], targets[np.ix_(train, metrics[:1])], setting, seed)
            expected = model.predict(features[test])[:, 0]
            errors[fold == number, place] = np.abs(expected - targets[test, metrics[0]])
    doubt = model_kind("boosting").fit(features[some], errors, _SETTING, seed)
    assert isinstance(doubt, TreeEnsemble)
    return doubt
