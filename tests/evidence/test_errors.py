"""Priors of errors that are learned from rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from archgym.measurements.points import Points
from archgym.measurements.prior import Component, ErrorPrior
from evidence.dram.errors import learn
from evidence.errors import (
    Fold,
    apart_from_repeats,
    learned_prior,
    matched,
    write_prior,
)

KNOWN = {"gpu": frozenset({"0", "1", "2", "3", "4", "5", "6", "7"})}


def guess() -> ErrorPrior:
    return ErrorPrior(
        "chosen", "a test", ("time",), {"time_ns": "time"},
        (Component("gpu", ("gpu",), spread=(0.1,), news=("gpu",), spread_new=(0.1,)),),
        (0.1,), ((1.0,),), 5.0, KNOWN,
    )  # fmt: skip


def fold(shared: float, noise: float, known: dict[str, frozenset[str]], seed: int) -> Fold:
    rng = np.random.default_rng(seed)
    gpus = np.repeat(np.arange(8), 8)
    errors = shared * rng.standard_normal(8)[gpus] + noise * rng.standard_normal(64)
    points = Points({"gpu": gpus.astype(str).astype(object)}, {}, np.zeros((64, 0)))
    return Fold(points, errors[:, None], known)


def test_spreads_of_what_is_shared_and_of_what_is_new_are_found() -> None:
    folds = [fold(0.04, 0.02, KNOWN, 1), fold(0.3, 0.02, {"gpu": frozenset()}, 2)]

    found = learned_prior(guess(), folds, ("gpu",))

    (gpu,) = found.components
    assert found.origin == "learned"
    assert 0.02 < gpu.spread[0] < 0.08
    assert 0.15 < gpu.spread_new[0] < 0.6
    assert 0.015 < found.noise[0] < 0.026


def test_outliers_do_not_widen_the_noise() -> None:
    clean = fold(0.1, 0.02, KNOWN, 3)
    errors = clean.errors.copy()
    errors[::21] += 2.0

    found = learned_prior(guess(), [Fold(clean.points, errors, KNOWN)], ("gpu",))

    assert found.noise[0] < 0.2
    assert found.tail == 3.0


def test_effects_of_the_load_and_shifts_of_groups_take_the_sizes_of_left_out_rows() -> None:
    rng = np.random.default_rng(0)
    n_groups, n_rows = 30, 12
    clients = np.tile(np.arange(1.0, n_rows + 1), n_groups)
    gpus = np.repeat(np.arange(n_groups), n_rows)
    # Shifts of 6 % and effects of the load of 15 %, where the prior says 10 % of both.
    shift = 0.06 * rng.standard_normal(n_groups)[gpus]
    slope = 0.15 * np.sqrt(2.0) * rng.standard_normal((n_groups, 2))[gpus]
    wave = slope[:, 0] * np.sin(clients) + slope[:, 1] * np.cos(clients)
    errors = (shift + wave / np.sqrt(2.0))[:, None]
    texts = {"gpu": gpus.astype(str).astype(object)}
    points = Points(texts, {"clients": 2.0**clients}, np.zeros((len(gpus), 0)))
    parts = (
        Component("gpu", ("gpu",), spread=(0.1,), news=("gpu",), spread_new=(0.1,)),
        Component("load", ("gpu",), {"clients": 0.7}, spread=(0.1,)),
    )
    prior = replace(guess(), components=parts, noise=(0.01,), tail=30.0)

    rest, load = matched(prior, [Fold(points, errors, {"gpu": frozenset()})], ("gpu",)).components

    assert 0.05 <= rest.spread_new[0] < 0.09
    assert 0.12 < load.spread[0] < 0.19
    assert load.spread_new == ()


def test_noise_is_what_repeats_differ_by() -> None:
    rng = np.random.default_rng(5)
    gpus = np.repeat(np.arange(200), 2)
    own, run = 0.09 * rng.standard_normal(200)[gpus], 0.01 * rng.standard_normal(400)
    points = Points({"gpu": gpus.astype(str).astype(object)}, {}, np.zeros((400, 0)))
    prior = replace(guess(), tail=30.0)

    found = apart_from_repeats(prior, Fold(points, (own + run)[:, None], KNOWN), ("gpu",), {})

    assert 0.008 < found.noise[0] < 0.012
    assert found.components[-1].spread[0] == round(float(np.sqrt(0.01 - found.noise[0] ** 2)), 4)


def test_rows_without_error_make_the_prior_exact(tmp_path: Path) -> None:
    found = learned_prior(guess(), [fold(0.0, 0.0, KNOWN, 4)], ("gpu",))
    write_prior(found, tmp_path / "error.json")

    assert found.origin == "exact"
    assert found.noise == (0.0,)
    assert found.components[0].spread == (0.0,)


def test_memory_is_exact_against_its_recorded_rows() -> None:
    assert learn().origin == "exact"


def test_what_is_new_is_known_no_better_than_what_is_not() -> None:
    # The folds say the opposite: errors of new hardware that are smaller.
    folds = [fold(0.3, 0.02, KNOWN, 5), fold(0.02, 0.02, {"gpu": frozenset()}, 6)]

    (gpu,) = learned_prior(guess(), folds, ("gpu",)).components

    assert gpu.spread_new[0] >= gpu.spread[0] > 0.1
