"""The study of the hyperparameter lottery against numbers worked out by hand."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.report import read_evidence
from archgym.report.verdict import Protocol
from tests.sweep.conftest import plan, plugin, swept, write_plan

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))

from lottery_analysis import (
    COLUMNS,
    Lots,
    expected_best_of,
    expected_leader,
    leaders,
    leading_chances,
    lots,
    lottery_tables,
    tuned_columns,
    unshared_variance,
    variance_split,
)

sys.path.pop(0)
__all__ = ["plan", "plugin", "swept", "write_plan"]


def test_draws_seeds_and_their_shares_are_counted(swept: Path) -> None:
    evidence = read_evidence([swept])
    task = evidence.tasks[0]
    base = task.runs[0]
    # Scores are the rewards: draws at 0.2 and 0.6, seeds 0.1 to either side.
    runs = tuple(
        replace(
            base,
            agent="genetic",
            label=f"draw-{draw}",
            hyperparameters=str(draw),
            seed=seed,
            reward=np.full(30, 0.2 + 0.4 * draw + (0.1 if seed else -0.1)),
        )
        for draw in (0, 1)
        for seed in (0, 1)
    )
    alone = replace(base, agent="other", seed=0)
    evidence = replace(evidence, tasks=(replace(task, runs=(*runs, alone)),))
    scale = {task.recipe["digest"]: {"average": 0.0, "best": 1.0}}

    own = lots(evidence, Protocol(30, scale))
    (row,) = next(lottery_tables(own, Protocol(30, scale))).rows
    found = dict(zip(COLUMNS, row, strict=True))

    assert own[0].drawn.shape == (2, 1, 2)
    assert (found["agent"], found["draws"], found["tasks"], found["seeds"]) == ("genetic", 2, 1, 2)
    # Quantiles between 0.2 and 0.6: 0.56 and 0.24.
    assert found["P90 - P10"] == pytest.approx(0.32)
    # Mean squares: 0.16 of draws, of two seeds each, and 0.04 of seeds, of two draws each.
    assert found["hyperparameters [%]"] == pytest.approx(100 * 0.08 / 0.1)
    assert found["seed [%]"] == pytest.approx(100 * 0.02 / 0.1)
    assert found["best of 1"] == pytest.approx(0.4)
    assert found["best of 4"] is None


@pytest.fixture
def own() -> Lots:
    """Two draws and the defaults, on two workloads, with two seeds."""
    first = np.array([[[0.9, 0.9], [0.1, 0.1]], [[0.2, 0.2], [0.8, 0.6]], [[0.5, 0.5], [0.5, 0.5]]])
    return Lots(
        agent="genetic",
        draws=(0, 1),
        default=2,
        workloads=("one", "two"),
        scores=first,
        ratios=np.log(1 + first),
        compared=first / 2,
        ends=0.9 * first,
        end_ratios=np.log(1 + first),
    )


def test_tuned_elsewhere_takes_the_draw_that_is_best_on_the_other_workload(own: Lots) -> None:
    found = tuned_columns(own, Protocol(32, {}))

    # On the first workload the second draw, which is best on the second, and the other way round.
    assert found["tuned elsewhere"].score.value == pytest.approx((0.2 + 0.1) / 2)
    assert found["tuned elsewhere"].ratio == pytest.approx((1.2 * 1.1) ** 0.5)
    assert found["defaults"].score.value == 0.5
    assert found["defaults"].ratio == pytest.approx(1.5)


def test_tuned_in_place_ends_where_the_leader_of_the_draws_ends(own: Lots) -> None:
    found = tuned_columns(own, Protocol(32, {}))

    # Of both draws, 0.9 and 0.8 or 0.6 lead, and each ends at 0.9 of its score.
    score = found["tuned in place"].score
    assert score.value == pytest.approx(0.9 * (0.9 + 0.7) / 2)
    # Resampled, there may be the second draw alone with its worse seed, or both with the better.
    assert score.low == pytest.approx(0.9 * (0.2 + 0.6) / 2)
    assert score.high == pytest.approx(0.9 * (0.9 + 0.8) / 2)


def test_leaders_of_resampled_draws_are_as_expected() -> None:
    rng = np.random.default_rng(0)
    first, after = rng.normal(size=(2, 9, 3, 4))
    picked = np.tile(np.arange(4), (3, 1))

    chances = leading_chances(9, 4)
    assert leaders(first, after, chances, picked) == pytest.approx(
        expected_leader(first, after, 4).mean()
    )
    assert leaders(first, after, chances, picked * 0) == pytest.approx(
        expected_leader(first, after, 4)[:, 0].mean()
    )


def test_spread_of_draws_that_are_alike_is_that_by_chance() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2000, 3, 4))
    own = Lots("a", tuple(range(2000)), None, ("x", "y", "z"), *[table] * 5)

    row = dict(zip(COLUMNS, next(lottery_tables([own], Protocol(32, {}))).rows[0], strict=True))

    assert row["P90 - P10"] == pytest.approx(row["by chance"], rel=0.05)


def test_of_one_seed_no_interval_is_given(own: Lots) -> None:
    arrays = {n: getattr(own, n)[:, :, :1] for n in ("scores", "ratios", "compared", "ends")}

    found = tuned_columns(
        replace(own, **arrays, end_ratios=own.end_ratios[:, :, :1]), Protocol(32, {})
    )

    assert all(math.isnan(tuned.score.low) for tuned in found.values())


def test_on_one_workload_nothing_is_tuned_elsewhere(own: Lots) -> None:
    found = tuned_columns(replace(own, workloads=("one", "one")), Protocol(32, {}))

    assert "tuned elsewhere" not in found


def test_settings_that_are_the_defaults_are_no_draw(swept: Path) -> None:
    evidence = read_evidence([swept])
    scale = {evidence.tasks[0].recipe["digest"]: {"average": 0.0, "best": 1.0}}
    base = evidence.tasks[0].runs[0]
    texts = ('{"population": 12}', '{"population": 7}', '{"population": 9}')
    runs = tuple(replace(base, agent="genetic", seed=0, hyperparameters=text) for text in texts)
    evidence = replace(evidence, tasks=(replace(evidence.tasks[0], runs=runs),))

    (own,) = lots(evidence, Protocol(30, scale))

    assert (own.default, own.draws) == (0, (1, 2))


def test_expected_best_of_counts_all_subsets() -> None:
    # Pairs of 1, 2, 4: best 2, 4, 4.
    assert expected_best_of([4.0, 1.0, 2.0], 2) == pytest.approx(10 / 3)
    assert expected_best_of([4.0, 1.0, 2.0], 3) == 4
    assert expected_best_of([4.0, 1.0, 2.0], 1) == pytest.approx(7 / 3)
    assert expected_best_of([4.0, -math.inf, 2.0], 2) == pytest.approx(10 / 3)


def test_chances_of_very_many_draws_are_numbers() -> None:
    chances = leading_chances(5000, 300)

    assert chances.dtype == np.float64
    assert chances.sum() == pytest.approx(1)


def test_variance_is_split_between_draws_tasks_and_seeds() -> None:
    # Draws shift by 0 or 2, tasks by 0 or 4, seeds by -1 and +1, without interaction: draws have a
    # variance of 2 and seeds of 2; that of tasks is 8, of which a mean of two seeds makes 1.
    table = np.array([[[d + t + s for s in (-1, 1)] for t in (0, 4)] for d in (0, 2)], float)

    split = variance_split(table)

    assert split.hyperparameters == pytest.approx(2 / 11)
    assert split.task == pytest.approx(7 / 11)
    assert split.seed == pytest.approx(2 / 11)
    assert split.interaction == pytest.approx(0, abs=1e-12)
    assert math.isnan(variance_split(np.ones((2, 2, 2))).seed)


def test_settings_that_do_nothing_have_no_share_of_the_variance() -> None:
    split = variance_split(np.random.default_rng(0).normal(size=(32, 8, 5)))

    # Sums of squares would give the interaction some 15 %.
    assert split.hyperparameters < 0.02
    assert split.interaction < 0.03
    assert split.seed > 0.95


def test_components_of_variance_are_found_again() -> None:
    rng = np.random.default_rng(1)
    draws, tasks = rng.normal(0, 1, (400, 1, 1)), rng.normal(0, 2, (1, 400, 1))
    pairs, seeds = rng.normal(0, 3, (400, 400, 1)), rng.normal(0, 4, (400, 400, 3))

    split = variance_split(draws + tasks + pairs + seeds)

    assert split.hyperparameters == pytest.approx(1 / 30, rel=0.2)
    assert split.task == pytest.approx(4 / 30, rel=0.2)
    assert split.interaction == pytest.approx(9 / 30, rel=0.05)
    assert split.seed == pytest.approx(16 / 30, rel=0.05)


def test_what_a_seed_does_to_all_draws_does_not_tell_draws_apart() -> None:
    rng = np.random.default_rng(3)
    table = rng.normal(size=(1, 8, 5)) + 0.01 * rng.normal(size=(32, 8, 5))

    assert unshared_variance(table) == pytest.approx(1e-4, rel=0.1)
    assert variance_split(table).seed > 0.8


def test_one_seed_cannot_be_told_from_the_interaction() -> None:
    split = variance_split(np.random.default_rng(2).normal(size=(20, 20, 1)))

    assert split.interaction == 0
    assert split.seed > 0.9
    assert math.isnan(variance_split(np.arange(3.0)[:, None, None]).hyperparameters)
