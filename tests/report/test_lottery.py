"""The lottery's table against numbers worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from archgym.report import read_evidence
from archgym.report.lottery import COLUMNS, draws, lottery_rows
from archgym.report.protocol import Protocol


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

    (row,) = lottery_rows(evidence, Protocol(30, scale))
    found = dict(zip(COLUMNS, row, strict=True))

    assert draws(evidence, Protocol(30, scale))["genetic"].shape == (2, 1, 2)
    assert (found["agent"], found["draws"], found["tasks"], found["seeds"]) == ("genetic", 2, 1, 2)
    # Quantiles between 0.2 and 0.6: 0.56 and 0.24.
    assert found["P90 - P10"] == pytest.approx(0.32)
    # Squares: 0.2 a draw against 0.1 a seed.
    assert found["hyperparameters [%]"] == pytest.approx(80)
    assert found["seed [%]"] == pytest.approx(20)
    assert found["best of 1"] == pytest.approx(0.4)
    assert found["best of 4"] is None
