"""Fitting: from rows of a dataset to a proxy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from archgym.checks import check_choice, check_number, check_whole
from archgym.datasets.dataset import Dataset
from archgym.errors import InvalidArgumentError
from archgym.proxy.extrapolation import TIERS, Familiarity, fit_beyond
from archgym.proxy.features import Encoding, Facts, Scaling, alike, gather_facts
from archgym.proxy.measures import (
    LEVELS,
    conformal_quantile,
    design_groups,
    fit_doubt,
    held_out,
    outcome_groups,
    sampled_folds,
    spread_floor,
)
from archgym.proxy.model import ModelKind, Predictor, Setting, model_kind
from archgym.proxy.trees import TreeEnsemble
from archgym.proxy.workload_model import Part
from archgym.spaces.features import Coordinates

# chosen: this many rows rank hyperparameters well enough in seconds.
_SEARCH_ROWS = 3000
_SEARCH_TREES = 15
_N_FOLDS = 3
# chosen: intervals at 90 % need 9 designs, and a model some more.
_LEAST_ROWS = 30
# chosen: enough trees to classify designs that can be built.
_BUILDABLE = {"n_trees": 10, "n_randomised": 5, "min_samples_leaf": 1}

Announce = Callable[[str, int, int], None]


@final
@dataclass(frozen=True)
class TrainOptions:
    """Options of the training of a proxy.

    `fit` is "alike" (one model for metrics that order designs alike), "joint" (one for all) or
    "each" (one a metric); `calibration` is the share of designs that intervals are fitted on.
    """

    model: str = "boosting"
    workloads: str = "separate"
    """"separate": a model for each workload; "joint": one model of them all."""
    fit: str = "alike"
    calibration: float = 0.1
    seed: int = 0
    setting: Mapping[str, Any] | None = None
    """Hyperparameters; by cross-validation if None."""

    def __post_init__(self) -> None:
        model_kind(self.model)
        check_choice("workloads", self.workloads, ("separate", "joint"))
        check_choice("fit", self.fit, ("alike", "joint", "each"))
        check_number("calibration", self.calibration, 0.01, 0.5)
        check_whole("seed", self.seed, 0, 2**32 - 1)


@final
@dataclass(frozen=True)
class Rows:
    """Distinct evaluations, n designs each on one workload.

    `values` is (n, n_metrics), NaN where not `feasible`; `workload` is a place in the dataset's.
    """

    indices: np.ndarray
    values: np.ndarray
    feasible: np.ndarray
    workload: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: np.ndarray) -> "Rows":
        """Return some of them, by a mask or indices."""
        return Rows(self.indices[rows], self.values[rows], self.feasible[rows], self.workload[rows])


def distinct_rows(dataset: Dataset) -> Rows:
    """Return evaluations of designs that break no constraint, each design and workload once."""
    indices = dataset.space.canonical(dataset.indices)
    keyed = np.concatenate([indices, dataset.workload[:, None]], axis=1)
    _, first = np.unique(keyed, axis=0, return_index=True)
    first = np.sort(first)
    first = first[dataset.space.feasible(indices[first])]
    return Rows(
        indices[first], dataset.values[first], dataset.feasible[first], dataset.workload[first]
    )


@final
@dataclass(frozen=True)
class Fitted:
    """Fitted part of a proxy, with its errors from before it was refitted on all rows.

    `kept` are the rows that intervals were fitted on, and `expected`, (n, n_metrics), what models
    said of them that had not seen their outcomes, or where workloads are joint their designs.
    """

    part: Part
    setting: Setting
    kept: Rows
    expected: np.ndarray


def fit_part(
    dataset: Dataset,
    rows: Rows,
    options: TrainOptions,
    announce: Announce | None = None,
    *,
    with_intervals: bool = True,
) -> Fitted:
    """Fit models to rows of one workload, or of several together.

    Intervals are fitted on rows that models have not learned; then models learn all rows. Without
    intervals it takes less than half the time, and `Part.interval` is undefined.

    Raises:
      InvalidArgumentError: There are too few designs that were built, or the hyperparameters
        cannot be used.
    """
    built = rows[rows.feasible]
    if len(built) < _LEAST_ROWS:
        raise InvalidArgumentError(
            f"A proxy must have {_LEAST_ROWS} distinct designs that were built to learn from; "
            f"got {len(built)}. Evaluate more designs, or take a larger dataset."
        )
    kind = model_kind(options.model)
    here = [dataset.workloads[place] for place in np.unique(rows.workload).tolist()]
    facts = gather_facts(here) if options.workloads == "joint" else Facts()
    if options.workloads == "joint" and len(here) > 1 and not facts.names:
        raise InvalidArgumentError(
            "Workloads must be characterised by numbers for `workloads` to be joint; the simulator "
            f"says none of {', '.join(w.name for w in here)}. Use workloads='separate'."
        )
    encoding = Encoding(dataset.space, kind.encoding, facts)
    known = np.array([facts.row(workload.facts) for workload in dataset.workloads if facts.names])
    is_kept = np.zeros(len(built), dtype=bool)
    if with_intervals:
        rng = np.random.default_rng(np.random.SeedSequence([options.seed, 1]))
        is_kept = held_out(_apart(built), options.calibration, rng)
    learned = np.flatnonzero(~is_kept)
    learner = _Learner(kind, options, encoding, known, built, learned)
    part = Part(
        tuple(workload.digest for workload in here),
        encoding,
        learner.scaling,
        (),
        None,
        np.zeros(len(dataset.metrics)),
        np.full((len(LEVELS), len(dataset.metrics)), np.inf),
        _buildable(encoding, rows, known, options.seed),
        Familiarity.of(dataset.space, built.indices),
        np.full((len(TIERS), len(LEVELS), len(dataset.metrics)), np.inf),
    )
    expected = np.empty((0, len(dataset.metrics)))
    if with_intervals:
        if announce is not None:
            announce("intervals", 0, 2)
        part, expected = _with_intervals(part, learner, learned, built[is_kept])
    if announce is not None:
        announce("models", 1, 2)
    part = replace(part, groups=learner.groups(np.arange(len(built))))
    return Fitted(part, learner.setting, built[is_kept], expected)


@final
class _Learner:
    """Training data and hyperparameters of models, which are fitted on some of the rows."""

    def __init__(
        self,
        kind: ModelKind,
        options: TrainOptions,
        encoding: Encoding,
        known: np.ndarray,
        built: Rows,
        learned: np.ndarray,
    ) -> None:
        """Choose hyperparameters by rows that are `learned`, (n,) places: others stay unseen."""
        self.kind, self.seed, self.known, self.rows = kind, options.seed, known, built
        self.features = _features(encoding, built, known)
        self.scaling = Scaling.of(built.values)
        self.targets = self.scaling.scaled(built.values)
        self.metrics = _groups(options.fit, self.targets, self.scaling)
        setting = options.setting
        if setting is None:
            setting = choose_setting(
                kind,
                self.features[learned],
                self.targets[learned],
                self.metrics,
                _apart(built[learned]),
                options.seed,
            )
        self.setting = setting

    def groups(self, places: np.ndarray) -> tuple[tuple[tuple[int, ...], Predictor], ...]:
        """Return models that learned these rows, (n,) places."""
        features, found = self.features[places], []
        for group in self.metrics:
            targets = self.targets[places][:, group]
            predictor = _fitted(self.kind, features, targets, self.setting, self.seed)
            found.append((tuple(group), predictor))
        return tuple(found)

    def errors(self, learned: np.ndarray, tested: np.ndarray) -> np.ndarray:
        """Return absolute scaled errors, (n, n_metrics), on `tested` of models of `learned`."""
        errors = np.zeros((len(tested), self.targets.shape[1]))
        for metrics, predictor in self.groups(learned):
            expected = predictor.predict(self.features[tested])
            errors[:, metrics] = np.abs(expected - self.targets[tested][:, metrics])
        return errors


def _with_intervals(
    part: Part, learner: _Learner, learned: np.ndarray, kept: Rows
) -> tuple[Part, np.ndarray]:
    """Return a part with data for intervals, and predictions of models for kept rows."""
    groups = learner.groups(learned)
    doubt = fit_doubt(
        learner.kind,
        learner.features[learned],
        learner.targets[learned],
        groups,
        _apart(learner.rows[learned]),
        learner.setting,
        learner.seed,
    )
    beyond = fit_beyond(
        learner.errors,
        Coordinates(part.encoding.space),
        learner.rows.indices,
        learner.targets,
        learner.rows.workload,
        learner.seed,
    )
    return _calibrated(
        replace(part, groups=groups, doubt=doubt, beyond=beyond), kept, learner.known
    )


def _fitted(
    kind: ModelKind, features: np.ndarray, targets: np.ndarray, setting: Setting, seed: int
) -> Predictor:
    try:
        return kind.fit(features, targets, setting, seed)
    except ValueError as error:
        said = " ".join(str(error).split())
        raise InvalidArgumentError(
            f"Hyperparameters of {kind.name!r} must be ones that its library takes; got "
            f"{dict(setting)!r}: {said} Choose others, or leave them to cross-validation."
        ) from None


def _apart(rows: Rows) -> np.ndarray:
    """Return the group of each row, (n,); a group is learned as a whole or not at all.

    Designs with a known outcome do not test intervals: calibrated on them, intervals at 90 % held
    55 to 84 % of unseen outcomes of DRAM.
    """
    if len(np.unique(rows.workload)) > 1:
        return design_groups(rows.indices)
    return outcome_groups(rows.values)


def _groups(fit: str, targets: np.ndarray, scaling: Scaling) -> list[list[int]]:
    changing = scaling.changing
    if fit == "joint":
        return [changing.tolist()] if len(changing) else []
    if fit == "each":
        return [[place] for place in changing.tolist()]
    return alike(targets, changing)


def _features(encoding: Encoding, rows: Rows, known: np.ndarray) -> np.ndarray:
    facts = known[rows.workload] if len(encoding.facts.names) else np.zeros(0)
    return encoding.features(rows.indices, facts)


def choose_setting(
    kind: ModelKind,
    features: np.ndarray,
    targets: np.ndarray,
    groups: list[list[int]],
    apart: np.ndarray,
    seed: int,
) -> Setting:
    """Return the hyperparameters with the least error on rows left out.

    Settings are compared on a few thousand rows and with few trees, by the mean error over the
    metrics, in folds that each hold whole groups of `apart`, (n,): outcomes, or designs.
    """
    if len(kind.settings) == 1 or not groups:
        return kind.settings[0]
    parts = sampled_folds(
        apart, _N_FOLDS, _SEARCH_ROWS, (seed, 2), "rows for the choice of hyperparameters"
    )
    n_rows = sum(len(test) for _, test in parts)
    errors = []
    for setting in kind.settings:
        short = dict(setting)
        if "max_features" in short:
            # Each tree of a mean is a prediction; one of a sum is not.
            short["n_trees"] = min(int(short["n_trees"]), _SEARCH_TREES)
        squares = np.zeros(targets.shape[1])
        for train, test in parts:
            for group in map(np.array, groups):
                model = kind.fit(features[train], targets[np.ix_(train, group)], short, seed)
                error = model.predict(features[test]) - targets[np.ix_(test, group)]
                squares[group] += (error**2).sum(axis=0)
        errors.append(float(np.sqrt(squares / n_rows).mean()))
    return kind.settings[int(np.argmin(errors))]


def _buildable(encoding: Encoding, rows: Rows, known: np.ndarray, seed: int) -> TreeEnsemble | None:
    if rows.feasible.all():
        return None
    target = rows.feasible.astype(np.float64)[:, None]
    plain = Encoding(encoding.space, encoding.kind, encoding.facts)
    model = model_kind("forest").fit(_features(plain, rows, known), target, _BUILDABLE, seed)
    assert isinstance(model, TreeEnsemble)
    return model


def _calibrated(part: Part, kept: Rows, known: np.ndarray) -> tuple[Part, np.ndarray]:
    """Return the part with intervals fitted on unseen rows, and its predictions for these."""
    expected = np.empty_like(kept.values)
    errors, spreads = [], []
    for place in np.unique(kept.workload).tolist():
        rows = kept[kept.workload == place]
        facts = known[place] if len(part.encoding.facts.names) else np.zeros(0)
        expected[kept.workload == place] = part.predict(rows.indices, facts)
        predicted = part.scaling.scaled(expected[kept.workload == place])
        with np.errstate(invalid="ignore"):
            error = np.abs(predicted - part.scaling.scaled(rows.values))
        # A metric outside the range of its scale counts as infinitely wrong.
        errors.append(np.where(np.isnan(error), np.inf, error))
        spreads.append(part.spread(rows.indices, facts))
    spread = np.concatenate(spreads)
    floor = spread_floor(spread)
    scores = np.concatenate(errors) / (spread + floor)
    quantiles = np.array([conformal_quantile(scores, level) for level in LEVELS])
    return replace(part, floor=floor, quantiles=quantiles), expected
