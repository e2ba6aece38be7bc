import numpy as np
import pytest

from archgym.agent.agent import Prior


@pytest.mark.parametrize(
    ("n_records", "n", "ranks"),
    [
        (200, 6, [0, 1, 2, 5, 12, 24]),
        (40, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (3, 6, [0, 1, 2]),
        (1, 1, [0]),
        (0, 4, []),
        (200, 0, []),
    ],
)
def test_best_designs_are_spread_over_the_best_eighth(
    n_records: int, n: int, ranks: list[int]
) -> None:
    rows = np.arange(n_records)
    prior = Prior(None, rows[:, None], -rows.astype(float), -rows[:, None].astype(float))

    assert prior.best(n)[:, 0].tolist() == ranks


def test_designs_are_taken_front_after_front() -> None:
    terms = np.array([[0.0, 0.0], [2.0, 1.0], [1.0, 2.0], [1.0, 1.0]])
    prior = Prior(None, np.arange(4)[:, None], np.zeros(4), terms)

    assert prior.best_fronts(3)[:, 0].tolist() == [1, 2, 3]
