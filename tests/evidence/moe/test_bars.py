"""Intervals that are learned by leaving groups out."""

import numpy as np
import pytest

from evidence.moe.bars import Axis, coverage, learned

_RNG = np.random.default_rng(0)
_ENGINES = np.array(["vllm", "sglang"] * 200)


def _axis(errors: np.ndarray, fold: np.ndarray) -> Axis:
    return Axis({"as written": {"TPOT": errors}}, fold)


def _found(spread: float, shift: float = 0.0) -> dict[str, Axis]:
    """Return errors where a new GPU's are wider, and those of the last GPU are shifted too."""
    gpu = np.repeat(np.arange(4), 100)
    known = _RNG.normal(0.0, 0.1, 400) * np.where(_ENGINES == "sglang", 3.0, 1.0)
    return {
        "configuration": _axis(known, np.arange(400) % 3),
        "GPU": _axis(_RNG.normal(0.0, spread, 400) + shift * (gpu == 3), gpu),
    }


def test_each_engine_has_the_interval_of_its_own_errors() -> None:
    ends = learned(_found(0.4), _ENGINES, np.ones(400, dtype=bool))

    assert ends["configuration vllm"]["TPOT"] == pytest.approx((-0.16, 0.16), abs=0.05)
    assert ends["configuration sglang"]["TPOT"] == pytest.approx((-0.49, 0.49), abs=0.12)
    assert ends["GPU"]["TPOT"] == pytest.approx((-0.7, 0.7), abs=0.15)


def test_intervals_hold_groups_like_those_they_were_learned_from() -> None:
    found = _found(0.4)

    assert 85.0 <= coverage(found, "configuration", "TPOT", _ENGINES) <= 95.0
    assert 85.0 <= coverage(found, "GPU", "TPOT", _ENGINES) <= 97.0


def test_a_group_is_judged_by_intervals_that_never_saw_it() -> None:
    # A fourth of the rows is far off; most of the others are held.
    assert 65.0 <= coverage(_found(0.4, shift=5.0), "GPU", "TPOT", _ENGINES) <= 75.0
