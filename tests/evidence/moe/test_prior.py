"""Prior of the serving simulator's error."""

import numpy as np
import pytest

from archgym.measurements.points import Points
from evidence.moe import errors


def test_effects_of_the_load_are_wider_than_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "learned_prior", lambda guess, *_, **__: guess)
    nobody = dict.fromkeys(("GPU", "model", "engine", "configuration"), np.zeros((0, 3)))
    guess = errors.guess({}, "a test")

    found = errors.learn((), Points({}, {}, np.zeros((0, 0))), nobody, "a test")

    for before, after in zip(guess.components, found.components, strict=True):
        factor = 1.5 if before.near else 1.0
        assert after.spread == pytest.approx(factor * np.array(before.spread))
        assert after.spread_new == pytest.approx(factor * np.array(before.spread_new))
